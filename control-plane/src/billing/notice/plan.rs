//! The mails about a workspace's plan and its trial.

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};

use super::mail;
use crate::jobs::Job;
use crate::workspaces::Plan;

/// The plan is another one from now on.
pub fn changed(workspace: &WorkspaceId, to: Plan) -> Job {
    let plan = to.label();
    mail(
        workspace,
        None,
        format!("You are on the {plan} plan now"),
        format!(
            "The workspace was changed to the {plan} plan. The month in which that happens is \
             charged by the time under each plan.\n"
        ),
    )
}

/// It will be another one.
pub fn planned(workspace: &WorkspaceId, to: Plan, at: DateTime<Utc>) -> Job {
    let (plan, day) = (to.label(), day(at));
    mail(
        workspace,
        None,
        format!("You change to the {plan} plan on {day}"),
        format!(
            "The workspace will be changed to the {plan} plan on {day}, 00:00 UTC. Until then \
             nothing changes, and you can take it back.\n"
        ),
    )
}

/// It stays what it is after all.
pub fn taken_back(workspace: &WorkspaceId, stays: Plan, was: Plan) -> Job {
    let (plan, other) = (stays.label(), was.label());
    mail(
        workspace,
        None,
        format!("You stay on the {plan} plan"),
        format!("The change to the {other} plan that was planned was taken back.\n"),
    )
}

/// It stays what it is, because there is more than the other plan includes.
pub fn dropped(
    workspace: &WorkspaceId,
    stays: Plan,
    was: Plan,
    (applications, limit): (u64, u64),
) -> Job {
    let (plan, other) = (stays.label(), was.label());
    mail(
        workspace,
        None,
        format!("You stay on the {plan} plan"),
        format!(
            "The workspace could not be changed to the {other} plan: it has {applications} \
             applications, and that plan includes {limit}. It stays on the {plan} plan, which is \
             charged as before. Delete applications that you don't need, and change the plan \
             again.\n"
        ),
    )
}

pub fn trial_ending(workspace: &WorkspaceId, plan: Plan, at: DateTime<Utc>) -> Job {
    let (plan, day, time) = (plan.label(), day(at), at.format("%H:%M"));
    mail(
        workspace,
        None,
        format!("Your trial ends on {day}"),
        format!(
            "The trial ends on {day}, {time} UTC. From then on the {plan} plan is charged as usual, \
             with the first invoice at the end of the month. You can change the plan at any time.\n"
        ),
    )
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}
