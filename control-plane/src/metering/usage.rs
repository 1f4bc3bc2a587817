//! What a workspace has used in a month, against what its plan includes. What that costs is for
//! `billing`.

use super::meter::{self, Used};
use super::storage::{self, Stored};
use super::{quantities, totals};
use crate::actor::{Access, PlatformAccess};
use crate::applications;
use crate::db::Tx;
use crate::error::Result;
pub use crate::period::Period;
use crate::workspaces::{Limits, Workspace, limits};

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
    pub storage: Stored,
    /// All meters that take events, and those that had any in the month.
    pub meters: Vec<Used>,
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
    let active_users = quantities::active_users(tx, &workspace.id, &name).await?.unsigned_abs();
    let applications = applications::count(tx, &workspace.id).await?;
    let storage = storage::of(tx, &workspace.id, period).await?;
    let meters = meter::used(tx, &workspace.id, period).await?;
    Ok(Usage {
        period,
        active_users,
        applications,
        request_units: total.units.unsigned_abs(),
        errors: total.errors.unsigned_abs(),
        bytes_in: total.bytes_in.unsigned_abs(),
        bytes_out: total.bytes_out.unsigned_abs(),
        storage,
        meters,
        limits,
    })
}
