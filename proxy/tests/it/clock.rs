//! The machine's clock is set, forwards and back: nothing is lost, and every record keeps the time
//! at which it was made, from which its billing period follows.

use authsome_shared::clock::{Clock, period_of};
use chrono::{DateTime, TimeDelta};

use crate::harness::{Harness, eventually};

const USERS: &str = "/v1/app_1/users";

#[tokio::test]
async fn a_clock_that_jumps_loses_no_record_and_each_keeps_its_own_time() {
    let mut harness = Harness::with(|world| {
        world.clock = Clock::manual("2026-11-30T23:59:59Z".parse().expect("a time"));
    })
    .await;
    let jumps = [0, 1, 40 * 86_400, -40 * 86_400, -86_400 * 365, 86_400 * 365 - 3, 3_600];
    let mut made = Vec::new();
    for (number, seconds) in jumps.into_iter().enumerate() {
        harness.world.clock.advance(TimeDelta::seconds(seconds));
        // Some is shipped in its own time, some only after the next jump or from the next run.
        harness.control.set_up(number % 3 == 0);
        let mut wire = harness.connect().await;
        let mut served = 0;
        while served < 5 {
            match wire.get(USERS, &harness.world.secret).await.status {
                200 => {
                    served += 1;
                    made.push(harness.world.clock.now().timestamp_millis());
                }
                // Where it is set back the limit is reached, until a burst's time has passed.
                429 if seconds < 0 && served == 0 => {
                    harness.world.clock.advance(TimeDelta::seconds(1));
                }
                status => panic!("{status} after a jump by {seconds} s"),
            }
        }
        if number % 2 == 1 {
            harness.kill();
            harness.restart().await;
        }
    }
    harness.control.set_up(true);
    harness.shipped(made.len()).await;
    eventually("all is confirmed", || async {
        harness.metric("authsome_proxy_journal_unshipped_records").await == 0
    })
    .await;

    let mut came: Vec<_> = harness.control.records().iter().map(|record| record.at).collect();
    came.sort_unstable();
    made.sort_unstable();
    assert_eq!(came, made);
    assert_eq!(harness.control.gaps(), 0);
    let mut periods: Vec<_> = came
        .iter()
        .map(|at| period_of(DateTime::from_timestamp_millis(*at).expect("in range")))
        .collect();
    periods.dedup();
    assert_eq!(periods, ["2025-12", "2026-11", "2026-12", "2027-01"]);
}
