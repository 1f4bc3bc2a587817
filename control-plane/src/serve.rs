//! Runs the control plane: binds, serves, runs jobs, and stops in order. Requests under way have
//! `server.drain_seconds` to end; the proxies' streams are ended at once, so that they reconnect
//! elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use authsome_shared::clock::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::http;
use crate::worker::Worker;

/// A control plane that is being served.
pub struct ControlPlane {
    pub app: App,
    address: SocketAddr,
    stop: CancellationToken,
    worker: Worker,
    server: JoinHandle<std::io::Result<()>>,
}

impl ControlPlane {
    /// Binds the configured address first, so that a busy port is told before anything is changed.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let listener = bind(config.server.listen).await?;
        Self::start_on(listener, config, clock).await
    }

    /// As [`ControlPlane::start`], on a listener that was bound before.
    pub async fn start_on(
        listener: TcpListener,
        mut config: Config,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        // Pinned once for the process; another plane in it may have done so already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let address = listener.local_addr().context("reading the bound address")?;
        config.server.listen = address;
        let app = App::open(config, clock).await?;
        let stop = CancellationToken::new();
        let worker = Worker::start(&app, &stop);
        let router = http::router(&app, &stop);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let graceful =
            axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
        let server = tokio::spawn(async move { graceful.await });
        tracing::info!(%address, "the control plane is listening");
        Ok(Self { app, address, stop, worker, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests and jobs end, closes the database.
    pub async fn shutdown(self) {
        let drain = Duration::from_secs(self.app.config.server.drain_seconds);
        self.stop.cancel();
        let ended = tokio::time::timeout(drain, async {
            if let Err(error) = self.server.await {
                tracing::error!(%error, "the server died");
            }
            self.worker.stopped().await;
        });
        if ended.await.is_err() {
            tracing::warn!("requests or jobs were still under way at the end of the drain time");
        }
        self.app.db.close().await;
    }
}

/// Binds an address; port 0 takes a free one.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: is another process using the port?"))
}
