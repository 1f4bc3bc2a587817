//! Applies batches of usage records: the records' effects and the watermarks that guard them are
//! one transaction, so a batch that arrives twice changes nothing, whenever it does. Batches that
//! have come in together are one transaction too (`intake`): most of what they touch is the same.
//!
//! A sequence that jumps ahead is applied and the gap recorded: lost records show as a gap, never
//! as less usage in silence.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use authsome_shared::id::{EpochId, NodeId, WorkspaceId};
use authsome_shared::usage::{Applied, Total};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::value::{Error as Never, StrDeserializer};

use super::batch::Batch;
use super::late::Touched;
use super::routes::{self, MINUTES, Routes};
use super::series::{self, Sample, Step};
use super::summary::Summary;
use super::totals::{self, Increment, Told};
use super::usage::Period;
use super::{threshold, users};
use crate::db::{Topic, Tx};
use crate::error::Result;
use crate::{execute, fetch_one, keys};

/// Applies what of the batches is new, and answers each in its place. The answers' totals cover the
/// whole of a batch either way, so that a proxy that never saw the first answer learns as much from
/// the second.
pub async fn apply(tx: &mut Tx, batches: &[Batch]) -> Result<Vec<Applied>> {
    let mut order: Vec<usize> = (0..batches.len()).collect();
    let epoch = |n: usize| (&batches[n].header.node, &batches[n].header.epoch);
    // Always in the same order, so that two transactions never wait for each other.
    order.sort_by_key(|n| (epoch(*n), batches[*n].header.first));
    let mut watermarks = vec![0; batches.len()];
    let mut new = vec![];
    for of_one in order.chunk_by(|a, b| epoch(*a) == epoch(*b)) {
        let (node, epoch) = epoch(of_one[0]);
        let before = lock_watermark(tx, node, epoch).await?;
        let mut applied = before;
        for n in of_one {
            let (first, last) = batches[*n].range();
            if last > applied {
                if first > applied + 1 {
                    record_gap(tx, node, epoch, applied + 1, first - 1).await?;
                }
                let seen = usize::try_from(applied + 1 - first).unwrap_or(0);
                new.push(match seen {
                    0 => Cow::Borrowed(&batches[*n].summary),
                    seen => Cow::Owned(batches[*n].rest(seen)?),
                });
                applied = last;
            }
            watermarks[*n] = applied.cast_unsigned();
        }
        if applied > before {
            advance_watermark(tx, node, epoch, applied).await?;
        }
    }
    let all = || batches.iter().flat_map(|batch| &batch.summary.totals);
    let told = Told::among(tx, all().map(|total| total.subject.as_str())).await?;
    Sums::of(new.iter().map(AsRef::as_ref)).store(tx, &told).await?;
    if !new.is_empty() {
        tx.wake(Topic::Usage);
    }
    let subjects = all().filter(|total| told.contains(&total.subject));
    let subjects: BTreeSet<(&str, &str)> =
        subjects.map(|total| (total.subject.as_str(), total.period.as_str())).collect();
    let used = totals::used_by(tx, &subjects).await?;
    Ok(batches
        .iter()
        .zip(watermarks)
        .map(|(batch, watermark)| Applied {
            watermark,
            totals: answer(&batch.summary, &told, &used),
        })
        .collect())
}

/// The totals as they stand of what a batch touches, where proxies are told of it.
fn answer(summary: &Summary, told: &Told, used: &HashMap<(String, String), u64>) -> Vec<Total> {
    let told = summary.totals.iter().filter(|total| told.contains(&total.subject));
    told.map(|total| {
        let subject = (total.subject.clone(), total.period.clone());
        let used = used.get(&subject).copied().unwrap_or_default();
        let (subject, period) = subject;
        Total { subject, period, used, applied: total.increment.units.unsigned_abs() }
    })
    .collect()
}

/// The watermark, held against a parallel batch of the same epoch until the transaction ends.
async fn lock_watermark(tx: &mut Tx, node: &NodeId, epoch: &EpochId) -> Result<i64> {
    let now = tx.now();
    let (applied,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into ledger_epochs (node_id, epoch_id, applied, created_at, updated_at) \
             values ($1, $2, 0, $3, $3) \
             on conflict (node_id, epoch_id) do update set updated_at = excluded.updated_at \
             returning applied"
        )
        .bind(node)
        .bind(epoch)
        .bind(now)
    )?;
    Ok(applied)
}

async fn advance_watermark(tx: &mut Tx, node: &NodeId, epoch: &EpochId, to: i64) -> Result<()> {
    execute!(
        tx,
        sqlx::query("update ledger_epochs set applied = $1 where node_id = $2 and epoch_id = $3")
            .bind(to)
            .bind(node)
            .bind(epoch)
    )?;
    Ok(())
}

async fn record_gap(
    tx: &mut Tx,
    node: &NodeId,
    epoch: &EpochId,
    first: i64,
    last: i64,
) -> Result<()> {
    tracing::warn!(%node, %epoch, from = first, to = last, "usage records are missing");
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into ledger_gaps (node_id, epoch_id, first_sequence, last_sequence, detected_at) \
             values ($1, $2, $3, $4, $5)"
        )
        .bind(node)
        .bind(epoch)
        .bind(first)
        .bind(last)
        .bind(now)
    )?;
    Ok(())
}

/// All that is new, each row once. Ordered maps: rows are always touched in the same order, so that
/// parallel transactions can't deadlock.
#[derive(Default)]
struct Sums<'a> {
    /// By subject and period, with their workspace.
    totals: BTreeMap<(&'a str, &'a str), (&'a str, Increment)>,
    routes: Routes<'a>,
    series: BTreeMap<(&'a str, Step, DateTime<Utc>), Sample>,
    users: users::Seen<'a>,
    last_used: BTreeMap<&'a str, DateTime<Utc>>,
}

impl<'a> Sums<'a> {
    fn of(summaries: impl Iterator<Item = &'a Summary>) -> Self {
        let mut sums = Self::default();
        for summary in summaries {
            for it in &summary.totals {
                let total = sums.totals.entry((it.subject.as_str(), it.period.as_str()));
                total.or_insert((it.workspace.as_str(), Increment::default())).1.add(it.increment);
            }
            for it in &summary.routes {
                let key = (it.application.as_str(), it.minute, it.route.as_str());
                let route = sums.routes.entry(key);
                route.or_insert((it.workspace.as_str(), Increment::default())).1.add(it.increment);
            }
            for (application, step, start, sample) in &summary.series {
                sums.series.entry((application, *step, *start)).or_default().merge(sample);
            }
            for it in &summary.users {
                let key = (it.application.as_str(), it.period.as_str(), it.user.as_str());
                let user = sums.users.entry(key);
                let (_, seen) = user.or_insert((it.workspace.as_str(), it.seen));
                *seen = it.seen.max(*seen);
            }
            for (key, at) in &summary.last_used {
                let used = sums.last_used.entry(key).or_insert(*at);
                *used = (*at).max(*used);
            }
        }
        sums
    }

    /// Adds them to the tables.
    async fn store(self, tx: &mut Tx, told: &Told) -> Result<()> {
        // First: the workspaces' rows, which are among them, are held from here on.
        totals::add_all(tx, &self.totals, told).await?;
        routes::add(tx, MINUTES, &self.routes).await?;
        series::add_all(tx, &self.series).await?;
        for ((workspace, period), users) in users::add(tx, &self.users).await? {
            threshold::add_users(tx, &id(&workspace), &period, users).await?;
        }
        let months = self.totals.iter().map(|((_, period), (workspace, _))| (*workspace, *period));
        let months: BTreeSet<(&str, &str)> = months.collect();
        let mut touched = Touched::default();
        for (workspace, period) in months {
            let workspace = id(workspace);
            threshold::check(tx, &workspace, period).await?;
            if let Some(period) = Period::parse(period) {
                touched.add(&workspace, period);
            }
        }
        touched.note(tx).await?;
        // Last: whoever changes a key waits for it from here on.
        keys::touch(tx, &self.last_used).await
    }
}

/// Any text is one: proxies may tell of what no longer exists.
fn id(text: &str) -> WorkspaceId {
    WorkspaceId::deserialize(StrDeserializer::<Never>::new(text)).expect("an id is a text")
}
