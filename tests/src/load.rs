//! Many callers at once, and an honest count of what became of their calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::call::Caller;
use crate::wait;

/// How soon a caller that nobody listened to tries again.
const AGAIN: Duration = Duration::from_millis(5);

/// What became of the calls.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Whole answers by status.
    pub answered: BTreeMap<u16, u64>,
    /// Answers of 503 by `error.reason`; none is `""`.
    pub unavailable: BTreeMap<String, u64>,
    /// Sent, but the answer never came whole. The proxy may have admitted them or not.
    pub broken: u64,
}

impl Tally {
    pub fn of(&self, status: u16) -> u64 {
        self.answered.get(&status).copied().unwrap_or(0)
    }

    /// All calls that reached a listening proxy.
    pub fn sent(&self) -> u64 {
        self.answered.values().sum::<u64>() + self.broken
    }

    pub fn add(&mut self, other: &Self) {
        for (status, count) in &other.answered {
            *self.answered.entry(*status).or_default() += count;
        }
        for (reason, count) in &other.unavailable {
            *self.unavailable.entry(reason.clone()).or_default() += count;
        }
        self.broken += other.broken;
    }

    async fn call(&mut self, caller: &Caller, path: &str) {
        match caller.try_get(path).await {
            Ok(answer) => {
                *self.answered.entry(answer.status).or_default() += 1;
                if answer.status == 503 {
                    let reason = answer.body["error"]["reason"].as_str().unwrap_or_default();
                    *self.unavailable.entry(reason.to_owned()).or_default() += 1;
                }
            }
            // Nobody listened: not sent. Asking again at once would keep who starts from it.
            Err(error) if error.is_connect() => tokio::time::sleep(AGAIN).await,
            Err(_) => self.broken += 1,
        }
    }
}

/// `count` calls, `concurrency` at a time.
pub async fn calls(caller: &Caller, path: &str, count: u64, concurrency: u64) -> Tally {
    let left = Arc::new(AtomicU64::new(count));
    let mut tasks = JoinSet::new();
    for _ in 0..concurrency {
        let (left, caller, path) = (Arc::clone(&left), caller.clone(), path.to_owned());
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                tally.call(&caller, &path).await;
            }
            tally
        });
    }
    sum(tasks).await
}

/// Callers that go on until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    tasks: JoinSet<Tally>,
}

impl Load {
    pub fn start(caller: &Caller, path: &str, concurrency: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..concurrency {
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            let (caller, path) = (caller.clone(), path.to_owned());
            tasks.spawn(async move {
                let mut tally = Tally::default();
                while !stop.load(Ordering::Relaxed) {
                    tally.call(&caller, &path).await;
                    answers.fetch_add(1, Ordering::Relaxed);
                    // Refused connections answer at once: let the others run.
                    tokio::task::yield_now().await;
                }
                tally
            });
        }
        Self { stop, answers, tasks }
    }

    /// Waits for this many more calls to have ended.
    pub async fn more(&self, count: u64) {
        let before = self.answers.load(Ordering::Relaxed);
        let what = format!("{count} more calls under load");
        wait::until(&what, Duration::from_mins(1), async || {
            (self.answers.load(Ordering::Relaxed) >= before + count).then_some(())
        })
        .await;
    }

    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        sum(self.tasks).await
    }
}

async fn sum(mut tasks: JoinSet<Tally>) -> Tally {
    let mut total = Tally::default();
    while let Some(tally) = tasks.join_next().await {
        total.add(&tally.expect("a caller does not panic"));
    }
    total
}
