//! One JSON line per request that `sample` chooses, written by a thread of its own behind a bounded
//! queue: a slow disk or pipe costs lines, which are counted, never requests. What is in a line is
//! `decision`'s.

pub mod sample;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context;

use crate::config;
use crate::decision::{Decision, Sample};
use crate::metrics::Metrics;
use sample::{End, Rules};

/// Lines that may wait.
const QUEUE: usize = 8192;

/// The queue's entry; `off` has none.
pub struct AccessLog {
    lines: Option<SyncSender<Vec<u8>>>,
    rules: Rules,
    metrics: Arc<Metrics>,
}

impl AccessLog {
    /// Opens `log.access_log`: `stdout`, `off` or a path.
    pub fn open(log: &config::Log, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let rules = Rules::new(log);
        let output: Box<dyn Write + Send> = match &*log.access_log {
            "off" => return Ok(Self { lines: None, rules, metrics }),
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
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write(&receiver, output))
            .context("can't start the access log's thread")?;
        Ok(Self { lines: Some(sender), rules, metrics })
    }

    /// Is this request to be logged, and by which rule? `draw` is asked for only if there is a log.
    pub fn sample(&self, end: End, draw: impl FnOnce() -> u64) -> Option<Sample<'static>> {
        self.lines.as_ref().and_then(|_| self.rules.sample(end, draw()))
    }

    /// Hands a decision's bytes to the writer.
    pub fn log(&self, decision: Vec<u8>) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(decision) {
            Ok(()) => self.metrics.report.log_lines.inc(),
            Err(_) => self.metrics.report.log_dropped.inc(),
        }
    }
}

/// Writes until the last sender is gone; flushes whenever the queue is empty.
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
    }
}
