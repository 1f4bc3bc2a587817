//! Reads a batch of reports: what can't be is named by its place in the batch, all at once.

use std::collections::{BTreeSet, HashMap};

use authsome_shared::code::Code;
use authsome_shared::id::{ApplicationId, WorkspaceId};
use chrono::{DateTime, SubsecRound, Utc};
use sqlx::AssertSqlSafe;

use super::{EARLIEST, LATEST};
use crate::db::{Tx, placeholders};
use crate::error::{Checks, Error, Result};
use crate::fetch_all;

/// Reports in a batch at most.
pub const MAX_REPORTS: usize = 1_000;

/// What a number in JSON holds exactly: 8 PiB.
const MAX_BYTES: u64 = (1 << 53) - 1;

/// What an application stores at an instant.
#[derive(Debug, Clone)]
pub struct Report {
    pub application_id: ApplicationId,
    pub bytes: u64,
    /// Now, when absent.
    pub at: Option<DateTime<Utc>>,
}

/// A report that can be taken.
#[derive(Debug)]
pub(super) struct Checked {
    /// Its place in the batch.
    index: usize,
    pub application_id: ApplicationId,
    pub workspace_id: WorkspaceId,
    pub bytes: i64,
    pub at: DateTime<Utc>,
    /// When the application, or its workspace, was deleted.
    pub gone_since: Option<DateTime<Utc>>,
}

impl Checked {
    /// The error of a report that contradicts an earlier one.
    pub fn contradicts(&self, before: i64) -> Error {
        let message = format!(
            "`reports[{}]` says {} bytes, and {before} were reported for the same instant: send \
             `replace` if that was wrong",
            self.index, self.bytes
        );
        Error::Conflict(Code::Conflict, message)
    }
}

struct Owner {
    workspace_id: WorkspaceId,
    gone_since: Option<DateTime<Utc>>,
}

pub(super) async fn check(tx: &mut Tx, reports: Vec<Report>) -> Result<Vec<Checked>> {
    let mut checks = Checks::default();
    let number = format!("`reports` must hold 1 to {MAX_REPORTS} reports");
    checks.check((1..=MAX_REPORTS).contains(&reports.len()), "reports", number);
    checks.finish()?;
    let ids: BTreeSet<&ApplicationId> = reports
        .iter()
        .map(|report| &report.application_id)
        .filter(|id| id.as_str().parse::<ApplicationId>().is_ok())
        .collect();
    let owners = owners(tx, &ids).await?;
    let now = tx.now();
    let mut checks = Checks::default();
    let mut checked = Vec::with_capacity(reports.len());
    for (index, Report { application_id, bytes, at }) in reports.into_iter().enumerate() {
        let at = at.unwrap_or(now).trunc_subsecs(6);
        let time = format!("reports[{index}].at");
        let ahead = EARLIEST.num_minutes();
        checks.check(
            at <= now + EARLIEST,
            &time,
            format!("`{time}` lies more than {ahead} minutes ahead"),
        );
        let days = LATEST.num_days();
        checks.check(
            at >= now - LATEST,
            &time,
            format!("`{time}` is more than {days} days ago: it comes too late to be counted"),
        );
        let field = format!("reports[{index}].bytes");
        let message = format!("`{field}` must be at most {MAX_BYTES}");
        checks.check(bytes <= MAX_BYTES, &field, message);
        let Some(owner) = owners.get(&application_id) else {
            let field = format!("reports[{index}].applicationId");
            checks.fail(&field, format!("`{field}`: there is no such application"));
            continue;
        };
        checked.push(Checked {
            index,
            application_id,
            workspace_id: owner.workspace_id.clone(),
            bytes: bytes.cast_signed(),
            at,
            gone_since: owner.gone_since,
        });
    }
    checks.finish()?;
    Ok(checked)
}

/// An application, its workspace, and when each was deleted.
type Row = (ApplicationId, WorkspaceId, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Whose the applications are; also of those that are gone for good, if anything was reported.
async fn owners(
    tx: &mut Tx,
    ids: &BTreeSet<&ApplicationId>,
) -> Result<HashMap<ApplicationId, Owner>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let list = placeholders(1, ids.len());
    let sql = format!(
        "select application_id, workspace_id, null as deleted_at, null as workspace_deleted_at \
         from storage_applications where application_id in ({list}) \
         and application_id not in (select id from applications) \
         union all \
         select applications.id, workspaces.id, applications.deleted_at, workspaces.deleted_at \
         from applications join workspaces on workspaces.id = applications.workspace_id \
         where applications.id in ({list})"
    );
    let rows: Vec<Row> = fetch_all!(tx, {
        let mut query = sqlx::query_as(AssertSqlSafe(sql.clone()));
        for id in ids {
            query = query.bind(*id);
        }
        query
    })?;
    Ok(rows
        .into_iter()
        .map(|(id, workspace_id, deleted, workspace_deleted)| {
            let gone_since = [deleted, workspace_deleted].into_iter().flatten().min();
            (id, Owner { workspace_id, gone_since })
        })
        .collect())
}
