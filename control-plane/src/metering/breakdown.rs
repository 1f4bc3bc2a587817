//! A workspace's month in parts: by application, by line of keys, by route. The parts of each way add
//! up to the workspace's own totals.
//!
//! Applications and keys come from totals, which are kept for good, and so are the names of those
//! that are gone ([`keep_names`]). Routes come from usage by the hour, which is not: of a month whose
//! beginning is no longer kept they are what is left.

use std::collections::HashMap;

use authsome_shared::id::{ApplicationId, WorkspaceId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use utoipa::ToSchema;

use super::storage::{self, Stored};
use super::totals::Increment;
use super::usage::Period;
use crate::actor::Access;
use crate::db::Tx;
use crate::error::Result;
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one};

/// What a month is parted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BreakdownBy)]
pub enum By {
    #[default]
    Application,
    /// Rotated keys count with their successors.
    Key,
    /// Of each application.
    Route,
}

/// Which parts of which month.
#[derive(Debug, Clone)]
pub struct Asked {
    pub period: Period,
    pub by: By,
    /// Those of this application only.
    pub application: Option<ApplicationId>,
}

impl Asked {
    /// What counts lies before it: nothing of a month that has not begun, though what is stored
    /// now may be stored then.
    fn end(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.period.start() > now { DateTime::UNIX_EPOCH } else { self.period.end() }
    }
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Part {
    /// `None` of a key that is gone without a trace.
    pub application_id: Option<String>,
    pub application_name: Option<String>,
    /// The first key of its line of rotations.
    pub key_id: Option<String>,
    pub key_name: Option<String>,
    pub route: Option<String>,
    #[sqlx(flatten)]
    pub usage: Increment,
    /// Of applications only.
    #[sqlx(skip)]
    pub active_users: Option<i64>,
    /// Of applications only; each is rounded by itself.
    #[sqlx(skip)]
    pub storage: Option<Stored>,
}

/// Parts, and what all of them come to, shown or not.
#[derive(Debug)]
pub struct Breakdown {
    pub parts: Page<Part>,
    pub sum: Increment,
}

/// A page of the parts, those with most requests first.
pub async fn page(
    tx: &mut Tx,
    access: &Access,
    asked: &Asked,
    page: PageParams,
) -> Result<Breakdown> {
    let workspace = access.workspace_id();
    let (total, sum) = sum(tx, workspace, asked).await?;
    let range = format!("limit {} offset {}", page.limit(), page.offset());
    let parts = parts(tx, workspace, asked, &range).await?;
    Ok(Breakdown { parts: page.of(parts, total), sum })
}

/// All parts in the same order.
pub async fn all(tx: &mut Tx, access: &Access, asked: &Asked) -> Result<Vec<Part>> {
    parts(tx, access.workspace_id(), asked, "").await
}

/// Binds what the rows of a way of parting need.
macro_rules! bound {
    ($sql:expr, $workspace:expr, $asked:expr, $end:expr) => {{
        let query = sqlx::query_as(AssertSqlSafe($sql.clone()))
            .bind($workspace)
            .bind($asked.application.as_ref().map_or("", ApplicationId::as_str));
        match $asked.by {
            By::Application => query.bind($asked.period.to_string()).bind($end),
            By::Key => query.bind($asked.period.to_string()),
            By::Route => query.bind($asked.period.start()).bind($end),
        }
    }};
}

fn rows(by: By) -> &'static str {
    match by {
        By::Application => APPLICATIONS,
        By::Key => KEYS,
        By::Route => ROUTES,
    }
}

async fn sum(tx: &mut Tx, workspace: &WorkspaceId, asked: &Asked) -> Result<(i64, Increment)> {
    #[derive(sqlx::FromRow)]
    struct Row {
        parts: i64,
        #[sqlx(flatten)]
        sum: Increment,
    }
    let sql = format!(
        "select count(*) as parts, \
         cast(coalesce(sum(requests), 0) as bigint) as requests, \
         cast(coalesce(sum(units), 0) as bigint) as units, \
         cast(coalesce(sum(errors), 0) as bigint) as errors, \
         cast(coalesce(sum(bytes_in), 0) as bigint) as bytes_in, \
         cast(coalesce(sum(bytes_out), 0) as bigint) as bytes_out from ({}) as parts",
        rows(asked.by)
    );
    let end = asked.end(tx.now());
    let row: Row = fetch_one!(tx, bound!(sql, workspace, asked, end))?;
    Ok((row.parts, row.sum))
}

async fn parts(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    asked: &Asked,
    range: &str,
) -> Result<Vec<Part>> {
    let sql = format!(
        "select * from ({}) as parts \
         order by requests desc, application_id, key_id, route {range}",
        rows(asked.by)
    );
    let end = asked.end(tx.now());
    let mut parts: Vec<Part> = fetch_all!(tx, bound!(sql, workspace, asked, end))?;
    if asked.by == By::Application {
        let users = users(tx, workspace, asked.period).await?;
        let stored = storage::by_application(tx, workspace, asked.period).await?;
        for part in &mut parts {
            let id = part.application_id.as_deref().unwrap_or_default();
            part.active_users = Some(users.get(id).copied().unwrap_or_default());
            part.storage = Some(stored.get(id).copied().unwrap_or_default());
        }
    }
    Ok(parts)
}

/// Distinct end users of each application.
async fn users(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<HashMap<String, i64>> {
    let rows: Vec<(String, i64)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select application_id, count(*) from usage_users \
             where workspace_id = $1 and period = $2 group by application_id"
        )
        .bind(workspace)
        .bind(period.to_string())
    )?;
    Ok(rows.into_iter().collect())
}

/// Notes what applications and lines of keys are called that are about to be removed for good, if
/// anything was counted for them.
pub async fn keep_names(tx: &mut Tx) -> Result<()> {
    let now = tx.now();
    for insert in [
        "insert into usage_names (subject, application_id, workspace_id, name) \
         select id, id, workspace_id, name from applications \
         where status = 'deleted' and purge_at <= $1 \
         on conflict (subject) do update set name = excluded.name",
        "insert into usage_names (subject, application_id, workspace_id, name) \
         select keys.id, applications.id, applications.workspace_id, keys.name from keys \
         join applications on applications.id = keys.application_id \
         where applications.status = 'deleted' and applications.purge_at <= $1 \
         and exists (select 1 from usage_totals where usage_totals.subject = keys.id) \
         on conflict (subject) do update set name = excluded.name",
    ] {
        execute!(tx, sqlx::query(insert).bind(now))?;
    }
    Ok(())
}

/// Those that had requests or stored anything. $1 workspace, $2 application or nothing, $3 period,
/// $4 its end.
const APPLICATIONS: &str = "select subjects.id as application_id, \
     coalesce(applications.name, usage_names.name) as application_name, \
     cast(null as text) as key_id, cast(null as text) as key_name, cast(null as text) as route, \
     coalesce(requests, 0) as requests, coalesce(units, 0) as units, \
     coalesce(errors, 0) as errors, coalesce(bytes_in, 0) as bytes_in, \
     coalesce(bytes_out, 0) as bytes_out \
     from (select subject as id from usage_totals \
             where workspace_id = $1 and period = $3 and subject like 'app\\_%' escape '\\' \
           union select application_id from storage_months \
             where workspace_id = $1 and period = $3 and byte_micros <> '0' \
           union select application_id from storage_applications \
             where workspace_id = $1 and at < $4 and bytes > 0) as subjects \
     left join usage_totals on usage_totals.subject = subjects.id and usage_totals.period = $3 \
     left join applications on applications.id = subjects.id \
     left join usage_names on usage_names.subject = subjects.id \
     where $2 in ('', subjects.id)";

/// $1 workspace, $2 application or nothing, $3 period.
const KEYS: &str = "select coalesce(keys.application_id, usage_names.application_id) \
     as application_id, coalesce(applications.name, gone.name) as application_name, \
     usage_totals.subject as key_id, coalesce(keys.name, usage_names.name) as key_name, \
     cast(null as text) as route, requests, units, errors, bytes_in, bytes_out \
     from usage_totals left join keys on keys.id = usage_totals.subject \
     left join usage_names on usage_names.subject = usage_totals.subject \
     left join applications on applications.id = keys.application_id \
     left join usage_names as gone on gone.subject = usage_names.application_id \
     where usage_totals.workspace_id = $1 and usage_totals.period = $3 \
     and usage_totals.subject like 'key\\_%' escape '\\' \
     and $2 in ('', coalesce(keys.application_id, usage_names.application_id))";

/// $1 workspace, $2 application or nothing, $3 beginning, $4 end.
const ROUTES: &str = "select counted.application_id, \
     coalesce(applications.name, usage_names.name) as application_name, \
     cast(null as text) as key_id, cast(null as text) as key_name, route, \
     requests, units, errors, bytes_in, bytes_out \
     from (select application_id, route, \
             cast(sum(requests) as bigint) as requests, cast(sum(units) as bigint) as units, \
             cast(sum(errors) as bigint) as errors, cast(sum(bytes_in) as bigint) as bytes_in, \
             cast(sum(bytes_out) as bigint) as bytes_out \
           from (select application_id, route, requests, units, errors, bytes_in, bytes_out \
                   from usage_minutes \
                   where workspace_id = $1 and minute >= $3 and minute < $4 \
                   and $2 in ('', application_id) \
                 union all \
                 select application_id, route, requests, units, errors, bytes_in, bytes_out \
                   from usage_hours \
                   where workspace_id = $1 and hour >= $3 and hour < $4 \
                   and $2 in ('', application_id)) as kept \
           group by application_id, route) as counted \
     left join applications on applications.id = counted.application_id \
     left join usage_names on usage_names.subject = counted.application_id";

/// When the routes of a month are known from; `None`: all of it.
pub fn routes_known_from(period: Period, kept_since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (kept_since > period.start()).then(|| kept_since.min(period.end()))
}
