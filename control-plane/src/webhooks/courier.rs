//! One attempt at a delivery: signs, sends, reads what the endpoint says. Decides nothing.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use ipnet::IpNet;

use super::queue::Claimed;
use super::retry::Outcome;
use super::secret;
use crate::egress::{self, Resolver};

const AGENT: &str = concat!("AuthSome-Webhooks/", env!("CARGO_PKG_VERSION"));

/// Of an answer's body, in bytes.
const EXCERPT: usize = 1_024;

/// Sends to the addresses that were allowed when it was made.
pub struct Courier {
    client: reqwest::Client,
    allow: Vec<IpNet>,
    timeout: Duration,
}

/// What came of an attempt.
#[derive(Debug)]
pub struct Attempted {
    pub started_at: DateTime<Utc>,
    pub took: Duration,
    pub outcome: Outcome,
}

impl Courier {
    pub fn new(resolver: &Resolver, allow: &[IpNet], timeout: Duration) -> anyhow::Result<Self> {
        let client = egress::client(resolver, allow, timeout)?;
        Ok(Self { client, allow: allow.to_vec(), timeout })
    }

    /// Was it made for these addresses?
    pub fn is_for(&self, allow: &[IpNet]) -> bool {
        self.allow == allow
    }

    /// `now` is the time that is signed.
    pub async fn attempt(&self, claimed: &Claimed, now: DateTime<Utc>) -> Attempted {
        let began = Instant::now();
        let outcome = match self.send(claimed, now).await {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::Unanswered(reason),
        };
        Attempted { started_at: now, took: began.elapsed(), outcome }
    }

    async fn send(&self, claimed: &Claimed, now: DateTime<Utc>) -> Result<Outcome, String> {
        let url = egress::check_url(&claimed.url, &self.allow)?;
        let (id, timestamp) = (claimed.event.as_str(), now.timestamp());
        let signature = secret::signature(&claimed.secrets, id, timestamp, &claimed.body);
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(claimed.body.clone());
        let response = request.send().await.map_err(|error| self.reason(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| pause(value, now));
        let excerpt = excerpt(response).await;
        Ok(Outcome::Answered { status, excerpt, retry_after })
    }

    fn reason(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {} s", self.timeout.as_secs());
        }
        // The innermost says what happened; those around it, that something did.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        cause.to_string().chars().take(500).collect()
    }
}

/// The beginning of a body as text that any database takes. The status has come; if the body breaks
/// off or stalls until the time-out, what has come of it will do.
async fn excerpt(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < EXCERPT {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(EXCERPT);
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}

/// `Retry-After`: seconds, or a date.
fn pause(value: &str, now: DateTime<Utc>) -> Option<TimeDelta> {
    if let Ok(seconds) = value.trim().parse::<u32>() {
        return Some(TimeDelta::seconds(seconds.into()));
    }
    let date = DateTime::parse_from_rfc2822(value.trim()).ok()?;
    Some((date.to_utc() - now).max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: DateTime<Utc> = "2015-10-21T07:28:00Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            ("Wed, 21 Oct 2015 07:30:00 GMT", Some(120)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(pause(value, now), seconds.map(TimeDelta::seconds), "{value}");
        }
    }
}
