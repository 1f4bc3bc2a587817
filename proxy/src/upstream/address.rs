//! Resolves upstream names without blocking, and remembers the answers for a moment. Whether an
//! address may be used is for the caller, at each use: a remembered answer is judged again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use url::Host;

use crate::denied::Cause;

/// The system's resolver does not tell how long an answer holds.
const REMEMBER: Duration = Duration::from_secs(5);

/// Names remembered at once; more, and all are forgotten.
const MOST: usize = 4096;

type Answers = HashMap<String, (Instant, Arc<[IpAddr]>)>;

#[derive(Debug, Default)]
pub struct Resolver {
    answers: Mutex<Answers>,
}

impl Resolver {
    /// All addresses of a host; at least one.
    pub async fn resolve(
        &self,
        host: &Host<String>,
        limit: Duration,
    ) -> Result<Arc<[IpAddr]>, Cause> {
        match host {
            Host::Ipv4(address) => Ok([IpAddr::V4(*address)].into()),
            Host::Ipv6(address) => Ok([IpAddr::V6(*address)].into()),
            Host::Domain(name) => match self.remembered(name) {
                Some(addresses) => Ok(addresses),
                None => self.look_up(name, limit).await,
            },
        }
    }

    /// The next request asks for this host's addresses anew.
    pub fn forget(&self, host: &Host<String>) {
        if let Host::Domain(name) = host {
            self.answers.lock().remove(name);
        }
    }

    fn remembered(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let answers = self.answers.lock();
        let (at, addresses) = answers.get(name)?;
        (at.elapsed() < REMEMBER).then(|| addresses.clone())
    }

    async fn look_up(&self, name: &str, limit: Duration) -> Result<Arc<[IpAddr]>, Cause> {
        let looked_up = tokio::time::timeout(limit, tokio::net::lookup_host((name, 0))).await;
        let found: Arc<[IpAddr]> = match looked_up {
            Err(_) => return Err(Cause::GatewayTimeout { reason: "dns_timeout" }),
            Ok(Err(error)) => {
                tracing::debug!(name, %error, "an upstream's name can't be resolved");
                [].into()
            }
            Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        };
        if found.is_empty() {
            let message = "The upstream's name could not be resolved";
            return Err(Cause::BadGateway { reason: "dns", message });
        }
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(name.to_owned(), (Instant::now(), found.clone()));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses_resolve_and_nonsense_does_not() {
        let resolver = Resolver::default();
        let limit = Duration::from_secs(5);
        let local = Host::Domain("localhost".to_owned());
        let found = resolver.resolve(&local, limit).await.expect("known everywhere");
        assert!(found.iter().all(IpAddr::is_loopback));
        assert_eq!(resolver.remembered("localhost").as_deref(), Some(&*found));
        resolver.forget(&local);
        assert_eq!(resolver.remembered("localhost"), None);
        let literal = Host::parse("192.0.2.1").expect("an address");
        assert_eq!(resolver.resolve(&literal, limit).await.expect("itself").len(), 1);
        let nonsense = Host::Domain("does-not-exist.invalid".to_owned());
        assert!(resolver.resolve(&nonsense, limit).await.is_err());
    }
}
