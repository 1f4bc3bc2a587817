//! A meter's totals of a month, of each workspace and application: added to when events come, so
//! that reading them costs a row for each meter.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::Meter;
use super::aggregation::{Addend, Aggregation, Total};
use super::event::Event;
use crate::db::{Tx, placeholders};
use crate::error::{Error, Result};
use crate::metering::usage::Period;
use crate::{execute, fetch_all, fetch_one};

/// Rows of one statement.
const CHUNK: usize = 200;

/// Adds new events to what they count for.
pub(super) async fn add(tx: &mut Tx, meter: &Meter, events: &[Event]) -> Result<()> {
    let mut by_subject: BTreeMap<(&str, Period), Vec<&Event>> = BTreeMap::new();
    for event in events {
        for subject in event.subjects() {
            by_subject.entry((subject, event.period())).or_default().push(event);
        }
    }
    let mut new_keys = match meter.aggregation {
        Aggregation::Unique => insert_keys(tx, meter, &by_subject).await?,
        _ => HashSet::new(),
    };
    for ((subject, period), events) in by_subject {
        let period = period.to_string();
        let mut total = lock(tx, meter, subject, &period, &events[0].workspace_id).await?;
        for event in events {
            let new_key = event.key.as_ref().is_some_and(|key| {
                new_keys.remove(&(subject.to_owned(), period.clone(), key.clone()))
            });
            let value = event.value.unwrap_or_default();
            let addend = Addend { id: &event.id, at: event.at, value, new_key };
            meter.aggregation.add(&mut total, addend).map_err(|_| {
                let field = format!("events[{}].value", event.index);
                let message = format!("`{field}`: the month's total would be too great to count");
                Error::invalid(field, "invalid_value", message)
            })?;
        }
        store(tx, meter, subject, &period, &total).await?;
    }
    Ok(())
}

/// A subject's total, held until the transaction's end.
async fn lock(
    tx: &mut Tx,
    meter: &Meter,
    subject: &str,
    period: &str,
    workspace: &WorkspaceId,
) -> Result<Total> {
    let now = tx.now();
    let (value, events, at, id): (i64, i64, Option<DateTime<Utc>>, Option<String>) = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into meter_totals (meter, subject, period, workspace_id, value, events, \
             updated_at) values ($1, $2, $3, $4, 0, 0, $5) on conflict (meter, subject, period) \
             do update set updated_at = excluded.updated_at \
             returning value, events, last_at, last_id"
        )
        .bind(&meter.name)
        .bind(subject)
        .bind(period)
        .bind(workspace)
        .bind(now)
    )?;
    Ok(Total { value, events, last: at.zip(id) })
}

async fn store(
    tx: &mut Tx,
    meter: &Meter,
    subject: &str,
    period: &str,
    total: &Total,
) -> Result<()> {
    let (at, id) = total.last.clone().unzip();
    execute!(
        tx,
        sqlx::query(
            "update meter_totals set value = $1, events = $2, last_at = $3, last_id = $4 \
             where meter = $5 and subject = $6 and period = $7"
        )
        .bind(total.value)
        .bind(total.events)
        .bind(at)
        .bind(&id)
        .bind(&meter.name)
        .bind(subject)
        .bind(period)
    )?;
    Ok(())
}

/// Notes the events' keys; answers, by subject and month, those that were not met before.
async fn insert_keys(
    tx: &mut Tx,
    meter: &Meter,
    by_subject: &BTreeMap<(&str, Period), Vec<&Event>>,
) -> Result<HashSet<(String, String, String)>> {
    // Each once and in order, so that parallel batches can't deadlock.
    let keys: BTreeSet<(&str, String, &str)> = by_subject
        .iter()
        .flat_map(|((subject, period), events)| {
            let keys = events.iter().filter_map(|event| event.key.as_deref());
            keys.map(|key| (*subject, period.to_string(), key))
        })
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let mut new = HashSet::new();
    for chunk in keys.chunks(CHUNK) {
        let rows: Vec<String> =
            (0..chunk.len()).map(|n| format!("({})", placeholders(1 + n * 4, 4))).collect();
        let sql = format!(
            "insert into meter_keys (meter, subject, period, unique_key) values {} \
             on conflict (meter, subject, period, unique_key) do nothing \
             returning subject, period, unique_key",
            rows.join(", ")
        );
        let inserted: Vec<(String, String, String)> = fetch_all!(tx, {
            let mut query = sqlx::query_as(AssertSqlSafe(sql.clone()));
            for (subject, period, key) in chunk {
                query = query.bind(&meter.name).bind(*subject).bind(period).bind(*key);
            }
            query
        })?;
        new.extend(inserted);
    }
    Ok(new)
}

/// What a workspace has used of a meter in a month.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Used {
    #[sqlx(flatten)]
    pub meter: Meter,
    /// Millionths of a unit.
    pub value: i64,
    pub events: i64,
}

/// A workspace's month of all meters that take events, and of those that had any in it, by their
/// names.
pub async fn used(tx: &mut Tx, workspace: &WorkspaceId, period: Period) -> Result<Vec<Used>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select meters.*, coalesce(meter_totals.value, 0) as value, \
             coalesce(meter_totals.events, 0) as events from meters left join meter_totals \
             on meter_totals.meter = meters.name and meter_totals.subject = $1 \
             and meter_totals.period = $2 \
             where meters.archived_at is null or meter_totals.events > 0 order by meters.name"
        )
        .bind(workspace)
        .bind(period.to_string())
    )?)
}

/// A workspace's month by item (`meter:NAME`), in millionths of a unit: what is charged.
pub async fn of(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<BTreeMap<String, i64>> {
    let used = used(tx, workspace, period).await?.into_iter().filter(|used| used.events > 0);
    Ok(used.map(|used| (format!("meter:{}", used.meter.name), used.value)).collect())
}
