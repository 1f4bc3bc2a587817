//! One JSON line per request that `sample` chooses, written by a thread of its own behind a bounded
//! queue: a slow disk or pipe costs lines, which are counted, never requests. What is in a line is
//! `decision`'s.

pub mod sample;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;

use crate::config;
use crate::decision::{Decision, Sample};
use crate::metrics::Metrics;
use sample::{End, Rules};

/// Lines that may wait.
const QUEUE: usize = 8192;

/// Lines are written so often. Whoever hands one over need not wake the writer, which costs more
/// than the line: it sleeps, and looks.
const PAUSE: Duration = Duration::from_millis(10);

/// At the end, lines that wait have this long to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The queue's entry; `off` has none.
pub struct AccessLog {
    lines: ArcSwapOption<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    rules: ArcSwap<Rules>,
    metrics: Arc<Metrics>,
}

/// A target that can be written to, and what writes to it.
pub struct Opened(Option<(Arc<Queue>, JoinHandle<()>)>);

type Queue = SyncSender<Vec<u8>>;

impl AccessLog {
    /// Opens `log.access_log`: `stdout`, `off` or a path.
    pub fn open(settings: &config::Log, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let rules = ArcSwap::from_pointee(Rules::new(settings));
        let (lines, writer) = (ArcSwapOption::empty(), Mutex::default());
        let log = Self { lines, writer, rules, metrics };
        log.replace(Self::opened(&settings.access_log)?);
        Ok(log)
    }

    /// Opens a target, anew if it is the same: its file may have been moved away.
    pub fn opened(target: &str) -> anyhow::Result<Opened> {
        let output: Box<dyn Write + Send> = match target {
            "off" => return Ok(Opened(None)),
            "stdout" => Box::new(io::stdout()),
            path => Box::new(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .with_context(|| format!("can't write the access log {path}"))?,
            ),
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write(&receiver, output))
            .context("can't start the access log's thread")?;
        Ok(Opened(Some((Arc::new(sender), writer))))
    }

    /// Further lines go there; what waits is still written where it was meant to go.
    pub fn replace(&self, opened: Opened) {
        let (lines, writer) = opened.0.unzip();
        self.lines.store(lines);
        *self.writer.lock() = writer;
    }

    /// Further requests are sampled so.
    pub fn sample_by(&self, settings: &config::Log) {
        self.rules.store(Arc::new(Rules::new(settings)));
    }

    /// Takes no more lines, and gives what waits a moment to be written.
    pub async fn close(&self) {
        self.lines.store(None);
        let Some(writer) = self.writer.lock().take() else { return };
        let written = tokio::task::spawn_blocking(move || writer.join());
        let _ = tokio::time::timeout(LAST_LINES, written).await;
    }

    /// Is this request to be logged, and by which rule? `draw` is asked for only if there is a log.
    pub fn sample(&self, end: End, draw: impl FnOnce() -> u64) -> Option<Sample<'static>> {
        self.is_on().then(|| self.drawn(end, draw))?
    }

    /// The same, whether there is a log or not.
    pub fn drawn(&self, end: End, draw: impl FnOnce() -> u64) -> Option<Sample<'static>> {
        self.rules.load().sample(end, draw)
    }

    pub fn is_on(&self) -> bool {
        self.lines.load().is_some()
    }

    /// Hands a decision's bytes to the writer.
    pub fn log(&self, decision: Vec<u8>) {
        let lines = self.lines.load();
        let Some(lines) = &*lines else { return };
        match lines.try_send(decision) {
            Ok(()) => self.metrics.report.log_lines.inc(),
            Err(_) => self.metrics.report.log_dropped.inc(),
        }
    }
}

/// Writes until the last sender is gone; flushes whenever the queue is empty, and then lets it fill.
fn write(lines: &Receiver<Vec<u8>>, output: Box<dyn Write + Send>) {
    let mut output = BufWriter::new(output);
    let mut text = Vec::with_capacity(1024);
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            if let Some(decision) = Decision::read(&line) {
                text.clear();
                let written = serde_json::to_writer(&mut text, &decision);
                text.push(b'\n');
                if written.map_err(io::Error::from).and_then(|()| output.write_all(&text)).is_err()
                {
                    return;
                }
            }
            next = lines.try_recv().ok();
        }
        if output.flush().is_err() {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "nothing rings: that is the point")]
        std::thread::sleep(PAUSE);
    }
}
