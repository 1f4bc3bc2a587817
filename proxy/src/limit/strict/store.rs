//! The Redis or Valkey that holds strict limits: three scripts on one connection, and the watch
//! over it. Once it fails, or answers too late several times in a row, nobody waits for it any
//! more; it is taken up again when it answers promptly. What to do meanwhile is for `strict`.
//!
//! Its memory counts as whole only since it was seen to begin: an emptied, restarted or replaced
//! server is noticed, and has to be mistrusted for as long as limits reach back. One that evicts
//! keys or loses acknowledged writes in a failover to a replica of the same run is not noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use arc_swap::ArcSwapOption;
use authsome_shared::snapshot::RateLimit;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Script};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::apart::Apart;
use super::lease::{Ask, Reply};
use crate::config;
use crate::metrics::Metrics;
use crate::seldom::Seldom;
use crate::sync::backoff::Backoff;

/// So many late answers in a row, and nobody waits any more.
const LATE: u32 = 3;
/// So many prompt ones in a row, and it is taken up again.
const PROMPT: u32 = 3;
/// For connecting, and for answers that nobody waits for any more.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN_PROBES: Duration = Duration::from_millis(50);
/// A connection that nobody uses is tried at this interval.
const IDLE: Duration = Duration::from_secs(1);

pub struct Store {
    client: Client,
    prefix: String,
    /// How long a request waits for an answer.
    pub wait: Duration,
    rate: Script,
    quota: Script,
    adopt: Script,
    /// `None` while it is not to be asked.
    link: ArcSwapOption<MultiplexedConnection>,
    late: AtomicU32,
    gone: Notify,
    slow: Seldom,
    memory: Mutex<Memory>,
    metrics: Arc<Metrics>,
    /// Where it is asked.
    pub apart: Apart,
}

/// Since when the server's memory is whole.
#[derive(Debug, Default)]
struct Memory {
    /// By the server's clock, in microseconds; 0: not known yet.
    born: u64,
    since: Option<Instant>,
}

/// There is no answer, or none to go by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failed {
    /// What was granted by a memory that had just been lost.
    pub granted: u64,
}

type Row = (u64, u64, u64, u64, u64);

impl Store {
    /// `None` when none is configured.
    pub fn new(config: &config::Strict, metrics: Arc<Metrics>) -> anyhow::Result<Option<Self>> {
        let Some(url) = config.redis_url.as_ref().filter(|url| !url.expose().is_empty()) else {
            return Ok(None);
        };
        // The error would show the URL, and with it the password.
        let client = Client::open(url.expose().as_str())
            .map_err(|_| anyhow::anyhow!("it is not a redis:// or rediss:// URL"))
            .context("strict.redis_url")?;
        Ok(Some(Self {
            client,
            prefix: config.prefix.clone(),
            wait: Duration::from_millis(config.timeout_ms),
            rate: Script::new(concat!(include_str!("born.lua"), include_str!("rate.lua"))),
            quota: Script::new(concat!(include_str!("born.lua"), include_str!("quota.lua"))),
            adopt: Script::new(include_str!("adopt.lua")),
            link: ArcSwapOption::empty(),
            late: AtomicU32::new(0),
            gone: Notify::new(),
            slow: Seldom::default(),
            memory: Mutex::default(),
            metrics,
            apart: Apart::start().context("no thread for strict limits")?,
        }))
    }

    pub fn is_up(&self) -> bool {
        self.link.load().is_some()
    }

    /// Does the server know what has happened for at least this long?
    pub fn remembers(&self, span: Duration) -> bool {
        self.memory.lock().since.is_some_and(|since| since.elapsed() >= span)
    }

    /// Asks for a rate limit's units; `burst` is what a full bucket holds.
    pub async fn rate(
        &self,
        bucket: &str,
        limit: RateLimit,
        burst: u64,
        ask: Ask,
    ) -> Result<Reply, Failed> {
        let mut call = self.rate.prepare_invoke();
        call.key(format!("{}:rate:{bucket}", self.prefix))
            .key(self.born())
            .arg(limit.requests)
            .arg(limit.window_ms.saturating_mul(1_000))
            .arg(burst)
            .arg(ask.want)
            .arg(ask.give_back)
            .arg(ask.debt);
        self.call(&call).await
    }

    /// Asks for a quota's units in a month; `used` is what this proxy knows of.
    pub async fn quota(
        &self,
        counter: &str,
        limit: u64,
        used: u64,
        ask: Ask,
    ) -> Result<Reply, Failed> {
        let mut call = self.quota.prepare_invoke();
        call.key(format!("{}:quota:{counter}", self.prefix))
            .key(self.born())
            .arg(limit)
            .arg(ask.want)
            .arg(ask.give_back)
            .arg(ask.debt)
            .arg(used)
            .arg(KEEP_QUOTA.as_millis().to_string());
        self.call(&call).await
    }

    fn born(&self) -> String {
        format!("{}:born", self.prefix)
    }

    async fn call(&self, call: &redis::ScriptInvocation<'_>) -> Result<Reply, Failed> {
        let link = self.link.load_full().ok_or_else(Failed::default)?;
        let began = Instant::now();
        let row: RedisResult<Row> = call.invoke_async(&mut (*link).clone()).await;
        self.metrics.strict.call_seconds.observe(began.elapsed().as_secs_f64());
        match row {
            Ok((granted, level, wait, age, born)) => {
                if self.recall(born, age) {
                    return Ok(Reply { granted, level, wait: Duration::from_micros(wait) });
                }
                Err(Failed { granted })
            }
            Err(error) => {
                self.down(&error.to_string());
                Err(Failed::default())
            }
        }
    }

    /// Takes up since when the server's memory is whole; `false` when it has just lost it.
    fn recall(&self, born: u64, age: u64) -> bool {
        let mut memory = self.memory.lock();
        if memory.born == born {
            return true;
        }
        let known = memory.born != 0;
        memory.born = born;
        memory.since = Instant::now().checked_sub(Duration::from_micros(age));
        memory.since.get_or_insert_with(Instant::now);
        if known {
            self.metrics.strict.memory_losses.inc();
            tracing::warn!(
                "the store of strict limits has lost its memory; this proxy's share holds too, \
                 until its buckets would be full again"
            );
        }
        !known
    }

    /// An answer came in time.
    pub fn prompt(&self) {
        self.late.store(0, Ordering::Relaxed);
    }

    /// A request stopped waiting for its answer.
    pub fn late(&self) {
        if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE {
            self.down("it answers too late");
        }
    }

    fn down(&self, reason: &str) {
        if self.link.swap(None).is_some() {
            self.metrics.strict.up.set(0);
            tracing::warn!(
                reason,
                "lost the store of strict limits; each proxy holds its own share of them"
            );
            self.gone.notify_one();
        }
    }

    /// Keeps the connection, for ever.
    pub async fn keep(self: Arc<Self>) {
        let mut backoff = Backoff::new(BETWEEN_PROBES, PATIENCE);
        let mut told = false;
        loop {
            match self.connect().await {
                Ok(link) if self.answers_promptly(&link).await => {
                    let began = Instant::now();
                    told = false;
                    self.late.store(0, Ordering::Relaxed);
                    self.link.store(Some(Arc::new(link.clone())));
                    self.metrics.strict.up.set(1);
                    tracing::info!("strict limits are held by their store");
                    self.watch(&link).await;
                    // One that fails again and again is not tried again at once.
                    if began.elapsed() > PATIENCE {
                        backoff.reset();
                    }
                }
                Err(error) if !told => {
                    told = true;
                    let error = format!("{error:#}");
                    tracing::warn!(error, "can't reach the store of strict limits");
                }
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn connect(&self) -> anyhow::Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut link = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let server: String = redis::cmd("INFO").arg("server").query_async(&mut link).await?;
        let run = server.lines().find_map(|line| line.strip_prefix("run_id:"));
        let run = run.context("INFO tells no run_id")?.trim();
        let _: () = self
            .adopt
            .prepare_invoke()
            .key(self.born())
            .key(format!("{}:run", self.prefix))
            .arg(run)
            .invoke_async(&mut link)
            .await?;
        // Loaded ahead, so that no request waits for that.
        for script in [&self.rate, &self.quota] {
            script.prepare_invoke().load_async(&mut link).await?;
        }
        Ok(link)
    }

    async fn answers_promptly(&self, link: &MultiplexedConnection) -> bool {
        let mut prompt = 0;
        while prompt < PROMPT {
            match self.probe(link).await {
                Some(took) if took <= self.wait => prompt += 1,
                Some(took) => {
                    prompt = 0;
                    if let Some(before) = self.slow.due() {
                        let allowed = self.wait;
                        tracing::warn!(
                            ?took,
                            ?allowed,
                            before,
                            "the store of strict limits answers later than strict.timeout_ms"
                        );
                    }
                }
                None => return false,
            }
            if prompt < PROMPT {
                tokio::time::sleep(BETWEEN_PROBES).await;
            }
        }
        true
    }

    /// How long an answer takes; `None` if none comes. Reads since when the memory is whole.
    async fn probe(&self, link: &MultiplexedConnection) -> Option<Duration> {
        let mut link = link.clone();
        let began = Instant::now();
        let mut both = redis::pipe();
        both.cmd("TIME").cmd("GET").arg(self.born());
        let answer: RedisResult<((u64, u64), Option<u64>)> = both.query_async(&mut link).await;
        let ((seconds, micros), born) = answer.ok()?;
        let took = began.elapsed();
        if let Some(born) = born {
            self.recall(born, (seconds * 1_000_000 + micros).saturating_sub(born));
        }
        Some(took)
    }

    /// Until the link is given up.
    async fn watch(&self, link: &MultiplexedConnection) {
        loop {
            if timeout(IDLE, self.gone.notified()).await.is_ok() || !self.is_up() {
                return;
            }
            if self.probe(link).await.is_none() {
                self.down("it does not answer");
            }
        }
    }
}

/// Longer than a month, so that late records of the last one still find it.
const KEEP_QUOTA: Duration = Duration::from_hours(40 * 24);
