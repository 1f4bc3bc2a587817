//! Limits on the control plane's own API, by plan: so many requests a minute and a day, counted per
//! workspace on its routes and per user elsewhere. Windows are the clock's minutes and days (UTC).
//!
//! Counted in memory, so that no request waits for a write; each replica adds what it counted to
//! the database every [`FLUSH`] and learns what the others did. So a restart forgets at most that
//! much, and a fleet of replicas admits at most what arrives in that time beyond the limit. What a
//! refusal looks like is for `http/limits.rs`.

use std::collections::HashMap;
use std::time::Duration;

use authsome_shared::id::{ApplicationId, UserId, WorkspaceId};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::member::Status;
use super::plan::{self, Limits, Plan};
use crate::db::Tx;
use crate::error::Result;
use crate::{execute, fetch_all, fetch_one, fetch_optional};

/// How often counts are exchanged with the database.
pub const FLUSH: Duration = Duration::from_secs(1);

/// What a plan allows. Refused requests do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiLimit {
    pub per_minute: u64,
    pub per_day: u64,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// A workspace's or a user's id.
    pub subject: String,
    /// `None`: unlimited.
    pub limit: Option<ApiLimit>,
}

/// A kind of window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    Minute,
    Day,
}

impl Window {
    pub const ALL: [Self; 2] = [Self::Minute, Self::Day];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
        }
    }

    pub fn length(self) -> TimeDelta {
        match self {
            Self::Minute => TimeDelta::minutes(1),
            Self::Day => TimeDelta::days(1),
        }
    }

    /// The beginning of the window that an instant lies in.
    fn start(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.duration_trunc(self.length()).unwrap_or(now)
    }

    fn of(self, limit: ApiLimit) -> u64 {
        match self {
            Self::Minute => limit.per_minute,
            Self::Day => limit.per_day,
        }
    }
}

/// How a caller stands in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub window: Window,
    pub limit: u64,
    pub remaining: u64,
    pub ends_at: DateTime<Utc>,
}

/// Whether a request may go on, and how its caller stands then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The window that has no room left.
    pub refused_by: Option<Standing>,
    pub minute: Standing,
    pub day: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    start: DateTime<Utc>,
    /// Of all replicas, as far as known, and ours.
    total: u64,
    /// Ours that the database does not know of.
    unflushed: u64,
}

impl Count {
    fn new(start: DateTime<Utc>, total: u64) -> Self {
        Self { start, total, unflushed: 0 }
    }

    fn add_one(&mut self) {
        self.total += 1;
        self.unflushed += 1;
    }
}

type Counts = HashMap<(String, Window), Count>;

/// The counts of this replica.
#[derive(Debug, Default)]
pub struct ApiLimits {
    counts: Mutex<Counts>,
}

impl ApiLimits {
    /// Counts a request of a limited caller, unless it is refused.
    pub async fn count(&self, tx: &mut Tx, caller: &str, limit: ApiLimit) -> Result<Verdict> {
        let now = tx.now();
        for window in Window::ALL {
            let start = window.start(now);
            let known = |counts: &Counts| {
                counts.get(&(caller.to_owned(), window)).is_some_and(|count| count.start == start)
            };
            if !known(&self.counts.lock()) {
                let total = stored(tx, caller, window, start).await?;
                let mut counts = self.counts.lock();
                // Another request may have been quicker, and have counted.
                if !known(&counts) {
                    counts.insert((caller.to_owned(), window), Count::new(start, total));
                }
            }
        }
        Ok(decide(&mut self.counts.lock(), caller, limit, now))
    }

    /// What was counted since the last time; windows that have ended are forgotten.
    pub fn unflushed(&self, now: DateTime<Utc>) -> Unflushed {
        let mut counts = self.counts.lock();
        counts.retain(|(_, window), count| {
            count.unflushed > 0 || count.start + window.length() > now
        });
        let dirty = counts.iter().filter(|(_, count)| count.unflushed > 0);
        let mut dirty: Vec<_> = dirty.map(|(key, count)| (key.clone(), *count)).collect();
        // Always in the same order, so that two replicas never wait for each other.
        dirty.sort_by(|(a, _), (b, _)| (&a.0, a.1.as_str()).cmp(&(&b.0, b.1.as_str())));
        Unflushed(dirty)
    }

    /// Takes over what [`Unflushed::store`] answered, once that has been committed.
    pub fn flushed(&self, unflushed: Unflushed, totals: Vec<u64>) {
        let mut counts = self.counts.lock();
        for ((key, flushed), total) in unflushed.0.into_iter().zip(totals) {
            let Some(count) = counts.get_mut(&key) else { continue };
            if count.start == flushed.start {
                count.unflushed -= flushed.unflushed;
                count.total = total + count.unflushed;
            }
        }
    }
}

/// Counts that the database does not know of.
#[derive(Debug)]
pub struct Unflushed(Vec<((String, Window), Count)>);

impl Unflushed {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds them, and answers the totals over all replicas.
    pub async fn store(&self, tx: &mut Tx) -> Result<Vec<u64>> {
        let mut totals = Vec::with_capacity(self.0.len());
        for ((subject, window), count) in &self.0 {
            totals.push(add(tx, subject, *window, *count).await?);
        }
        Ok(totals)
    }
}

/// The decision: room in both windows, or in one of them none.
fn decide(counts: &mut Counts, caller: &str, limit: ApiLimit, now: DateTime<Utc>) -> Verdict {
    let standing = |counts: &Counts, window: Window| {
        let start = window.start(now);
        let used = counts
            .get(&(caller.to_owned(), window))
            .filter(|count| count.start == start)
            .map_or(0, |count| count.total);
        let limit = window.of(limit);
        let ends_at = start + window.length();
        Standing { window, limit, remaining: limit.saturating_sub(used), ends_at }
    };
    let (mut minute, mut day) = (standing(counts, Window::Minute), standing(counts, Window::Day));
    // The one that takes longer to end says when to come back.
    let refused_by = [day, minute].into_iter().find(|standing| standing.remaining == 0);
    if refused_by.is_none() {
        for standing in [&mut minute, &mut day] {
            standing.remaining -= 1;
            let fresh = Count::new(standing.window.start(now), 0);
            let count = counts.entry((caller.to_owned(), standing.window)).or_insert(fresh);
            if count.start != fresh.start {
                // Nobody will ask for a window that has ended.
                *count = fresh;
            }
            count.add_one();
        }
    }
    Verdict { refused_by, minute, day }
}

/// The workspace as the caller, for its members only: a stranger must not use up its limit.
pub async fn of_workspace(tx: &mut Tx, user: &UserId, id: &WorkspaceId) -> Result<Option<Caller>> {
    let row: Option<(WorkspaceId, Json<Limits>)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select workspaces.id, plan_versions.limits from members \
             join workspaces on workspaces.id = members.workspace_id \
             join plan_versions on plan_versions.plan = workspaces.plan \
             and plan_versions.version = workspaces.plan_version \
             where members.user_id = $1 and members.status = $2 and workspaces.id = $3"
        )
        .bind(user)
        .bind(Status::Active)
        .bind(id)
    )?;
    Ok(row.map(caller))
}

/// The application's workspace as the caller, for its members only.
pub async fn of_application(
    tx: &mut Tx,
    user: &UserId,
    id: &ApplicationId,
) -> Result<Option<Caller>> {
    let row: Option<(WorkspaceId, Json<Limits>)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select workspaces.id, plan_versions.limits from members \
             join workspaces on workspaces.id = members.workspace_id \
             join plan_versions on plan_versions.plan = workspaces.plan \
             and plan_versions.version = workspaces.plan_version \
             join applications on applications.workspace_id = workspaces.id \
             where members.user_id = $1 and members.status = $2 and applications.id = $3"
        )
        .bind(user)
        .bind(Status::Active)
        .bind(id)
    )?;
    Ok(row.map(caller))
}

fn caller((id, Json(limits)): (WorkspaceId, Json<Limits>)) -> Caller {
    Caller { subject: id.as_str().to_owned(), limit: limits.api }
}

/// The user as the caller, by the best plan among their workspaces, or as on the free one.
pub async fn of_user(tx: &mut Tx, user: &UserId) -> Result<Caller> {
    let rows: Vec<(Json<Limits>,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select limits from plan_versions where (plan, version) in \
             (select workspaces.plan, workspaces.plan_version from members \
              join workspaces on workspaces.id = members.workspace_id \
              where members.user_id = $1 and members.status = $2)"
        )
        .bind(user)
        .bind(Status::Active)
    )?;
    let mut limits: Vec<Option<ApiLimit>> =
        rows.into_iter().map(|(Json(limits),)| limits.api).collect();
    limits.push(plan::current(tx, Plan::Free).await?.limits.api);
    let limit = if limits.contains(&None) {
        None
    } else {
        limits.into_iter().flatten().max_by_key(|limit| limit.per_minute)
    };
    Ok(Caller { subject: user.as_str().to_owned(), limit })
}

async fn stored(tx: &mut Tx, subject: &str, window: Window, start: DateTime<Utc>) -> Result<u64> {
    let row: Option<(i64,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select requests from api_counts \
             where subject = $1 and kind = $2 and window_start = $3"
        )
        .bind(subject)
        .bind(window.as_str())
        .bind(start)
    )?;
    Ok(row.map_or(0, |(requests,)| requests.unsigned_abs()))
}

async fn add(tx: &mut Tx, subject: &str, window: Window, count: Count) -> Result<u64> {
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into api_counts (subject, kind, window_start, requests) \
             values ($1, $2, $3, $4) on conflict (subject, kind, window_start) \
             do update set requests = api_counts.requests + excluded.requests returning requests"
        )
        .bind(subject)
        .bind(window.as_str())
        .bind(count.start)
        .bind(count.unflushed.cast_signed())
    )?;
    Ok(total.unsigned_abs())
}

/// Forgets windows that have ended.
pub async fn prune(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    let delete =
        "delete from api_counts where window_start < $1 or (kind = 'minute' and window_start < $2)";
    let (day, hour) = (now - TimeDelta::days(1), now - TimeDelta::hours(1));
    Ok(execute!(tx, sqlx::query(delete).bind(day).bind(hour))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ApiLimit = ApiLimit { per_minute: 3, per_day: 5 };

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn exactly_the_limit_is_admitted_in_each_window() {
        let mut counts = Counts::new();
        let mut admitted = |now: &str| {
            (0..10)
                .filter(|_| decide(&mut counts, "a", LIMIT, at(now)).refused_by.is_none())
                .count()
        };
        assert_eq!(admitted("2026-01-01T10:00:59Z"), 3);
        assert_eq!(admitted("2026-01-01T10:01:00Z"), 2, "the day's limit");
        assert_eq!(admitted("2026-01-01T23:59:59Z"), 0);
        assert_eq!(admitted("2026-01-02T00:00:00Z"), 3);
    }

    #[test]
    fn the_window_that_ends_later_says_when_to_come_back() {
        let mut counts = Counts::new();
        let now = at("2026-01-01T10:00:30Z");
        let verdict = decide(&mut counts, "a", LIMIT, now);
        assert_eq!((verdict.minute.remaining, verdict.day.remaining), (2, 4));
        for _ in 0..2 {
            decide(&mut counts, "a", LIMIT, now);
        }
        let refused = decide(&mut counts, "a", LIMIT, now).refused_by.unwrap();
        assert_eq!((refused.window, refused.ends_at), (Window::Minute, at("2026-01-01T10:01:00Z")));
        for _ in 0..2 {
            decide(&mut counts, "a", LIMIT, at("2026-01-01T10:01:00Z"));
        }
        let refused =
            decide(&mut counts, "a", LIMIT, at("2026-01-01T10:02:00Z")).refused_by.unwrap();
        assert_eq!((refused.window, refused.ends_at), (Window::Day, at("2026-01-02T00:00:00Z")));
    }
}
