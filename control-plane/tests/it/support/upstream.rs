//! A customer's API, on a free port of this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::http::StatusCode;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub struct Upstream {
    pub address: SocketAddr,
    /// What every request is answered.
    status: Arc<AtomicU16>,
    paths: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Upstream {
    pub async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let paths = Arc::new(Mutex::new(vec![]));
        let (answer, seen) = (Arc::clone(&status), Arc::clone(&paths));
        let router = Router::new().fallback(async move |uri: axum::http::Uri| {
            seen.lock().push(uri.path().to_owned());
            StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap()
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, status, paths, server }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The paths asked for so far.
    pub fn paths(&self) -> Vec<String> {
        self.paths.lock().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}
