//! Moving subscriptions to another version of their plan, as the platform's operator asks for it: at
//! once, or at the end of their month.

use authsome_shared::id::WorkspaceId;
use authsome_shared::snapshot::Change;
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::planned::{self, Planned};
use super::{move_to, of};
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::Result;
use crate::period::Period;
use crate::workspaces::plan::{self, VersionOf};
use crate::workspaces::{Workspace, store};
use crate::{fetch_all, revisions};

/// What became of a subscription.
#[derive(Debug)]
pub enum Moved {
    /// It has the version, or is about to leave the plan.
    Not,
    /// It has it from now on: what proxies must know.
    Now(Change),
    /// It will have it at the end of its month.
    Planned,
}

/// Moves up to `limit` workspaces of a plan, whose ids come after `after` and whose version was not
/// agreed with them alone, to a version as of `at`, or, without it, at the end of their month; so
/// does it with those that are about to come to the plan. Answers the last one's id if there may be
/// more.
pub async fn move_all(
    tx: &mut Tx,
    to: VersionOf,
    at: Option<DateTime<Utc>>,
    after: Option<&WorkspaceId>,
    limit: i64,
) -> Result<Option<WorkspaceId>> {
    let select = format!(
        "select workspaces.* from workspaces where id > $2 and (plan = $1 \
         and exists (select 1 from plan_versions where plan_versions.plan = workspaces.plan \
         and plan_versions.version = workspaces.plan_version and not private) \
         or plan <> $1 and exists (select 1 from subscriptions join plan_versions \
         on plan_versions.plan = next_plan and plan_versions.version = next_version \
         where workspace_id = workspaces.id and next_plan = $1 and not private)) \
         order by id limit $3{}",
        tx.for_update()
    );
    let workspaces: Vec<Workspace> = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(select.clone()))
            .bind(to.plan)
            .bind(after.map_or("", WorkspaceId::as_str))
            .bind(limit)
    )?;
    let full = i64::try_from(workspaces.len()) == Ok(limit);
    let last = workspaces.last().map(|workspace| workspace.id.clone());
    let limits = plan::version_of(tx, to).await?.limits.0;
    let mut changes = Vec::new();
    for mut workspace in workspaces {
        let before = workspace.plan_version;
        if let Moved::Now(change) = move_one(tx, &mut workspace, to, &limits, at).await? {
            changes.push(change);
            let entry = Entry::by_system("billing", "workspace.plan_changed");
            let entry = entry.in_workspace(&workspace.id).on("workspace", &workspace.id);
            let terms = |version| serde_json::json!({ "plan": to.plan, "version": version });
            tx.audit(entry.change(terms(before), terms(to.version)));
        }
    }
    if !changes.is_empty() {
        revisions::append(tx, changes).await?;
    }
    Ok(last.filter(|_| full))
}

/// Moves one, which is on the plan or about to come to it. Publishing is for the caller.
pub async fn move_one(
    tx: &mut Tx,
    workspace: &mut Workspace,
    to: VersionOf,
    limits: &plan::Limits,
    at: Option<DateTime<Utc>>,
) -> Result<Moved> {
    let planned = of(tx, &workspace.id).await?.planned();
    if workspace.plan != to.plan {
        // It comes to the plan, and to this version of it.
        let Some(planned) = planned.filter(|planned| planned.to.plan == to.plan) else {
            return Ok(Moved::Not);
        };
        planned::put(tx, &workspace.id, Some(Planned { to, ..planned })).await?;
        return Ok(Moved::Planned);
    }
    let Some(at) = at else {
        if workspace.plan_version == to.version {
            return Ok(Moved::Not);
        }
        let end = Period::containing(tx.now()).end();
        let next = Planned::by_operator(to, end, workspace.plan, planned);
        planned::put(tx, &workspace.id, Some(next)).await?;
        return Ok(if next.by_customer { Moved::Not } else { Moved::Planned });
    };
    // An earlier move of the operator's is overtaken by this one.
    let stays = planned.filter(|planned| planned.to.plan != to.plan);
    let stays = stays.map(|planned| Planned { fallback: None, ..planned });
    planned::put(tx, &workspace.id, stays).await?;
    if workspace.plan_version == to.version {
        return Ok(Moved::Not);
    }
    workspace.plan_version = to.version;
    workspace.updated_at = tx.now();
    store::update(tx, workspace).await?;
    if workspace.deleted_at.is_none() {
        move_to(tx, workspace, at).await?;
    }
    let limits = limits.clone().with(&workspace.limits.0);
    Ok(Moved::Now(Change::Workspace(workspace.to_wire(&limits))))
}
