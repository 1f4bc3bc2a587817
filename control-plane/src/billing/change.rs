//! Change of plan: by customers, at once or at the end of the month, and what was planned being
//! carried out when the month is closed. It goes to the version that the plan has at the time of the
//! request. Enterprise is agreed with the platform's operator, so nobody else changes to it or from
//! it.
//!
//! What a workspace has must fit into the plan. A change at once that doesn't is refused. One for the
//! end of the month is noted, since there is time to delete applications; if it still doesn't fit
//! then, the workspace stays on its plan, and is told.

use authsome_shared::code::Code;
use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::invoice::settle::By;
use super::{notice, trial};
use crate::actor::Access;
use crate::applications;
use crate::config::Billing;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::jobs;
use crate::period::Period;
use crate::workspaces::plan::{self, Plan, Version, VersionOf};
use crate::workspaces::subscription::{self, Planned, When, planned};
use crate::workspaces::{self, Workspace};

/// More applications than a plan includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obstacle {
    pub applications: u64,
    pub limit: u64,
}

/// What a customer's request for a plan comes to.
#[derive(Debug)]
pub enum Asked {
    Change(Box<Version>),
    /// It stays on its plan.
    TakeBack(Planned),
}

/// May the customer have this plan, and what has to be done for it? Changes nothing.
pub async fn asked(tx: &mut Tx, workspace: &Workspace, plan: Plan) -> Result<Asked> {
    if plan == Plan::Enterprise && workspace.plan != plan {
        return Err(Error::Forbidden("The enterprise plan is set by the platform's operator"));
    }
    let planned = subscription::of(tx, &workspace.id).await?.planned();
    // The operator's move to another version of the plan stands in nobody's way.
    if let Some(planned) = planned.filter(|p| !p.by_customer && p.to.plan != workspace.plan) {
        let message = format!(
            "The platform's operator has planned a change to the {} plan",
            planned.to.plan.as_str()
        );
        return Err(Error::Conflict(Code::InvalidState, message));
    }
    if workspace.plan == plan {
        return planned.filter(|planned| planned.by_customer).map(Asked::TakeBack).ok_or_else(
            || {
                let message = format!("The workspace is on the {} plan already", plan.as_str());
                Error::Conflict(Code::InvalidState, message)
            },
        );
    }
    if workspace.plan == Plan::Enterprise {
        return Err(Error::Forbidden("The enterprise plan is ended by the platform's operator"));
    }
    Ok(Asked::Change(Box::new(plan::current(tx, plan).await?)))
}

/// Changes the plan, now or at the end of the month, or takes back what was planned.
pub async fn request(
    tx: &mut Tx,
    settings: &Billing,
    access: &Access,
    mut workspace: Workspace,
    plan: Plan,
    when: When,
) -> Result<Workspace> {
    let now = tx.now();
    carry_out(tx, settings, &mut workspace, now).await?;
    let version = match asked(tx, &workspace, plan).await? {
        Asked::TakeBack(planned) => {
            drop_planned(tx, access, &workspace, planned).await?;
            return Ok(workspace);
        }
        Asked::Change(version) => version,
    };
    let (from, to) = (workspace.version(), version.of());
    match when {
        When::Now => {
            refuse(obstacle(tx, &workspace, &version).await?, plan)?;
            try_first(tx, settings, &workspace, &version, now).await?;
            subscription::change(tx, &mut workspace, to, now).await?;
            let entry = access.audit("workspace.plan_changed").on("workspace", &workspace.id);
            tx.audit(entry.change(json!(from), json!(to)));
            jobs::enqueue(tx, &notice::plan::changed(&workspace.id, plan)).await?;
        }
        When::PeriodEnd => {
            let before = subscription::of(tx, &workspace.id).await?.planned();
            let at = Period::containing(now).end();
            let next = Planned::by_customer(to, at, workspace.plan, before);
            if before != Some(next) {
                planned::put(tx, &workspace.id, Some(next)).await?;
                let entry = access.audit("workspace.plan_change_planned");
                let entry = entry.on("workspace", &workspace.id);
                let before = before.map(|planned| planned.to);
                tx.audit(entry.change(json!({ "planned": before }), json!({ "planned": to })));
                jobs::enqueue(tx, &notice::plan::planned(&workspace.id, plan, at)).await?;
            }
        }
    }
    Ok(workspace)
}

/// Takes back what the customer has planned.
pub async fn take_back(
    tx: &mut Tx,
    settings: &Billing,
    access: &Access,
    mut workspace: Workspace,
) -> Result<()> {
    let now = tx.now();
    carry_out(tx, settings, &mut workspace, now).await?;
    let planned = subscription::of(tx, &workspace.id).await?.planned();
    match planned {
        Some(planned) if planned.by_customer => drop_planned(tx, access, &workspace, planned).await,
        Some(planned) if planned.to.plan != workspace.plan => {
            let message = "The change was planned by the platform's operator";
            Err(Error::Conflict(Code::InvalidState, message.into()))
        }
        _ => Err(Error::NotFound("planned change")),
    }
}

async fn drop_planned(
    tx: &mut Tx,
    access: &Access,
    workspace: &Workspace,
    planned: Planned,
) -> Result<()> {
    let id = &workspace.id;
    planned::put(tx, id, planned.without_customer(workspace.plan)).await?;
    let entry = access.audit("workspace.plan_change_taken_back").on("workspace", id);
    tx.audit(entry.before(json!({ "planned": planned.to })));
    let mail = notice::plan::taken_back(id, workspace.plan, planned.to.plan);
    Ok(jobs::enqueue(tx, &mail).await?)
}

/// Carries out what was planned for `until` or before, as of its own time, however late it is.
pub async fn carry_out(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &mut Workspace,
    until: DateTime<Utc>,
) -> Result<()> {
    let planned = subscription::of(tx, &workspace.id).await?.planned();
    let Some(planned) = planned.filter(|planned| planned.at <= until) else { return Ok(()) };
    let version = plan::version_of(tx, planned.to).await?;
    let obstacle =
        if planned.by_customer { obstacle(tx, workspace, &version).await? } else { None };
    let id = workspace.id.clone();
    let Some(Obstacle { applications, limit }) = obstacle else {
        if planned.by_customer {
            try_first(tx, settings, workspace, &version, planned.at).await?;
            jobs::enqueue(tx, &notice::plan::changed(&id, planned.to.plan)).await?;
        }
        return arrive(tx, workspace, planned.to, planned.at).await;
    };
    let stays = workspace.plan;
    let mail = notice::plan::dropped(&id, stays, planned.to.plan, (applications, limit));
    jobs::enqueue(tx, &mail).await?;
    let entry = By::System("billing").entry("workspace.plan_change_dropped", &id);
    tx.audit(entry.before(json!({ "planned": planned.to })));
    match planned.without_customer(stays) {
        Some(moved) => arrive(tx, workspace, moved.to, moved.at).await,
        None => planned::put(tx, &id, None).await,
    }
}

/// Carries out what is due by now, so that what is changed next comes after it.
pub async fn catch_up(tx: &mut Tx, settings: &Billing, id: &WorkspaceId) -> Result<()> {
    let now = tx.now();
    match workspaces::held(tx, id).await? {
        Some(mut workspace) => carry_out(tx, settings, &mut workspace, now).await,
        None => Ok(()),
    }
}

async fn arrive(
    tx: &mut Tx,
    workspace: &mut Workspace,
    to: VersionOf,
    at: DateTime<Utc>,
) -> Result<()> {
    let from = workspace.version();
    subscription::change(tx, workspace, to, at).await?;
    let entry = By::System("billing").entry("workspace.plan_changed", &workspace.id);
    tx.audit(entry.change(json!(from), json!(to)));
    Ok(())
}

/// The first plan that costs something may begin with a trial.
async fn try_first(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &Workspace,
    to: &Version,
    at: DateTime<Utc>,
) -> Result<()> {
    match trial::offered(tx, settings, &workspace.id, to, at).await? {
        Some(until) => subscription::set_trial(tx, &workspace.id, Some(until)).await,
        None => Ok(()),
    }
}

/// What there is too much of for a version of a plan.
pub async fn obstacle(
    tx: &mut Tx,
    workspace: &Workspace,
    version: &Version,
) -> Result<Option<Obstacle>> {
    let limits = version.limits.0.clone().with(&workspace.limits.0);
    let Some(limit) = limits.applications else { return Ok(None) };
    let applications = applications::count(tx, &workspace.id).await?;
    Ok((applications > limit).then_some(Obstacle { applications, limit }))
}

fn refuse(obstacle: Option<Obstacle>, plan: Plan) -> Result<()> {
    match obstacle {
        Some(Obstacle { limit, .. }) => {
            Err(Error::PlanLimit { what: "applications", limit, plan: plan.as_str().to_owned() })
        }
        None => Ok(()),
    }
}
