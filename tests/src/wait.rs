//! Waiting for something to come about.

use std::time::{Duration, Instant};

/// How often a probe is asked.
const EVERY: Duration = Duration::from_millis(20);

/// How often one is that counts against the control plane's limits.
const GENTLY: Duration = Duration::from_millis(100);

/// Asks `probe` until it has an answer; panics when there is none by the deadline.
pub async fn until<T>(what: &str, deadline: Duration, probe: impl AsyncFnMut() -> Option<T>) -> T {
    poll(what, deadline, EVERY, probe).await
}

/// The same for probes of the control plane's API, which is limited by plan.
pub async fn gently<T>(what: &str, deadline: Duration, probe: impl AsyncFnMut() -> Option<T>) -> T {
    poll(what, deadline, GENTLY, probe).await
}

async fn poll<T>(
    what: &str,
    deadline: Duration,
    every: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(every).await;
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
        tokio::time::sleep(GENTLY).await;
        let now = probe().await;
        if now != last {
            last = now;
            since = Instant::now();
        }
    }
    last
}
