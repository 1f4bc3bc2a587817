//! What an application's owner is told of its requests: lines for the application's log, shipped to
//! the control plane in batches. A request hands its line over and goes on: what is over the bound
//! of a second, or finds the queue full because the control plane is away, is counted, and the
//! count told as a line of its own. What is in a line: `line`.
//!
//! Nothing is kept on the disk: lines that wait are lost with the process.

mod line;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use authsome_shared::clock::Clock;
use authsome_shared::id::{ApplicationId, LogId, NodeId};
use authsome_shared::log::{Level, LogBatch, LogLine, MAX_BATCH_LINES};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::access_log::sample::End;
use crate::config;
use crate::decision::Decision;
use crate::metrics::{Dropped, Metrics};
use crate::snapshot::entity::Application;
use crate::snapshot::shards::ById;
use crate::sync::backoff::Backoff;
use crate::sync::client::Client;

/// Lines that may wait.
const QUEUE: usize = 5_000;

/// How long lines gather before they are shipped, and what the bounds are over.
const EVERY: Duration = Duration::from_secs(1);

pub struct ApplicationLog {
    waiting: Mutex<Waiting>,
    /// The batch that was not confirmed yet; its lock is the turn of who ships.
    shipping: tokio::sync::Mutex<Option<LogBatch>>,
    news: Notify,
    bounds: ArcSwap<config::ApplicationLog>,
    client: Client,
    node: NodeId,
    clock: Clock,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<LogLine>,
    /// Since the last tick, by application and level.
    taken: HashMap<ApplicationId, [u32; 4], ById>,
    left_out: HashMap<ApplicationId, LeftOut, ById>,
}

/// Lines that an application's owner will not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct LeftOut {
    /// Over the bound of a second.
    over: u64,
    /// The queue was full.
    lost: u64,
}

impl ApplicationLog {
    pub fn new(
        bounds: &config::ApplicationLog,
        client: Client,
        node: NodeId,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            waiting: Mutex::default(),
            shipping: tokio::sync::Mutex::default(),
            news: Notify::new(),
            bounds: ArcSwap::from_pointee(bounds.clone()),
            client,
            node,
            clock,
            metrics,
        }
    }

    /// Further requests are bounded so.
    pub fn bound_by(&self, bounds: &config::ApplicationLog) {
        self.bounds.store(Arc::new(bounds.clone()));
    }

    /// Is there to be a line about a request of this application? Then it counts against the bound.
    pub fn takes(&self, application: &Application, end: End, is_slow: bool) -> Option<Level> {
        let level = level_of(end, is_slow);
        let most = self.bounds.load().of(level);
        if most == 0 {
            return None;
        }
        let id = &application.ids.1;
        let mut waiting = self.waiting.lock();
        match waiting.taken.get_mut(id) {
            Some(taken) if taken[level as usize] < most => {
                taken[level as usize] += 1;
                return Some(level);
            }
            Some(_) => {}
            None => {
                let mut taken = [0; 4];
                taken[level as usize] = 1;
                waiting.taken.insert(id.clone(), taken);
                return Some(level);
            }
        }
        // Of requests that went well there is a sample in any case.
        if level > Level::Debug {
            waiting.left_out.entry(id.clone()).or_default().over += 1;
            self.metrics.report.application_log_dropped.inc(Dropped::Rate);
            self.news.notify_one();
        }
        None
    }

    /// Queues the line of a request that [`ApplicationLog::takes`] took.
    pub fn tell(&self, application: &Application, level: Level, decision: &Decision<'_>) {
        let line = line::of(&application.ids.1, level, decision);
        if self.waiting.lock().push(line) {
            self.metrics.report.application_log_dropped.inc(Dropped::Away);
        }
        self.news.notify_one();
    }

    /// Ships for ever.
    pub async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut failing = false;
        loop {
            self.news.notified().await;
            // Others join, and the bounds begin anew.
            sleep(EVERY).await;
            self.waiting.lock().taken.clear();
            while !self.is_shipped().await {
                match self.ship_one().await {
                    Ok(_) => {
                        failing = false;
                        backoff.reset();
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(
                                error = format!("{error:#}"),
                                "applications' logs can't be shipped; trying again"
                            );
                        }
                        sleep(backoff.next()).await;
                        self.waiting.lock().taken.clear();
                    }
                }
            }
        }
    }

    /// Nothing waits that is worth a batch at once; what comes now rings.
    async fn is_shipped(&self) -> bool {
        if self.shipping.lock().await.is_some() {
            return false;
        }
        let waiting = self.waiting.lock();
        waiting.lines.is_empty() && waiting.left_out.is_empty()
    }

    /// Ships what waits, for a shutdown; gives up at the first failure or after `limit`.
    pub async fn flush(&self, limit: Duration) {
        let all = async { while let Ok(true) = self.ship_one().await {} };
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// Ships the next batch; `false` when there is none.
    async fn ship_one(&self) -> anyhow::Result<bool> {
        let mut shipping = self.shipping.lock().await;
        if shipping.is_none() {
            let lines = self.waiting.lock().batch(self.clock.now().timestamp_micros());
            if lines.is_empty() {
                return Ok(false);
            }
            *shipping = Some(LogBatch { id: LogId::new(), node: self.node.clone(), lines });
        }
        let Some(batch) = &*shipping else { return Ok(false) };
        let count = batch.lines.len() as u64;
        if self.client.logs(batch).await? {
            self.metrics.report.application_log_lines.inc_by(count);
        } else {
            self.metrics.report.application_log_dropped.add(Dropped::Refused, count);
        }
        *shipping = None;
        Ok(true)
    }
}

/// What a request's end is to the application's owner.
fn level_of(end: End, is_slow: bool) -> Level {
    match end.status {
        500.. => Level::Error,
        499 => Level::Warn,
        _ if end.ours || is_slow => Level::Warn,
        _ => Level::Debug,
    }
}

impl Waiting {
    /// `true` when that cost the oldest line, which is counted.
    fn push(&mut self, line: LogLine) -> bool {
        let full = self.lines.len() >= QUEUE;
        if full && let Some(oldest) = self.lines.pop_front() {
            self.left_out.entry(oldest.application).or_default().lost += 1;
        }
        self.lines.push_back(line);
        full
    }

    /// The next lines to ship, what was left out first.
    fn batch(&mut self, now: i64) -> Vec<LogLine> {
        let told: Vec<ApplicationId> =
            self.left_out.keys().take(MAX_BATCH_LINES / 4).cloned().collect();
        let mut lines = Vec::new();
        for application in told {
            let Some(LeftOut { over, lost }) = self.left_out.remove(&application) else { continue };
            if over > 0 {
                lines.push(line::over(&application, over, now));
            }
            if lost > 0 {
                lines.push(line::lost(&application, lost, now));
            }
        }
        let room = (MAX_BATCH_LINES - lines.len()).min(self.lines.len());
        lines.extend(self.lines.drain(..room));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_errors_and_refusals_warnings() {
        let level = |status, ours, is_slow| level_of(End { status, ours, latency_us: 0 }, is_slow);
        for (status, ours, is_slow, expected) in [
            (200, false, false, Level::Debug),
            (404, false, false, Level::Debug),
            (200, false, true, Level::Warn),
            (401, true, false, Level::Warn),
            (429, true, false, Level::Warn),
            (499, false, false, Level::Warn),
            (500, false, false, Level::Error),
            (502, true, false, Level::Error),
        ] {
            assert_eq!(level(status, ours, is_slow), expected, "{status} {ours} {is_slow}");
        }
    }

    #[test]
    fn a_full_queue_loses_its_oldest_lines_and_says_how_many() {
        let (busy, calm): (ApplicationId, ApplicationId) =
            ("app_busy".parse().expect("an id"), "app_calm".parse().expect("an id"));
        let line = |application: &ApplicationId, at| LogLine {
            application: application.clone(),
            at,
            level: Level::Error,
            message: String::new(),
            fields: serde_json::Map::new(),
        };
        let mut waiting = Waiting::default();
        assert!(!waiting.push(line(&calm, 0)));
        let pushed: Vec<bool> = (1..6_000).map(|at| waiting.push(line(&busy, at))).collect();
        assert_eq!(pushed.iter().filter(|lost| **lost).count(), 1_000);
        let mut first = waiting.batch(9_999);
        assert_eq!(first.len(), MAX_BATCH_LINES);
        first.sort_by_key(|line| line.at);
        assert_eq!(first[0].at, 1_000, "the newest are kept");
        let said: Vec<_> =
            first.iter().filter(|line| line.at == 9_999).map(|line| &line.fields["lost"]).collect();
        assert_eq!(said.len(), 2);
        assert!(said.contains(&&999.into()) && said.contains(&&1.into()), "{said:?}");
        let mut rest = 0;
        while !waiting.lines.is_empty() {
            rest += waiting.batch(9_999).len();
        }
        assert_eq!(rest + MAX_BATCH_LINES - 2, QUEUE);
        assert!(waiting.batch(9_999).is_empty());
    }
}
