//! Applies a batch of usage records: the records' effects and the watermark that guards them are
//! one transaction, so a batch that arrives twice changes nothing, whenever it does.
//!
//! A sequence that jumps ahead is applied and the gap recorded: lost records show as a gap, never
//! as less usage in silence.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use authsome_shared::api_key::KeyDigest;
use authsome_shared::clock::period_of;
use authsome_shared::id::{ApplicationId, EpochId, KeyId, NodeId, WorkspaceId};
use authsome_shared::usage::{Applied, BatchHeader, Total, UsageRecord};
use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Utc};

use super::late::Touched;
use super::series::{self, Sample, Step};
use super::threshold;
use super::totals::{self, Increment};
use super::usage::Period;
use crate::db::{Topic, Tx};
use crate::error::{Error, Result};
use crate::{execute, fetch_one, keys};

/// So that sequence numbers and their sums fit the databases' integers.
const MAX_SEQUENCE: u64 = 1 << 62;

/// Of one body: 1 PiB.
const MAX_BYTES: u64 = 1 << 50;

/// Length of a route and of an end user's name.
const MAX_ROUTE: usize = 1024;
const MAX_USER: usize = 200;

/// A batch as it came in.
#[derive(Debug)]
pub struct Batch {
    pub header: BatchHeader,
    pub records: Vec<UsageRecord>,
}

impl Batch {
    /// Reads the lines of a batch.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let bad = |field: String, message: String| Error::invalid(field, "invalid_value", message);
        let mut lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let first = lines.next().ok_or_else(|| bad("body".into(), "the batch is empty".into()))?;
        let header: BatchHeader = serde_json::from_slice(first)
            .map_err(|error| bad("body".into(), format!("the batch's header: {error}")))?;
        let records = lines
            .enumerate()
            .map(|(i, line)| {
                let field = || format!("records[{i}]");
                let record: UsageRecord = serde_json::from_slice(line)
                    .map_err(|error| bad(field(), error.to_string()))?;
                match fault(&record) {
                    Some(fault) => Err(bad(field(), fault.to_owned())),
                    None => Ok(record),
                }
            })
            .collect::<Result<Vec<UsageRecord>>>()?;
        if !is_id(header.node.as_str()) || !is_id(header.epoch.as_str()) {
            return Err(bad("body".into(), "the header's ids are none".into()));
        }
        if header.first == 0
            || header.first > MAX_SEQUENCE
            || records.len() != header.count
            || records.is_empty()
        {
            let message = format!(
                "the header announces {} records from {}, the batch holds {}",
                header.count,
                header.first,
                records.len()
            );
            return Err(bad("body".into(), message));
        }
        Ok(Self { header, records })
    }
}

/// What no proxy of ours writes, and no database could store or add up.
fn fault(record: &UsageRecord) -> Option<&'static str> {
    let UsageRecord { workspace, application, key, bucket, .. } = record;
    let bucket = bucket.as_ref().unwrap_or(key);
    let ids = [workspace.as_str(), application.as_str(), key.as_str(), bucket.as_str()];
    if !ids.into_iter().all(is_id) {
        return Some("its ids are none");
    }
    if !DateTime::from_timestamp_millis(record.at)
        .is_some_and(|at| (1970..=9999).contains(&at.year()))
    {
        return Some("its time is none");
    }
    if record.bytes_in > MAX_BYTES || record.bytes_out > MAX_BYTES {
        return Some("it counts more bytes than a body can have");
    }
    let route = &record.route;
    (route.len() > MAX_ROUTE || route.contains('\0')).then_some("its route is none")
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What stands for an end user: the name that the upstream gave, or, where that is longer than an
/// index can bear or no text to the database, its digest.
fn end_user(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_USER && !name.contains('\0') {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("sha256:{}", KeyDigest::of(name).to_hex()))
}

/// Applies what of the batch is new. The answer's totals cover the whole batch either way, so that a
/// proxy that never saw the first answer learns as much from the second.
pub async fn apply(tx: &mut Tx, batch: &Batch) -> Result<Applied> {
    let BatchHeader { node, epoch, first, .. } = &batch.header;
    let first = i64::try_from(*first).map_err(Error::internal)?;
    let last = first + i64::try_from(batch.records.len()).map_err(Error::internal)? - 1;
    let applied = lock_watermark(tx, node, epoch).await?;
    let whole = Summary::of(&batch.records);
    if last <= applied {
        let totals = whole.answer(tx).await?;
        return Ok(Applied { watermark: applied.cast_unsigned(), totals });
    }
    if first > applied + 1 {
        tracing::warn!(%node, %epoch, from = applied + 1, to = first - 1, "usage records are missing");
        record_gap(tx, node, epoch, applied + 1, first - 1).await?;
    }
    let seen = usize::try_from((applied + 1 - first).max(0)).map_err(Error::internal)?;
    Summary::of(&batch.records[seen..]).store(tx).await?;
    let totals = whole.answer(tx).await?;
    advance_watermark(tx, node, epoch, last).await?;
    tx.wake(Topic::Usage);
    Ok(Applied { watermark: last.cast_unsigned(), totals })
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

type MinuteKey<'a> = (&'a ApplicationId, DateTime<Utc>, &'a KeyId, &'a str);

/// An application's end user in a month.
type UserKey<'a> = (&'a ApplicationId, String, Cow<'a, str>);

/// The records, added up as they will be stored. Ordered maps: rows are always touched in the same
/// order, so that parallel batches can't deadlock.
#[derive(Default)]
struct Summary<'a> {
    minutes: BTreeMap<MinuteKey<'a>, (&'a WorkspaceId, Increment)>,
    series: BTreeMap<(&'a ApplicationId, Step, DateTime<Utc>), Sample>,
    totals: BTreeMap<(String, String), (&'a WorkspaceId, Increment)>,
    /// With when they were last seen.
    users: BTreeMap<UserKey<'a>, (&'a WorkspaceId, DateTime<Utc>)>,
    last_used: HashMap<&'a KeyId, DateTime<Utc>>,
}

impl<'a> Summary<'a> {
    fn of(records: &'a [UsageRecord]) -> Self {
        let mut summary = Self::default();
        for record in records {
            summary.add(record);
        }
        summary
    }

    fn add(&mut self, record: &'a UsageRecord) {
        let at = DateTime::from_timestamp_millis(record.at).unwrap_or_default();
        let minute = at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at);
        let period = period_of(at);
        let increment = Increment::of(record);
        let (application, workspace) = (&record.application, &record.workspace);

        let key = (application, minute, &record.key, record.route.as_str());
        self.minutes.entry(key).or_insert((workspace, Increment::default())).1.add(increment);
        for step in Step::ALL {
            let key = (application, step, step.start_of(at));
            self.series.entry(key).or_default().add(record.status, record.latency_us);
        }

        let line = record.bucket.as_ref().unwrap_or(&record.key);
        for subject in [workspace.as_str(), application.as_str(), line.as_str()] {
            let key = (subject.to_owned(), period.clone());
            self.totals.entry(key).or_insert((workspace, Increment::default())).1.add(increment);
        }
        if let Some(user) = &record.user {
            let key = (application, period, end_user(user));
            let (_, seen) = self.users.entry(key).or_insert((workspace, at));
            *seen = at.max(*seen);
        }
        let used = self.last_used.entry(&record.key).or_insert(at);
        *used = at.max(*used);
    }

    /// The totals as they stand of everything that the records touch.
    async fn answer(self, tx: &mut Tx) -> Result<Vec<Total>> {
        let mut answers = Vec::with_capacity(self.totals.len());
        for ((subject, period), (_, increment)) in self.totals {
            let used = totals::of(tx, &subject, &period).await?.units.unsigned_abs();
            let applied = increment.units.unsigned_abs();
            answers.push(Total { subject, period, used, applied });
        }
        Ok(answers)
    }

    /// Adds the summary to the tables.
    async fn store(self, tx: &mut Tx) -> Result<()> {
        let mut months = BTreeSet::new();
        for ((subject, period), (workspace, increment)) in self.totals {
            months.insert((workspace, period.clone()));
            totals::add(tx, &subject, &period, workspace, increment).await?;
        }
        for ((application, minute, key, route), (workspace, increment)) in self.minutes {
            execute!(
                tx,
                sqlx::query(
                    "insert into usage_minutes (application_id, minute, key_id, route, workspace_id, \
                     requests, units, errors, bytes_in, bytes_out) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                     on conflict (application_id, minute, key_id, route) do update set \
                     requests = usage_minutes.requests + excluded.requests, \
                     units = usage_minutes.units + excluded.units, \
                     errors = usage_minutes.errors + excluded.errors, \
                     bytes_in = usage_minutes.bytes_in + excluded.bytes_in, \
                     bytes_out = usage_minutes.bytes_out + excluded.bytes_out"
                )
                .bind(application)
                .bind(minute)
                .bind(key)
                .bind(route)
                .bind(workspace)
                .bind(increment.requests)
                .bind(increment.units)
                .bind(increment.errors)
                .bind(increment.bytes_in)
                .bind(increment.bytes_out)
            )?;
        }
        for ((application, step, start), sample) in self.series {
            series::add(tx, application, step, start, &sample).await?;
        }
        let mut new_users: BTreeMap<(&WorkspaceId, String), i64> = BTreeMap::new();
        for ((application, period, user), (workspace, seen)) in self.users {
            let user = user.as_ref();
            if store_user(tx, application, &period, user, workspace, seen).await?
                && threshold::is_new_user(tx, workspace, &period, user).await?
            {
                *new_users.entry((workspace, period)).or_default() += 1;
            }
        }
        for ((workspace, period), users) in new_users {
            threshold::add_users(tx, workspace, &period, users).await?;
        }
        let mut touched = Touched::default();
        for (workspace, period) in months {
            threshold::check(tx, workspace, &period).await?;
            if let Some(period) = Period::parse(&period) {
                touched.add(workspace, period);
            }
        }
        let mut used: Vec<(KeyId, DateTime<Utc>)> =
            self.last_used.into_iter().map(|(key, at)| (key.clone(), at)).collect();
        used.sort();
        keys::touch(tx, &used).await?;
        touched.note(tx).await?;
        Ok(())
    }
}

/// Notes an end user of the month; is it new to the application's? When it was last seen is not
/// written for less than a minute.
async fn store_user(
    tx: &mut Tx,
    application: &ApplicationId,
    period: &str,
    user: &str,
    workspace: &WorkspaceId,
    seen: DateTime<Utc>,
) -> Result<bool> {
    let added = execute!(
        tx,
        sqlx::query(
            "insert into usage_users (application_id, period, end_user, workspace_id, last_seen_at) \
             values ($1, $2, $3, $4, $5) on conflict (application_id, period, end_user) do nothing"
        )
        .bind(application)
        .bind(period)
        .bind(user)
        .bind(workspace)
        .bind(seen)
    )?;
    if added > 0 {
        return Ok(true);
    }
    execute!(
        tx,
        sqlx::query(
            "update usage_users set last_seen_at = $1 where application_id = $2 and period = $3 \
             and end_user = $4 and last_seen_at < $5"
        )
        .bind(seen)
        .bind(application)
        .bind(period)
        .bind(user)
        .bind(seen - TimeDelta::minutes(1))
    )?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_must_hold_what_its_header_announces() {
        let header =
            |count| format!(r#"{{"node":"node_1","epoch":"epo_1","first":1,"count":{count}}}"#);
        let record = r#"{"at":1,"workspace":"ws_1","application":"app_1","key":"key_1","route":"*",
            "status":200,"latencyUs":1,"bytesIn":0,"bytesOut":0,"units":1}"#
            .replace('\n', "");
        assert_eq!(
            Batch::parse(format!("{}\n{record}\n", header(1)).as_bytes()).unwrap().records.len(),
            1
        );
        for body in [
            String::new(),
            "{}".to_owned(),
            header(0),
            header(1),
            format!("{}\n{record}", header(2)),
            format!("{}\n{{}}", header(1)),
        ] {
            assert!(matches!(Batch::parse(body.as_bytes()), Err(Error::Invalid(_))), "{body}");
        }
    }
}
