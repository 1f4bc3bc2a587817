//! Sends recorded spans to a collector by OTLP over HTTP, in batches, from a task of its own behind
//! a bounded queue. While the collector is away a batch is tried a few times, then dropped and
//! counted; what finds the queue full is dropped and counted at once. Requests never wait.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use authsome_shared::id::NodeId;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::Tracer;
use super::otlp::{self, Recorded};
use crate::config;
use crate::metrics::Metrics;
use crate::sync::backoff::Backoff;

/// Most requests in a batch.
const BATCH: usize = 512;

/// How long a batch may wait to be full.
const LINGER: Duration = Duration::from_secs(1);

const CALL: Duration = Duration::from_secs(10);

/// A batch is dropped after so many failures.
const TRIES: usize = 4;

/// The exporter's task.
pub struct Exporter {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Exporter {
    /// Sends what is left, for at most `limit`.
    pub async fn stop(self, limit: Duration) {
        self.stop.cancel();
        let _ = timeout(limit, self.task).await;
    }
}

struct Sending {
    http: reqwest::Client,
    url: Url,
    service: String,
    node: NodeId,
    metrics: Arc<Metrics>,
    spans: Receiver<Recorded>,
    stop: CancellationToken,
}

/// The tracer, and the task that exports what it records, if there is an endpoint.
pub fn start(
    settings: &config::Tracing,
    node: NodeId,
    metrics: Arc<Metrics>,
) -> anyhow::Result<(Tracer, Option<Exporter>)> {
    let Some(endpoint) = &settings.endpoint else {
        return Ok((Tracer::new(settings, None, metrics), None));
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let what = "tracing.headers can't be sent";
        let mut value = HeaderValue::from_str(value.expose()).context(what)?;
        value.set_sensitive(true);
        headers.insert(name.parse::<HeaderName>().context(what)?, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let http = reqwest::Client::builder()
        .timeout(CALL)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(headers)
        .build()
        .context("can't make an HTTP client")?;
    let mut url = endpoint.clone();
    url.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/')));
    let (sender, spans) = channel(settings.queue);
    let stop = CancellationToken::new();
    let service = settings.service.clone();
    let sending =
        Sending { http, url, service, node, metrics: metrics.clone(), spans, stop: stop.clone() };
    let task = AbortOnDropHandle::new(tokio::spawn(sending.run()));
    Ok((Tracer::new(settings, Some(sender), metrics), Some(Exporter { stop, task })))
}

impl Sending {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let stopped = self.collect(&mut batch).await;
            if batch.is_empty() && stopped {
                return;
            }
            self.send(&batch, stopped).await;
            batch.clear();
        }
    }

    /// Waits for a batch; `true` when there is no more to wait for.
    async fn collect(&mut self, batch: &mut Vec<Recorded>) -> bool {
        let first = tokio::select! {
            first = self.spans.recv() => first,
            () = self.stop.cancelled() => {
                self.spans.close();
                self.spans.recv().await
            }
        };
        let Some(first) = first else { return true };
        batch.push(first);
        let deadline = tokio::time::Instant::now() + LINGER;
        while batch.len() < BATCH {
            let next = tokio::select! {
                next = timeout_at(deadline, self.spans.recv()) => next,
                () = self.stop.cancelled(), if !self.spans.is_closed() => {
                    self.spans.close();
                    continue;
                }
            };
            match next {
                Ok(Some(next)) => batch.push(next),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    async fn send(&self, batch: &[Recorded], last: bool) {
        let spans = batch.iter().map(Recorded::spans).sum();
        let body = otlp::export(batch, &self.service, self.node.as_str());
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let tries = if last { 1 } else { TRIES };
        for attempt in 1..=tries {
            match self.post(body.clone()).await {
                Ok(()) => {
                    self.metrics.report.spans_exported.inc_by(spans);
                    return;
                }
                Err((error, again)) if attempt == tries || !again => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        spans,
                        "the collector does not take the traces; they are dropped"
                    );
                    break;
                }
                Err(_) => {
                    tokio::select! {
                        () = sleep(backoff.next()) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
            }
        }
        self.metrics.report.spans_dropped.inc_by(spans);
    }

    /// One attempt. An error says whether another may help, as OTLP has it.
    async fn post(&self, body: Vec<u8>) -> Result<(), (anyhow::Error, bool)> {
        let sent = self.http.post(self.url.clone()).body(body).send().await;
        let status = sent.map_err(|error| (error.into(), true))?.status();
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let checked = || {
            if !status.is_success() {
                bail!("it answered {status}");
            }
            Ok(())
        };
        checked().map_err(|error| (error, again))
    }
}
