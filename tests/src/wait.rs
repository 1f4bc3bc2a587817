//! Waiting for something to come about.

use std::time::{Duration, Instant};

/// How often a probe is asked.
const EVERY: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer; panics when there is none by the deadline.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(EVERY).await;
    }
}

/// Polls until `probe` has given the same value for `still` without a break.
pub async fn settled<T: PartialEq + std::fmt::Debug>(
    what: &str,
    still: Duration,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> T,
) -> T {
    let began = Instant::now();
    let mut last = probe().await;
    let mut since = Instant::now();
    while since.elapsed() < still {
        assert!(began.elapsed() < deadline, "{what}: still moving after {deadline:?}: {last:?}");
        tokio::time::sleep(EVERY * 10).await;
        let now = probe().await;
        if now != last {
            last = now;
            since = Instant::now();
        }
    }
    last
}
