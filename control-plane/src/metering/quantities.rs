//! What was counted in a month of everything that may cost, by item and in millionths of a unit:
//! the one place that says what an item's quantity is.

use std::collections::BTreeMap;

use authsome_shared::id::WorkspaceId;

use super::{meter, storage, totals};
use crate::db::Tx;
use crate::error::Result;
use crate::fetch_optional;
use crate::period::Period;

/// Millionths in a unit.
const MICROS: i64 = 1_000_000;

/// Bytes in a GB, here as everywhere: 2^30.
pub const GB: i128 = 1 << 30;

/// By item: `mau`, `requests` (units), `bandwidth` (GB of bodies, both ways), `storage` (GB-months),
/// and `meter:NAME` of each meter that had events.
pub async fn of(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<BTreeMap<String, i64>> {
    let name = period.to_string();
    let total = totals::of(tx, workspace.as_str(), &name).await?;
    let users = active_users(tx, workspace, &name).await?;
    let mut quantities = meter::of(tx, workspace, period).await?;
    quantities.extend([
        ("mau".to_owned(), users.saturating_mul(MICROS)),
        ("requests".to_owned(), total.units.saturating_mul(MICROS)),
        ("bandwidth".to_owned(), gb(i128::from(total.bytes_in) + i128::from(total.bytes_out), 1)),
        ("storage".to_owned(), storage::of(tx, workspace, period).await?.gb_months),
    ]);
    Ok(quantities)
}

/// `bytes / of` in millionths of a GB, rounded half up.
pub fn gb(bytes: i128, of: i128) -> i64 {
    let (numerator, denominator) = (bytes * i128::from(MICROS), GB * of);
    let rounded = (2 * numerator + denominator).div_euclid(2 * denominator);
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// End users over all applications, each counted once: kept exact as they come.
pub async fn active_users(tx: &mut Tx, workspace: &WorkspaceId, period: &str) -> Result<i64> {
    let row: Option<(i64,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select users from usage_active_users where workspace_id = $1 and period = $2"
        )
        .bind(workspace)
        .bind(period)
    )?;
    Ok(row.map_or(0, |(users,)| users))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_gigabytes_to_a_millionth() {
        for (bytes, of, micros) in [
            (0, 1, 0),
            (1 << 30, 1, 1_000_000),
            (5 << 30, 1, 5_000_000),
            (5 << 30, 2, 2_500_000),
            // 536.870912 bytes are half a millionth.
            (536, 1, 0),
            (537, 1, 1),
        ] {
            assert_eq!(gb(bytes, of), micros, "{bytes}/{of}");
        }
    }
}
