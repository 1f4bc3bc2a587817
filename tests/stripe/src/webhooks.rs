//! Webhooks, signed as Stripe signs them, and sent in the manner that a test asks for: held back,
//! twice, in another order. An endpoint that fails is tried again, with growing pauses.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use serde::Deserialize;

use crate::server::Shared;
use crate::store::Queued;

/// An endpoint has this long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Pauses before an endpoint that failed is tried again.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// How webhooks are sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manner {
    /// Kept back, until this is over or they are taken.
    pub held: bool,
    /// Each is sent so many times more.
    pub duplicates: usize,
    /// The newest first.
    pub reversed: bool,
}

/// A webhook as it is sent.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub url: String,
    pub body: String,
    /// For the header `Stripe-Signature`.
    pub signature: String,
}

/// `t=…,v1=…` of a body.
pub fn sign(secret: &str, body: &str, time: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    format!("t={time},v1={}", hex::encode(tag))
}

/// Takes what waits off the queue, signed now.
pub fn take(shared: &Shared) -> Vec<Delivery> {
    let manner = shared.manner.lock().clone();
    let mut store = shared.store.lock();
    let now = store.now();
    let mut queued: Vec<Queued> = store.queue.drain(..).collect();
    if manner.reversed {
        queued.reverse();
    }
    let mut deliveries = Vec::new();
    for Queued { url, secret, body } in queued {
        let delivery = Delivery { signature: sign(&secret, &body, now), url, body };
        deliveries.extend(std::iter::repeat_n(delivery, manner.duplicates + 1));
    }
    deliveries
}

/// Sends what is queued, for as long as the stand-in lives.
pub async fn deliver(shared: Arc<Shared>, http: reqwest::Client) {
    loop {
        shared.posted.notified().await;
        if shared.manner.lock().held {
            continue;
        }
        for delivery in take(&shared) {
            tokio::spawn(send(http.clone(), delivery));
        }
    }
}

async fn send(http: reqwest::Client, delivery: Delivery) {
    for pause in PAUSES {
        let request = http
            .post(&delivery.url)
            .timeout(TIMEOUT)
            .header("content-type", "application/json; charset=utf-8")
            .header("stripe-signature", &delivery.signature)
            .body(delivery.body.clone());
        if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}
