//! Which part of a time an application was able to serve, in percent, from what is recorded: the
//! states it was in, and the minutes in which every request failed.
//!
//! The time observed begins when it was first active, and leaves out what it was deleted for. Of
//! that, it was able to serve while it was `active` or `restarting`, but for minutes in which it had
//! requests and each of them was answered with 5xx.

use authsome_shared::id::ApplicationId;
use chrono::{DateTime, TimeDelta, Utc};

use super::series;
use crate::applications::Status;
use crate::applications::history::{self, Stay};
use crate::db::Tx;
use crate::error::Result;

/// Percent from `from` to `to`, rounded down to hundredths; `None` when none of it was observed.
pub async fn of(
    tx: &mut Tx,
    application: &ApplicationId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Option<f64>> {
    let (stays, first_active) = history::since(tx, application, from).await?;
    let Some(begin) = first_active.map(|first| first.max(from)) else { return Ok(None) };
    let failed = series::failed_minutes(tx, application, begin - TimeDelta::minutes(1), to).await?;
    Ok(percent(&stays, failed, begin, to))
}

/// `stays` are in order; the first may have begun before `from`.
fn percent(
    stays: &[Stay],
    failed_minutes: u64,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Option<f64> {
    let (mut observed, mut served) = (0, 0);
    for (n, stay) in stays.iter().enumerate() {
        let end = stays.get(n + 1).map_or(to, |next| next.at.min(to));
        let length = (end - stay.at.max(from)).num_milliseconds().max(0);
        if stay.status != Status::Deleted {
            observed += length;
        }
        if matches!(stay.status, Status::Active | Status::Restarting) {
            served += length;
        }
    }
    if observed == 0 {
        return None;
    }
    let failed = i64::try_from(failed_minutes).unwrap_or(i64::MAX).saturating_mul(60_000);
    let hundredths =
        i128::from(served.saturating_sub(failed).max(0)) * 10_000 / i128::from(observed);
    Some(f64::from(i32::try_from(hundredths).unwrap_or(10_000)) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_the_part_of_the_time_since_it_was_first_active() {
        use Status::{Active, Deleted, Failed, Provisioning, Restarting};
        let at = |minutes: i64| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let of = |stays: &[(i64, Status)], failed, from, to| {
            let stays: Vec<Stay> =
                stays.iter().map(|(n, status)| Stay { at: at(*n), status: *status }).collect();
            percent(&stays, failed, at(from), at(to))
        };
        assert_eq!(of(&[], 0, 0, 100), None);
        assert_eq!(of(&[(0, Active)], 0, 0, 0), None);
        assert_eq!(of(&[(0, Active)], 0, 0, 100), Some(100.0));
        assert_eq!(of(&[(-50, Active)], 1, 0, 100), Some(99.0));
        assert_eq!(of(&[(0, Provisioning), (10, Active)], 0, 10, 100), Some(100.0));
        let stays = [(0, Active), (50, Restarting), (60, Failed), (70, Provisioning), (80, Active)];
        assert_eq!(of(&stays, 0, 0, 100), Some(80.0));
        assert_eq!(of(&[(0, Active), (50, Deleted)], 0, 0, 100), Some(100.0));
        assert_eq!(of(&[(0, Deleted)], 0, 0, 100), None);
        assert_eq!(of(&[(0, Active)], 500, 0, 100), Some(0.0), "not less than nothing");
        // Rounded down: what was down is never told as up all the time.
        assert_eq!(of(&[(0, Active)], 1, 0, 43_200), Some(99.99));
    }
}
