//! What a change of plan would come to: this month's and the next one's bill, as things stand and with
//! the change. Made by what makes the invoices (`month`, `price`, `bill`), of segments that are not
//! written; so an invoice differs only by what happens after. The next month is taken to have the
//! usage that this one has so far.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::bill::Bill;
use super::change::{self, Asked, Obstacle};
use super::{closing, month, trial};
use crate::config::Billing;
use crate::db::Tx;
use crate::error::Result;
use crate::metering::quantities;
use crate::period::Period;
use crate::workspaces::Workspace;
use crate::workspaces::plan::{self, Plan, Version, VersionOf};
use crate::workspaces::subscription::{self, Segment, When};

/// What a change would come to.
#[derive(Debug)]
pub struct Preview {
    /// What the workspace would be on, and from when on.
    pub to: VersionOf,
    pub at: DateTime<Utc>,
    /// Why it could not be changed as things stand.
    pub obstacle: Option<Obstacle>,
    /// The trial that it would begin with ends then.
    pub trial_ends_at: Option<DateTime<Utc>>,
    pub this_month: Compared,
    pub next_month: Compared,
}

/// A month's bill without the change and with it.
#[derive(Debug)]
pub struct Compared {
    pub period: Period,
    pub before: Bill,
    pub after: Bill,
}

/// Previews what a customer's request would do; refused as the request is, but for an obstacle, which
/// is told.
pub async fn of(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &Workspace,
    plan: Plan,
    when: When,
) -> Result<Preview> {
    let now = tx.now();
    let this = Period::containing(now);
    let end = this.end();
    let asked = change::asked(tx, workspace, plan).await?;
    let subscription = subscription::of(tx, &workspace.id).await?;
    let trial = subscription.trial_ends_at;
    let next = this.after(1);
    let present = subscription::segments(tx, &workspace.id, this.start(), next.end()).await?;

    let mut before = present.clone();
    if let Some(planned) = subscription.planned() {
        let to = plan::version_of(tx, planned.to).await?;
        let fits = !planned.by_customer || change::obstacle(tx, workspace, &to).await?.is_none();
        if fits {
            let offered = if planned.by_customer {
                trial::offered(tx, settings, &workspace.id, &to, planned.at).await?
            } else {
                None
            };
            before = with_change(before, workspace, &to, planned.at, offered.or(trial));
        } else if let Some(moved) = planned.without_customer(workspace.plan) {
            let to = plan::version_of(tx, moved.to).await?;
            before = with_change(before, workspace, &to, moved.at, trial);
        }
    }
    // What is due already and not carried out yet is not undone by the change.
    let is_due = subscription.planned().is_some_and(|planned| planned.at <= now);
    let present = if is_due { before.clone() } else { present };
    let (after, to, at, obstacle, offered) = match asked {
        Asked::Change(version) => {
            let at = if when == When::Now { now } else { end };
            let offered = trial::offered(tx, settings, &workspace.id, &version, at).await?;
            let obstacle = change::obstacle(tx, workspace, &version).await?;
            let after = with_change(present, workspace, &version, at, offered.or(trial));
            (after, version.of(), at, obstacle, offered)
        }
        Asked::TakeBack(planned) => match planned.without_customer(workspace.plan) {
            Some(moved) => {
                let to = plan::version_of(tx, moved.to).await?;
                (
                    with_change(present, workspace, &to, moved.at, trial),
                    moved.to,
                    moved.at,
                    None,
                    None,
                )
            }
            None => (present, workspace.version(), now, None, None),
        },
    };

    let used = quantities::of(tx, &workspace.id, this).await?;
    let waiting = closing::adjustments(tx, &workspace.id, this).await?;
    let mut months = Vec::new();
    for (period, segments) in [(this, &before), (this, &after), (next, &before), (next, &after)] {
        let id = &workspace.id;
        let month = month::with(tx, settings, id, period, segments, used.clone()).await?;
        // What waits goes with the next invoice, which is this month's.
        let waiting = if period == this { waiting.clone() } else { vec![] };
        months.push(month.bill(settings, waiting));
    }
    let [before, after, next_before, next_after] =
        <[Bill; 4]>::try_from(months).expect("four were made");
    Ok(Preview {
        to,
        at,
        obstacle,
        trial_ends_at: offered,
        this_month: Compared { period: this, before, after },
        next_month: Compared { period: next, before: next_before, after: next_after },
    })
}

/// The segments as a change would leave them: `subscription::change`, not written.
fn with_change(
    mut segments: Vec<Segment>,
    workspace: &Workspace,
    to: &Version,
    at: DateTime<Utc>,
    trial_until: Option<DateTime<Utc>>,
) -> Vec<Segment> {
    let known = segments.iter().flat_map(|segment| [Some(segment.starts_at), segment.ends_at]);
    let at = known.flatten().fold(at, DateTime::max);
    segments.retain(|segment| segment.ends_at.is_some() || segment.starts_at < at);
    for segment in segments.iter_mut().filter(|segment| segment.ends_at.is_none()) {
        segment.ends_at = Some(at);
    }
    segments.push(Segment {
        starts_at: at,
        ends_at: None,
        plan: to.plan,
        version: to.version,
        overrides: workspace.limits.clone(),
        trial_until: trial_until.filter(|until| *until > at),
        limits: Json(to.limits.0.clone()),
    });
    segments
}
