//! What follows when an invoice is not paid: reminders, a workspace that is past due, and one that
//! is suspended; payment ends it all (`invoice::settle`). When what is due is a pure function of the
//! settings and the due date; a step that was missed is made up for, and of reminders that were
//! missed only the last is sent.

use authsome_shared::id::InvoiceId;
use chrono::{DateTime, TimeDelta, Utc};

use super::invoice::store;
use super::notice;
use crate::applications;
use crate::config::Billing;
use crate::db::Tx;
use crate::error::Result;
use crate::jobs;
use crate::workspaces::standing;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The workspace is past due from here on.
    PastDue,
    /// The so-manieth, from 1.
    Remind(usize),
    Suspend,
}

/// All steps with the days after the due date that they are due at, in order.
fn steps(settings: &Billing) -> Vec<(u32, Action)> {
    let mut reminders = settings.reminder_days.clone();
    reminders.sort_unstable();
    let mut steps = vec![(0, Action::PastDue), (settings.suspend_after_days, Action::Suspend)];
    steps.extend(reminders.into_iter().zip(1..).map(|(days, n)| (days, Action::Remind(n))));
    steps.sort_unstable();
    steps
}

/// When there is first anything to do.
pub fn first(settings: &Billing, due: DateTime<Utc>) -> Option<DateTime<Utc>> {
    step(settings, due, 0, due - TimeDelta::seconds(1)).next_at
}

/// What is to be done now, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub actions: Vec<Action>,
    pub done: usize,
    /// `None`: nothing is left to do.
    pub next_at: Option<DateTime<Utc>>,
}

/// With so many steps `done` before.
pub fn step(settings: &Billing, due: DateTime<Utc>, done: usize, now: DateTime<Utc>) -> Step {
    let steps = steps(settings);
    let at = |days: u32| due + TimeDelta::days(days.into());
    let done = done.min(steps.len());
    let reached = steps.iter().take_while(|(days, _)| at(*days) <= now).count().max(done);
    let due_now = &steps[done..reached];
    let is_reminder = |action: &Action| matches!(action, Action::Remind(_));
    // A suspension says all that a reminder would.
    let suspends = due_now.iter().any(|(_, action)| *action == Action::Suspend);
    let last = due_now.iter().map(|(_, action)| action).rfind(|action| is_reminder(action));
    let actions = due_now
        .iter()
        .map(|(_, action)| *action)
        .filter(|action| !is_reminder(action) || (!suspends && Some(action) == last))
        .collect();
    Step { actions, done: reached, next_at: steps.get(reached).map(|(days, _)| at(*days)) }
}

/// Does what is due of one invoice.
pub async fn run(tx: &mut Tx, settings: &Billing, id: &InvoiceId) -> Result<()> {
    let Some(mut invoice) = store::hold(tx, id).await? else { return Ok(()) };
    let now = tx.now();
    let (Some(due), true) = (invoice.due_at, invoice.dunning_at.is_some_and(|at| at <= now)) else {
        return Ok(());
    };
    let done = usize::try_from(invoice.dunning_step).unwrap_or_default();
    let Step { actions, done, next_at } = step(settings, due, done, now);
    for action in actions {
        match action {
            Action::PastDue => standing::past_due(tx, &invoice.workspace_id).await?,
            Action::Remind(n) => {
                jobs::enqueue(tx, &notice::reminder(settings, &invoice, n)).await?;
            }
            Action::Suspend => {
                let reason = format!("Invoice {} is not paid", invoice.name());
                if standing::suspend(tx, &invoice.workspace_id, &reason).await? {
                    applications::tell_suspended(tx, &invoice.workspace_id, &reason).await?;
                    jobs::enqueue(tx, &notice::suspended(&invoice)).await?;
                }
            }
        }
    }
    invoice.dunning_step = i64::try_from(done).unwrap_or(i64::MAX);
    invoice.dunning_at = next_at;
    invoice.updated_at = now;
    store::put(tx, &invoice).await
}

#[cfg(test)]
mod tests {
    use super::Action::{PastDue, Remind, Suspend};
    use super::*;

    #[test]
    fn each_step_is_taken_once_and_missed_reminders_are_one() {
        let settings = Billing::default();
        let due = DateTime::UNIX_EPOCH;
        let day = |days| due + TimeDelta::days(days);
        assert_eq!(first(&settings, due), Some(due));
        let taken = |done, days| {
            let Step { actions, done, next_at } = step(&settings, due, done, day(days));
            (actions, done, next_at)
        };
        assert_eq!(taken(0, -1), (vec![], 0, Some(due)));
        assert_eq!(taken(0, 0), (vec![PastDue, Remind(1)], 2, Some(day(3))));
        assert_eq!(taken(2, 1), (vec![], 2, Some(day(3))));
        assert_eq!(taken(2, 3), (vec![Remind(2)], 3, Some(day(7))));
        assert_eq!(taken(3, 7), (vec![Remind(3)], 4, Some(day(14))));
        assert_eq!(taken(4, 14), (vec![Suspend], 5, None));
        assert_eq!(taken(5, 400), (vec![], 5, None));
        // After an outage.
        assert_eq!(taken(0, 8), (vec![PastDue, Remind(3)], 4, Some(day(14))));
        assert_eq!(taken(0, 30), (vec![PastDue, Suspend], 5, None));
        // A clock that was set back.
        assert_eq!(taken(4, -3), (vec![], 4, Some(day(14))));
    }
}
