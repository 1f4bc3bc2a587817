//! Holds a workspace's month against itself: the same records, added up along four ways, must give
//! one sum; and what each proxy's ledger lacks, so that anybody can check that nothing was lost in
//! silence. It mends nothing.

use authsome_shared::id::{EpochId, NodeId, WorkspaceId};
use chrono::{DateTime, Utc};

use super::totals;
use crate::actor::Access;
use crate::db::Tx;
use crate::error::Result;
use crate::period::Period;
use crate::proxies::{self, Proxy};
use crate::{fetch_all, fetch_one};

/// Gaps listed at most; the newest.
const MAX_GAPS: i64 = 100;

/// Request units of one month, by the way in which they were added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// The workspace's own total: what usage and invoices say.
    pub workspace: i64,
    pub applications: i64,
    pub keys: i64,
    /// `None` when some of the month's are no longer kept.
    pub minutes: Option<i64>,
}

impl Sums {
    pub fn agree(self) -> bool {
        let sums = [Some(self.applications), Some(self.keys), self.minutes];
        sums.into_iter().flatten().all(|sum| sum == self.workspace)
    }
}

/// Sequence numbers that never came, though later ones of the same run of a journal did.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Gap {
    pub node_id: NodeId,
    pub epoch_id: EpochId,
    pub first_sequence: i64,
    pub last_sequence: i64,
    pub detected_at: DateTime<Utc>,
}

/// How far a proxy's ledger is applied, over all runs of its journal.
#[derive(Debug, Clone)]
pub struct ProxyLedger {
    pub proxy: Proxy,
    /// Records applied.
    pub applied: i64,
    /// Records that never came.
    pub missing: i64,
}

/// The platform's ledgers, proxy by proxy, and what never came of them: they hold all workspaces'
/// records.
pub async fn ledgers(tx: &mut Tx, _: &Access) -> Result<(Vec<ProxyLedger>, Vec<Gap>)> {
    let mut ledgers = Vec::new();
    for proxy in proxies::all(tx).await? {
        let (applied, missing) = ledger(tx, &proxy.id).await?;
        ledgers.push(ProxyLedger { proxy, applied: applied - missing, missing });
    }
    let gaps = fetch_all!(
        tx,
        sqlx::query_as("select * from ledger_gaps order by detected_at desc, node_id limit $1")
            .bind(MAX_GAPS)
    )?;
    Ok((ledgers, gaps))
}

/// A workspace's month, added up in four ways. What was counted before `kept_since` may be gone.
pub async fn sums(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
    kept_since: DateTime<Utc>,
) -> Result<Sums> {
    let name = period.to_string();
    let (applications,): (i64,) =
        fetch_one!(tx, sqlx::query_as(SUM_OF_TOTALS).bind(workspace).bind(&name).bind("app\\_%"))?;
    let (keys,): (i64,) =
        fetch_one!(tx, sqlx::query_as(SUM_OF_TOTALS).bind(workspace).bind(&name).bind("key\\_%"))?;
    let (minutes,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast( \
             (select coalesce(sum(units), 0) from usage_minutes \
              where workspace_id = $1 and minute >= $2 and minute < $3) + \
             (select coalesce(sum(units), 0) from usage_hours \
              where workspace_id = $1 and hour >= $2 and hour < $3) as bigint)"
        )
        .bind(workspace)
        .bind(period.start())
        .bind(period.end())
    )?;
    let workspace = totals::of(tx, workspace.as_str(), &name).await?.units;
    let minutes = (period.start() >= kept_since).then_some(minutes);
    Ok(Sums { workspace, applications, keys, minutes })
}

const SUM_OF_TOTALS: &str = "select cast(coalesce(sum(units), 0) as bigint) from usage_totals \
     where workspace_id = $1 and period = $2 and subject like $3 escape '\\'";

/// The last sequence numbers of all runs together, and how many before them are missing.
async fn ledger(tx: &mut Tx, node: &NodeId) -> Result<(i64, i64)> {
    let (applied,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(sum(applied), 0) as bigint) from ledger_epochs where node_id = $1"
        )
        .bind(node)
    )?;
    let (missing,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(sum(last_sequence - first_sequence + 1), 0) as bigint) \
             from ledger_gaps where node_id = $1"
        )
        .bind(node)
    )?;
    Ok((applied, missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_that_differs_is_a_disagreement() {
        let same = Sums { workspace: 7, applications: 7, keys: 7, minutes: Some(7) };
        assert!(same.agree());
        assert!(Sums { minutes: None, ..same }.agree());
        for different in [
            Sums { workspace: 8, ..same },
            Sums { applications: 6, ..same },
            Sums { keys: 0, ..same },
            Sums { minutes: Some(8), ..same },
        ] {
            assert!(!different.agree(), "{different:?}");
        }
    }
}
