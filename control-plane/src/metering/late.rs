//! Notes the months in which something is counted after they have ended, in the transaction that
//! counts it, so that what was charged for them can be mended. By whom and how is for billing.

use std::collections::BTreeSet;

use authsome_shared::id::WorkspaceId;
use chrono::TimeDelta;

use super::usage::Period;
use crate::db::Tx;
use crate::error::Result;
use crate::execute;

/// A transaction takes no longer.
const LONGEST: TimeDelta = TimeDelta::minutes(5);

/// Workspaces' months in which a batch counts something; written in one order, so that parallel
/// batches can't deadlock.
#[derive(Debug, Default)]
pub struct Touched(BTreeSet<(WorkspaceId, Period)>);

impl Touched {
    pub fn add(&mut self, workspace: &WorkspaceId, period: Period) {
        self.0.insert((workspace.clone(), period));
    }

    /// Notes those that have ended, or end before a transaction that began now has certainly been
    /// committed; answers how many.
    pub async fn note(self, tx: &mut Tx) -> Result<usize> {
        let now = tx.now();
        let mut noted = 0;
        for (workspace, period) in self.0 {
            if period.end() > now + LONGEST {
                continue;
            }
            execute!(
                tx,
                sqlx::query(
                    "insert into late_usage (workspace_id, period, noted_at) values ($1, $2, $3) \
                     on conflict (workspace_id, period) do update set noted_at = excluded.noted_at"
                )
                .bind(&workspace)
                .bind(period.to_string())
                .bind(now)
            )?;
            noted += 1;
        }
        Ok(noted)
    }
}
