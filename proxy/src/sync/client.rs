//! The node protocol's calls (`authsome_shared::node`). It knows addresses, the token and
//! time-outs; what to do with answers, and when to try again, is for the callers.

use std::time::Duration;

use anyhow::{Context, bail};
use authsome_shared::id::{NodeId, PlatformId};
use authsome_shared::log::LogBatch;
use authsome_shared::node::Ack;
use authsome_shared::secret::Secret;
use bytes::Bytes;
use reqwest::{Response, StatusCode};
use url::Url;

use crate::config::Control;

const CONNECT: Duration = Duration::from_secs(3);
const CALL: Duration = Duration::from_secs(10);
/// A million keys take a while.
const SNAPSHOT: Duration = Duration::from_mins(5);

/// Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Secret<String>,
}

impl Client {
    pub fn new(control: &Control, token: Secret<String>) -> anyhow::Result<Self> {
        // Pingora and we share one provider; it is no error when it is set already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("can't make an HTTP client")?;
        let mut base = control.url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { http, base, token })
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        self.base.join(path).context("can't make a URL of control.url")
    }

    /// A whole encoded snapshot.
    pub async fn snapshot(&self) -> anyhow::Result<Vec<u8>> {
        let request = self.http.get(self.url("node/v1/snapshot")?).bearer_auth(self.token.expose());
        let response = checked(request.timeout(SNAPSHOT).send().await?)?;
        Ok(response.bytes().await?.to_vec())
    }

    /// Opens the stream of everything after `revision`.
    pub async fn stream(
        &self,
        node: &NodeId,
        platform: &PlatformId,
        revision: u64,
    ) -> anyhow::Result<Response> {
        let mut url = self.url("node/v1/stream")?;
        url.query_pairs_mut()
            .append_pair("node", node.as_str())
            .append_pair("revision", &revision.to_string())
            .append_pair("platform", platform.as_str())
            .append_pair("version", crate::VERSION);
        let request = self.http.get(url).bearer_auth(self.token.expose());
        let response =
            tokio::time::timeout(CALL, request.send()).await.context("no answer in time")??;
        checked(response)
    }

    pub async fn ack(&self, ack: &Ack) -> anyhow::Result<()> {
        let request = self.http.post(self.url("node/v1/ack")?).bearer_auth(self.token.expose());
        checked(request.json(ack).timeout(CALL).send().await?)?;
        Ok(())
    }

    /// The answer is an [`Applied`], not read yet: it may be a large one.
    ///
    /// [`Applied`]: authsome_shared::usage::Applied
    pub async fn usage(&self, batch: Vec<u8>) -> anyhow::Result<Bytes> {
        let request = self.http.post(self.url("node/v1/usage")?).bearer_auth(self.token.expose());
        let request = request.header("content-type", "application/x-ndjson").body(batch);
        let response = checked(request.timeout(CALL).send().await?)?;
        Ok(response.bytes().await?)
    }

    /// `false` when the control plane will not have the batch, now or later.
    pub async fn logs(&self, batch: &LogBatch) -> anyhow::Result<bool> {
        let request = self.http.post(self.url("node/v1/logs")?).bearer_auth(self.token.expose());
        let response = request.json(batch).timeout(CALL).send().await?;
        match response.status() {
            // One of an earlier release knows no such call.
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE => {
                tracing::debug!(status = %response.status(), "lines of logs were refused");
                Ok(false)
            }
            _ => checked(response).map(|_| true),
        }
    }
}

fn checked(response: Response) -> anyhow::Result<Response> {
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            bail!("the control plane refuses this proxy's node token")
        }
        status => bail!("the control plane answered {status} to {}", response.url().path()),
    }
}
