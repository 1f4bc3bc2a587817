//! One JSON line per request, written by a thread of its own behind a bounded queue: a slow disk
//! or pipe costs lines, which are counted, never requests. Paths are logged without their query,
//! because a query may hold a key.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::Serialize;

use crate::metrics::Metrics;

/// Lines that may wait.
const QUEUE: usize = 8192;

/// At the end, lines that wait have this long to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// RFC 3339, the response's end.
    pub time: String,
    pub request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub method: String,
    /// Without its query.
    pub path: String,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    pub latency_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_us: Option<u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub client: String,
}

/// The queue's entry; `off` has none.
pub struct AccessLog {
    lines: ArcSwapOption<SyncSender<Line>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

/// A target that can be written to, and what writes to it.
pub struct Opened(Option<(Arc<SyncSender<Line>>, JoinHandle<()>)>);

impl AccessLog {
    /// `target`: `stdout`, `off` or a path.
    pub fn open(target: &str, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let log = Self { lines: ArcSwapOption::empty(), writer: Mutex::default(), metrics };
        log.replace(Self::opened(target)?);
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

    /// Takes no more lines, and gives what waits a moment to be written.
    pub async fn close(&self) {
        self.lines.store(None);
        let Some(writer) = self.writer.lock().take() else { return };
        let written = tokio::task::spawn_blocking(move || writer.join());
        let _ = tokio::time::timeout(LAST_LINES, written).await;
    }

    pub fn is_on(&self) -> bool {
        self.lines.load().is_some()
    }

    pub fn log(&self, line: Line) {
        if let Some(lines) = &*self.lines.load()
            && lines.try_send(line).is_err()
        {
            self.metrics.access_log_dropped.inc();
        }
    }
}

/// Writes until the last sender is gone; flushes whenever the queue is empty.
fn write(lines: &Receiver<Line>, output: Box<dyn Write + Send>) {
    let mut output = BufWriter::new(output);
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            let written = serde_json::to_writer(&mut output, &line)
                .map_err(io::Error::from)
                .and_then(|()| output.write_all(b"\n"));
            if written.is_err() {
                return;
            }
            next = lines.try_recv().ok();
        }
        if output.flush().is_err() {
            return;
        }
    }
}
