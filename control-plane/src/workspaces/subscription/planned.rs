//! What a subscription changes to at the end of a month: planned by the customer, who can take it
//! back, or by the platform's operator. Who may plan what, and carrying it out: `billing::change`.
//!
//! An operator's move to another version of the plan and a customer's change to another plan may
//! both be planned: the customer's goes first, and if it comes to nothing, the operator's is carried
//! out, so that nobody keeps an old price by planning and taking back.

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};

use crate::db::Tx;
use crate::error::Result;
use crate::execute;
use crate::period::Period;
use crate::workspaces::plan::{Plan, VersionOf};

/// A change to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub to: VersionOf,
    /// The end of the month in which it was planned.
    pub at: DateTime<Utc>,
    /// Else by the platform's operator.
    pub by_customer: bool,
    /// The version of its present plan that it changes to then if this comes to nothing.
    pub fallback: Option<i64>,
}

impl Planned {
    /// A customer's, where `before` was planned already.
    pub fn by_customer(
        to: VersionOf,
        at: DateTime<Utc>,
        present: Plan,
        before: Option<Self>,
    ) -> Self {
        let fallback = before.and_then(|before| before.moves(present));
        Self { to, at, by_customer: true, fallback }
    }

    /// The operator's move to another version of the plan, where `before` was planned already.
    pub fn by_operator(
        to: VersionOf,
        at: DateTime<Utc>,
        present: Plan,
        before: Option<Self>,
    ) -> Self {
        match before {
            // Whoever is about to leave the plan leaves it.
            Some(before) if before.to.plan != present && to.plan == present => {
                Self { fallback: Some(to.version), ..before }
            }
            _ => Self { to, at, by_customer: false, fallback: None },
        }
    }

    /// What is left when the customer takes it back, or it can't be carried out.
    pub fn without_customer(self, present: Plan) -> Option<Self> {
        let version = self.moves(present)?;
        let to = VersionOf { plan: present, version };
        Some(Self { to, by_customer: false, fallback: None, ..self })
    }

    /// The version of the present plan that the operator moves it to.
    fn moves(self, present: Plan) -> Option<i64> {
        match self {
            Self { by_customer: false, to, .. } if to.plan == present => Some(to.version),
            Self { fallback, .. } => fallback,
        }
    }
}

/// Lets it change at the end of this month, or not: the operator's, whatever was planned before.
pub async fn schedule(tx: &mut Tx, id: &WorkspaceId, to: Option<VersionOf>) -> Result<()> {
    let at = Period::containing(tx.now()).end();
    let planned = to.map(|to| Planned { to, at, by_customer: false, fallback: None });
    put(tx, id, planned).await
}

/// Replaces what is planned.
pub async fn put(tx: &mut Tx, id: &WorkspaceId, planned: Option<Planned>) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "update subscriptions set next_plan = $2, next_version = $3, next_at = $4, \
             next_by_customer = $5, next_fallback = $6, updated_at = $7 where workspace_id = $1"
        )
        .bind(id)
        .bind(planned.map(|planned| planned.to.plan))
        .bind(planned.map(|planned| planned.to.version))
        .bind(planned.map(|planned| planned.at))
        .bind(planned.is_some_and(|planned| planned.by_customer))
        .bind(planned.and_then(|planned| planned.fallback))
        .bind(now)
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRO: Plan = Plan::Pro;

    fn to(plan: Plan, version: i64) -> VersionOf {
        VersionOf { plan, version }
    }

    #[test]
    fn an_operators_move_outlives_a_customers_change_that_comes_to_nothing() {
        let at = DateTime::UNIX_EPOCH;
        let moved = Planned::by_operator(to(PRO, 2), at, PRO, None);
        assert_eq!((moved.to, moved.by_customer), (to(PRO, 2), false));
        let leaves = to(Plan::Free, 1);
        // In either order.
        let first = Planned::by_customer(leaves, at, PRO, Some(moved));
        let alone = Planned::by_customer(leaves, at, PRO, None);
        let second = Planned::by_operator(to(PRO, 2), at, PRO, Some(alone));
        for planned in [first, second] {
            assert_eq!((planned.to, planned.by_customer), (leaves, true));
            assert_eq!(planned.without_customer(PRO), Some(moved));
        }
        assert_eq!(alone.without_customer(PRO), None);
        // A second thought of the customer's, and a later move of the operator's.
        let again = Planned::by_customer(to(Plan::Enterprise, 1), at, PRO, Some(first));
        assert_eq!(again.without_customer(PRO), Some(moved));
        let newer = Planned::by_operator(to(PRO, 3), at, PRO, Some(first));
        assert_eq!(newer.without_customer(PRO).map(|planned| planned.to), Some(to(PRO, 3)));
    }
}
