//! Trials: time that is free of charge. A workspace's first plan that costs something begins with one
//! if the settings say so, and the platform's admins give, lengthen and end them. The price is made
//! by `month`, which leaves a trial's time out; at its end nothing happens but that charging begins.
//! Three days before, once, those who look after the bill are told.

use authsome_shared::code::Code;
use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::notice;
use crate::actor::PlatformAccess;
use crate::config::Billing;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::jobs;
use crate::workspaces::admin::{self, Owned};
use crate::workspaces::plan::Version;
use crate::workspaces::{self, Status, subscription};

/// So long before its end it is told of.
const NOTICE: TimeDelta = TimeDelta::days(3);

/// The longest from now on.
const LONGEST: TimeDelta = TimeDelta::days(730);

/// Until when a plan that is chosen at `at` is free of charge: if the workspace had none before that
/// costs something, and no trial.
pub async fn offered(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &WorkspaceId,
    to: &Version,
    at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>> {
    let Some(until) = to.trial(settings.trial_days, at) else { return Ok(None) };
    let had_trial = subscription::of(tx, workspace).await?.trial_ends_at.is_some();
    let before = subscription::segments(tx, workspace, DateTime::UNIX_EPOCH, at).await?;
    let paid = before.iter().any(|segment| segment.limits.fee_minor > 0);
    Ok((!had_trial && !paid).then_some(until))
}

/// Gives a workspace a trial from now on, or another end to the one that it has.
pub async fn start(
    tx: &mut Tx,
    access: &PlatformAccess,
    id: &WorkspaceId,
    until: DateTime<Utc>,
) -> Result<Owned> {
    let now = tx.now();
    let mut checks = Checks::default();
    let fine = until > now && until - now <= LONGEST;
    checks.check(fine, "until", "The trial must end within the next 730 days");
    checks.finish()?;
    let owned = admin::get(tx, access, id).await?;
    if owned.workspace.status == Status::Deleted {
        let message = "The workspace is deleted: its subscription has ended";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let before = subscription::of(tx, id).await?.trial_ends_at;
    subscription::try_until(tx, &owned.workspace, Some(until)).await?;
    let entry = access.audit("workspace.trial_started").in_workspace(id).on("workspace", id);
    tx.audit(entry.change(json!({ "trialEndsAt": before }), json!({ "trialEndsAt": until })));
    Ok(owned)
}

/// Ends a trial now: what comes after is charged.
pub async fn end(tx: &mut Tx, access: &PlatformAccess, id: &WorkspaceId) -> Result<()> {
    let now = tx.now();
    let owned = admin::get(tx, access, id).await?;
    let ends_at = subscription::of(tx, id).await?.trial_ends_at;
    let runs = owned.workspace.status != Status::Deleted && ends_at.is_some_and(|at| at > now);
    if !runs {
        return Err(Error::NotFound("trial"));
    }
    // The end stays known: there is one trial.
    subscription::try_until(tx, &owned.workspace, Some(now)).await?;
    let entry = access.audit("workspace.trial_ended").in_workspace(id).on("workspace", id);
    tx.audit(entry.change(json!({ "trialEndsAt": ends_at }), json!({ "trialEndsAt": now })));
    Ok(())
}

/// Workspaces to be told that their trial ends.
pub async fn due(tx: &mut Tx, limit: i64) -> Result<Vec<WorkspaceId>> {
    let until = tx.now() + NOTICE;
    subscription::trials_ending(tx, until, limit).await
}

/// Tells one, unless somebody has.
pub async fn tell(tx: &mut Tx, id: &WorkspaceId) -> Result<()> {
    subscription::hold(tx, id).await?;
    let subscription = subscription::of(tx, id).await?;
    let Some(ends_at) = subscription.trial_ends_at else { return Ok(()) };
    if subscription.trial_told_for == Some(ends_at) {
        return Ok(());
    }
    subscription::note_trial_told(tx, id).await?;
    if let Some(workspace) = workspaces::held(tx, id).await? {
        jobs::enqueue(tx, &notice::plan::trial_ending(id, workspace.plan, ends_at)).await?;
    }
    Ok(())
}
