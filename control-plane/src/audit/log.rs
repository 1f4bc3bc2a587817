//! Reading the audit log: by page with filters, and in order of writing for an export.

use chrono::{DateTime, Utc};

use super::PLATFORM;
use super::chain::Row;
use crate::actor::Access;
use crate::db::Tx;
use crate::error::Result;
use crate::page::{Page, PageParams};
use crate::{fetch_all, fetch_one};

/// Narrows the log; what is `None` narrows nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// An actor's id, or a person's e-mail address.
    pub actor: Option<String>,
    /// Whole (`key.created`), or a noun with a star (`key.*`).
    pub action: Option<String>,
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    /// From then on.
    pub since: Option<DateTime<Utc>>,
    /// Up to then, exclusive.
    pub until: Option<DateTime<Utc>>,
}

/// Which log.
#[derive(Debug, Clone)]
pub struct Log(String);

impl Log {
    /// A workspace's, for those who may see it.
    pub fn of(access: &Access) -> Self {
        Self(access.workspace_id().as_str().to_owned())
    }

    /// The one of what belongs to no workspace, for the platform's admins.
    pub fn of_platform() -> Self {
        Self(PLATFORM.to_owned())
    }
}

/// Later than anything that is logged, and earlier than what the databases can't hold.
const END_OF_TIME: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).expect("year 9999");

const WHERE: &str = "from audit_entries where chain = $1 \
     and (cast($2 as text) is null or actor_id = $2 or actor_email = $2) \
     and (cast($3 as text) is null or action = $3) \
     and (cast($4 as text) is null or action like $4) \
     and (cast($5 as text) is null or resource_type = $5) \
     and (cast($6 as text) is null or resource_id = $6) \
     and created_at >= $7 and created_at < $8";

/// Entries, newest first.
pub async fn list(tx: &mut Tx, log: &Log, filter: &Filter, page: PageParams) -> Result<Page<Row>> {
    let (exact, prefix) = pattern(filter.action.as_deref());
    macro_rules! bound {
        ($query:expr) => {
            $query
                .bind(&log.0)
                .bind(&filter.actor)
                .bind(&exact)
                .bind(&prefix)
                .bind(&filter.resource_type)
                .bind(&filter.resource_id)
                .bind(filter.since.unwrap_or(DateTime::UNIX_EPOCH))
                .bind(filter.until.unwrap_or(END_OF_TIME))
        };
    }
    let count = format!("select count(*) {WHERE}");
    let (total,): (i64,) =
        fetch_one!(tx, bound!(sqlx::query_as(sqlx::AssertSqlSafe(count.clone()))))?;
    let select = format!("select * {WHERE} order by sequence desc limit $9 offset $10");
    let rows = fetch_all!(
        tx,
        bound!(sqlx::query_as(sqlx::AssertSqlSafe(select.clone())))
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

/// Up to `limit` entries after a sequence number, oldest first: what an export is made of.
pub async fn after(tx: &mut Tx, log: &Log, sequence: i64, limit: i64) -> Result<Vec<Row>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select * from audit_entries where chain = $1 and sequence > $2 \
             order by sequence limit $3"
        )
        .bind(&log.0)
        .bind(sequence)
        .bind(limit)
    )?)
}

/// An action as asked for: either whole, or as a pattern of `like`.
fn pattern(action: Option<&str>) -> (Option<String>, Option<String>) {
    match action {
        None => (None, None),
        Some(action) => match action.strip_suffix('*') {
            None => (Some(action.to_owned()), None),
            // Actions hold no wildcards but `_`, which is harmless: it stands for itself too.
            Some(prefix) => (None, Some(format!("{}%", prefix.replace('%', "")))),
        },
    }
}
