//! Takes a batch of a meter's events. Each id counts once for good: events are kept, and what comes
//! again is compared with what came first. All that a batch changes is one transaction; a batch with
//! an entry that can't be counted changes nothing.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use authsome_shared::code::Code;
use authsome_shared::id::{ApplicationId, WorkspaceId};
use chrono::{DateTime, SubsecRound, Utc};
use sqlx::AssertSqlSafe;

use super::quantity::{self, Written};
use super::{Aggregation, Meter, aggregation, total};
use crate::db::{Tx, placeholders};
use crate::error::{Checks, Error, Result};
use crate::fetch_all;
use crate::metering::late::Touched;
use crate::metering::storage::EARLIEST;
use crate::metering::threshold;
use crate::metering::usage::Period;

/// Events in a batch at most.
pub const MAX_EVENTS: usize = 1_000;

/// Rows of one statement.
const CHUNK: usize = 200;

const MAX_ID: usize = 100;
const MAX_KEY: usize = 200;

/// An event as it came.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub id: String,
    pub workspace_id: WorkspaceId,
    pub application_id: Option<ApplicationId>,
    /// Now, when absent.
    pub at: Option<DateTime<Utc>>,
    pub value: Option<Written>,
    pub key: Option<String>,
}

/// An event whose id another content came under first. It does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Its place in the batch.
    pub index: usize,
    pub id: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    pub accepted: u64,
    /// Known already, with the same content.
    pub duplicates: u64,
    pub conflicts: Vec<Conflict>,
}

/// An event that can be counted.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub index: usize,
    pub id: String,
    pub workspace_id: WorkspaceId,
    pub application_id: Option<ApplicationId>,
    pub at: DateTime<Utc>,
    at_given: bool,
    /// Millionths of a unit; `None` of a count of distinct keys.
    pub value: Option<i64>,
    pub key: Option<String>,
}

impl Event {
    /// The workspace, and the application if it is of one.
    pub fn subjects(&self) -> impl Iterator<Item = &str> {
        let application = self.application_id.as_ref().map(ApplicationId::as_str);
        std::iter::once(self.workspace_id.as_str()).chain(application)
    }

    pub fn period(&self) -> Period {
        Period::containing(self.at)
    }

    /// Does it say the same? An event that says no time contradicts none.
    fn says(&self, other: &Stored) -> bool {
        self.workspace_id == other.workspace_id
            && self.application_id == other.application_id
            && (!self.at_given || self.at == other.at)
            && self.value == other.value
            && self.key == other.unique_key
    }

    fn stored(&self) -> Stored {
        Stored {
            id: self.id.clone(),
            workspace_id: self.workspace_id.clone(),
            application_id: self.application_id.clone(),
            at: self.at,
            value: self.value,
            unique_key: self.key.clone(),
        }
    }
}

/// What came first under an id.
#[derive(Debug, sqlx::FromRow)]
struct Stored {
    id: String,
    workspace_id: WorkspaceId,
    application_id: Option<ApplicationId>,
    at: DateTime<Utc>,
    value: Option<i64>,
    unique_key: Option<String>,
}

/// Takes all events of a batch that are new, or none when one of them can't be.
pub async fn take(tx: &mut Tx, meter: &Meter, events: Vec<NewEvent>) -> Result<Taken> {
    if meter.archived_at.is_some() {
        let message = format!("The meter `{}` is archived and takes no events", meter.name);
        return Err(Error::Conflict(Code::InvalidState, message));
    }
    let events = check(tx, meter.aggregation, events).await?;
    // Of each id the first, in one order, so that parallel batches can't deadlock.
    let mut first: BTreeMap<String, Event> = BTreeMap::new();
    let mut again = vec![];
    for event in events {
        match first.entry(event.id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(event);
            }
            Entry::Occupied(_) => again.push(event),
        }
    }
    let events: Vec<Event> = first.into_values().collect();
    let new = insert(tx, meter, &events).await?;
    let (events, known): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| new.contains(&event.id));
    let mut counted = stored(tx, meter, &known).await?;
    counted.extend(events.iter().map(|event| (event.id.clone(), event.stored())));
    again.extend(known);
    again.sort_by_key(|event| event.index);
    let mut taken = Taken { accepted: events.len() as u64, ..Taken::default() };
    for event in again {
        if counted.get(&event.id).is_some_and(|counted| event.says(counted)) {
            taken.duplicates += 1;
        } else {
            taken.conflicts.push(Conflict { index: event.index, id: event.id });
        }
    }
    total::add(tx, meter, &events).await?;
    let mut touched = Touched::default();
    let mut workspaces = BTreeSet::new();
    for event in &events {
        touched.add(&event.workspace_id, event.period());
        workspaces.insert(&event.workspace_id);
    }
    touched.note(tx).await?;
    for workspace in workspaces {
        threshold::check_reported(tx, workspace).await?;
    }
    Ok(taken)
}

/// Reads the batch; what can't be counted is named by its place, all at once.
async fn check(tx: &mut Tx, aggregation: Aggregation, events: Vec<NewEvent>) -> Result<Vec<Event>> {
    let mut checks = Checks::default();
    let number = format!("`events` must hold 1 to {MAX_EVENTS} events");
    checks.check((1..=MAX_EVENTS).contains(&events.len()), "events", number);
    checks.finish()?;
    let workspaces = workspaces(tx, &events).await?;
    let applications = applications(tx, &events).await?;
    let now = tx.now();
    let mut checks = Checks::default();
    let mut checked = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let mut fail = |field: &str, rule: &str| {
            let field = format!("events[{index}].{field}");
            checks.fail(&field, format!("`{field}` {rule}"));
        };
        if !is_text(&event.id, MAX_ID) {
            fail("id", "must have 1 to 100 printable characters");
        }
        if !workspaces.contains(&event.workspace_id) {
            fail("workspaceId", "is of no workspace");
        } else if let Some(application) = &event.application_id
            && applications.get(application) != Some(&event.workspace_id)
        {
            fail("applicationId", "is of no application of that workspace");
        }
        let at = event.at.unwrap_or(now).trunc_subsecs(6);
        if at > now + EARLIEST {
            fail("at", &format!("lies more than {} minutes ahead", EARLIEST.num_minutes()));
        }
        if at < BEGINNING {
            fail("at", "must not lie before the year 2000");
        }
        let value = match (&event.value, aggregation) {
            (None, Aggregation::Unique) => None,
            (Some(_), Aggregation::Unique) => {
                fail("value", "is not taken by a meter that counts distinct keys");
                None
            }
            (None, Aggregation::Sum) => Some(aggregation::UNIT),
            (None, Aggregation::Max | Aggregation::Last) => {
                fail("value", "is required");
                None
            }
            (Some(written), _) => {
                let value = quantity::parse(&written.0);
                if value.is_none() {
                    fail("value", quantity::RULE);
                }
                value
            }
        };
        match (&event.key, aggregation) {
            (Some(key), Aggregation::Unique) if !is_text(key, MAX_KEY) => {
                fail("key", "must have 1 to 200 printable characters");
            }
            (None, Aggregation::Unique) => fail("key", "is required"),
            (None, _) | (Some(_), Aggregation::Unique) => {}
            (Some(_), _) => fail("key", "is taken only by a meter that counts distinct keys"),
        }
        let NewEvent { id, workspace_id, application_id, key, .. } = event;
        let at_given = event.at.is_some();
        checked.push(Event { index, id, workspace_id, application_id, at, at_given, value, key });
    }
    checks.finish()?;
    Ok(checked)
}

/// Nothing was metered before the year 2000.
const BEGINNING: DateTime<Utc> = match DateTime::from_timestamp(946_684_800, 0) {
    Some(at) => at,
    None => DateTime::UNIX_EPOCH,
};

fn is_text(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Which of the workspaces named there are.
async fn workspaces(tx: &mut Tx, events: &[NewEvent]) -> Result<HashSet<WorkspaceId>> {
    let ids: BTreeSet<&str> = events
        .iter()
        .map(|event| event.workspace_id.as_str())
        .filter(|id| id.parse::<WorkspaceId>().is_ok())
        .collect();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let sql = format!("select id from workspaces where id in ({})", placeholders(1, ids.len()));
    let rows: Vec<(WorkspaceId,)> = fetch_all!(tx, {
        let mut query = sqlx::query_as(AssertSqlSafe(sql.clone()));
        for id in &ids {
            query = query.bind(*id);
        }
        query
    })?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Whose the applications named are.
async fn applications(
    tx: &mut Tx,
    events: &[NewEvent],
) -> Result<HashMap<ApplicationId, WorkspaceId>> {
    let ids: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| event.application_id.as_ref())
        .map(ApplicationId::as_str)
        .filter(|id| id.parse::<ApplicationId>().is_ok())
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let list = placeholders(1, ids.len());
    let sql = format!("select id, workspace_id from applications where id in ({list})");
    let rows: Vec<(ApplicationId, WorkspaceId)> = fetch_all!(tx, {
        let mut query = sqlx::query_as(AssertSqlSafe(sql.clone()));
        for id in &ids {
            query = query.bind(*id);
        }
        query
    })?;
    Ok(rows.into_iter().collect())
}

/// Stores what is new; answers its ids.
async fn insert(tx: &mut Tx, meter: &Meter, events: &[Event]) -> Result<HashSet<String>> {
    let now = tx.now();
    let mut new = HashSet::new();
    for chunk in events.chunks(CHUNK) {
        let rows: Vec<String> =
            (0..chunk.len()).map(|n| format!("({})", placeholders(1 + n * 8, 8))).collect();
        let sql = format!(
            "insert into meter_events (meter, id, workspace_id, application_id, at, value, \
             unique_key, received_at) values {} on conflict (meter, id) do nothing returning id",
            rows.join(", ")
        );
        let inserted: Vec<(String,)> = fetch_all!(tx, {
            let mut query = sqlx::query_as(AssertSqlSafe(sql.clone()));
            for event in chunk {
                query = query
                    .bind(&meter.name)
                    .bind(&event.id)
                    .bind(&event.workspace_id)
                    .bind(&event.application_id)
                    .bind(event.at)
                    .bind(event.value)
                    .bind(&event.key)
                    .bind(now);
            }
            query
        })?;
        new.extend(inserted.into_iter().map(|(id,)| id));
    }
    Ok(new)
}

/// What came first under the events' ids.
async fn stored(tx: &mut Tx, meter: &Meter, events: &[Event]) -> Result<HashMap<String, Stored>> {
    let mut found = HashMap::new();
    for chunk in events.chunks(CHUNK) {
        let sql = format!(
            "select id, workspace_id, application_id, at, value, unique_key from meter_events \
             where meter = $1 and id in ({})",
            placeholders(2, chunk.len())
        );
        let rows: Vec<Stored> = fetch_all!(tx, {
            let mut query = sqlx::query_as(AssertSqlSafe(sql.clone())).bind(&meter.name);
            for event in chunk {
                query = query.bind(&event.id);
            }
            query
        })?;
        found.extend(rows.into_iter().map(|row| (row.id.clone(), row)));
    }
    Ok(found)
}
