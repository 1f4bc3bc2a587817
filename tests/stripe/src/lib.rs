//! A stand-in for Stripe's API, for tests. It remembers what it is told, answers in the official
//! shapes (`fixtures.json`, a part of Stripe's own), treats idempotency keys, errors, lists and
//! webhooks as Stripe documents them, and fails on request. Only what billing needs is there, and
//! what is not is refused by name.
//!
//! It is for tests alone: it knows one secret key, and its cards are Stripe's test names.

mod cards;
mod control;
mod customers;
mod fault;
mod form;
mod invoices;
mod payments;
mod refusal;
mod routes;
mod server;
mod store;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;

use authsome_shared::clock::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use cards::Outcome;
pub use fault::{Fault, Kind};
use form::Params;
pub use server::Seen;
use server::Shared;
use store::Store;
pub use webhooks::{Delivery, Manner, sign};

/// The one key that is let in.
pub const SECRET_KEY: &str = "sk_test_stand_in";

/// The API's version whose shapes it speaks.
pub const VERSION: &str = "2026-10-28.endive";

/// A stand-in that runs until it is dropped.
pub struct StandIn {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl StandIn {
    /// On a free port of this machine. It goes by the clock that it is given.
    pub async fn start(clock: Clock) -> std::io::Result<Self> {
        Self::start_at(([127, 0, 0, 1], 0).into(), clock).await
    }

    pub async fn start_at(address: SocketAddr, clock: Clock) -> std::io::Result<Self> {
        // Another part of the process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(Store::new(clock)));
        let http = reqwest::Client::builder().no_proxy().build().map_err(std::io::Error::other)?;
        let router = server::router(Arc::clone(&shared));
        let serve = tokio::spawn(async move {
            // Ends with the task only.
            let _ = axum::serve(listener, router).await;
        });
        let courier = tokio::spawn(webhooks::deliver(Arc::clone(&shared), http));
        Ok(Self { address, shared, tasks: [serve, courier] })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a fault.
    pub fn fail(&self, fault: Fault) {
        self.shared.faults.lock().push(fault);
    }

    /// Ends every fault; requests that hang break off.
    pub fn recover(&self) {
        control::recover(&self.shared);
    }

    /// Waits until so many requests have hung.
    pub async fn stalled(&self, count: usize) {
        // The sender lives as long as `self`.
        let _ = self.shared.stalled.subscribe().wait_for(|stalled| *stalled >= count).await;
    }

    /// How many requests have hung so far.
    pub fn stalls(&self) -> usize {
        *self.shared.stalled.borrow()
    }

    /// Has all events sent to a URL; the signing secret.
    pub fn listen(&self, url: &str) -> String {
        let params = json!({ "url": url, "enabled_events": { "0": "*" } });
        let made = self.call("POST", "webhook_endpoints", &params);
        made["secret"].as_str().unwrap_or_default().to_owned()
    }

    /// How webhooks are sent from now on.
    pub fn send_webhooks(&self, manner: Manner) {
        *self.shared.manner.lock() = manner;
        self.shared.posted.notify_one();
    }

    /// The webhooks that are held, signed now.
    pub fn take_webhooks(&self) -> Vec<Delivery> {
        webhooks::take(&self.shared)
    }

    /// What becomes of the next charges of a payment method.
    pub fn card_becomes(&self, payment_method: &str, outcome: Outcome) {
        self.shared.store.lock().outcomes.insert(payment_method.to_owned(), outcome);
    }

    /// The bank replaces a card.
    pub fn replace_card(&self, payment_method: &str, last4: &str, exp_year: i64) -> Value {
        let mut store = self.shared.store.lock();
        let replaced = cards::replace(&mut store, payment_method, last4, exp_year);
        self.shared.posted.notify_one();
        replaced.unwrap_or_else(|refusal| panic!("{}", refusal.body()))
    }

    /// Stripe tries an invoice again, as it does by itself where `auto_advance` is on.
    pub fn retry_invoice(&self, id: &str) {
        // Whether it is paid shows in its state.
        let _ = payments::retry(&mut self.shared.store.lock(), id);
        self.shared.posted.notify_one();
    }

    /// Somebody acts at Stripe itself, such as in its dashboard. Panics when it is refused.
    pub fn call(&self, method: &str, path: &str, params: &Value) -> Value {
        let mut store = self.shared.store.lock();
        let done = routes::call(&mut store, method, path, &Params(params));
        self.shared.posted.notify_one();
        done.unwrap_or_else(|refusal| panic!("{method} {path}: {}", refusal.body()))
    }

    /// Every object of a kind, such as `invoice`, in the order of their creation.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        self.shared.store.lock().all(kind).to_vec()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
