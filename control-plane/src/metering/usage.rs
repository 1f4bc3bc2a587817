//! What a workspace has used in a month, against what its plan includes, and what it costs so far.

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc};

use super::totals;
use crate::actor::{Access, PlatformAccess};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::workspaces::{Limits, Workspace, limits};
use crate::{applications, fetch_one};

/// A calendar month, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    year: i32,
    month: u32,
}

impl Period {
    pub fn containing(at: DateTime<Utc>) -> Self {
        Self { year: at.year(), month: at.month() }
    }

    /// From `YYYY-MM`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return None;
        }
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        NaiveDate::from_ymd_opt(year, month, 1).map(|_| Self { year, month })
    }

    /// The month asked for, or the one that `now` lies in.
    pub fn asked(text: Option<&str>, now: DateTime<Utc>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::containing(now)) };
        Self::parse(text).ok_or_else(|| {
            Error::invalid("period", "invalid_value", "`period` must be a month such as 2026-01")
        })
    }

    /// The first instant of it.
    pub fn start(self) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(self.year, self.month, 1, 0, 0, 0).single().expect("months begin")
    }

    /// The first instant after it: when it is billed.
    pub fn end(self) -> DateTime<Utc> {
        let (year, month) =
            if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        Utc.with_ymd_and_hms(year, month, 1, 0, 0, 0).single().expect("months begin")
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A month's usage of a workspace.
#[derive(Debug)]
pub struct Usage {
    pub period: Period,
    pub limits: Limits,
    pub active_users: u64,
    pub applications: u64,
    pub request_units: u64,
    pub errors: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub active_users_cost_micros: i64,
    /// Fee and overage, in cents; overage is rounded once, half up.
    pub estimated_cost_cents: i64,
}

/// The usage of `period`, or of the current month.
pub async fn of(
    tx: &mut Tx,
    _access: &Access,
    workspace: &Workspace,
    period: Option<&str>,
) -> Result<Usage> {
    let period = Period::asked(period, tx.now())?;
    month(tx, workspace, period).await
}

/// This month's, for the platform's admins.
pub async fn overseen(tx: &mut Tx, _: &PlatformAccess, workspace: &Workspace) -> Result<Usage> {
    let period = Period::containing(tx.now());
    month(tx, workspace, period).await
}

async fn month(tx: &mut Tx, workspace: &Workspace, period: Period) -> Result<Usage> {
    let name = period.to_string();
    let limits = limits::of(tx, workspace).await?;
    let total = totals::of(tx, workspace.id.as_str(), &name).await?;
    let active_users = distinct_users(tx, &workspace.id, &name).await?;
    let applications = applications::count(tx, &workspace.id).await?;
    let active_users_cost_micros = limits.active_users.cost_micros(active_users);
    Ok(Usage {
        period,
        active_users,
        applications,
        request_units: total.units.unsigned_abs(),
        errors: total.errors.unsigned_abs(),
        bytes_in: total.bytes_in.unsigned_abs(),
        bytes_out: total.bytes_out.unsigned_abs(),
        active_users_cost_micros,
        estimated_cost_cents: limits.fee_cents + cents(active_users_cost_micros),
        limits,
    })
}

/// Millionths of a dollar in cents, rounded half up.
pub fn cents(micros: i64) -> i64 {
    micros.saturating_add(5_000).div_euclid(10_000)
}

/// End users over all applications, each counted once.
async fn distinct_users(tx: &mut Tx, workspace: &WorkspaceId, period: &str) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(distinct end_user) from usage_users where workspace_id = $1 and period = $2"
        )
        .bind(workspace)
        .bind(period)
    )?;
    Ok(count.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        let period = Period::parse("2025-12").unwrap();
        assert_eq!(period.to_string(), "2025-12");
        assert_eq!(period.end().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        for bad in ["", "2025", "2025-13", "2025-00", "2025-1", "25-01", "2025-01-01", "+025-01"] {
            assert_eq!(Period::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn cents_round_half_up() {
        for (micros, expected) in [(0, 0), (4_999, 0), (5_000, 1), (20_000, 2), (25_000_000, 2500)]
        {
            assert_eq!(cents(micros), expected);
        }
    }
}
