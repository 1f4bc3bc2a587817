//! Where a provider's endpoints lie and which keys sign its id tokens: from the settings, or from
//! its discovery document and key set, which are kept in memory for an hour. A key that is not known
//! has the set read again, at most every few seconds.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::Jwk;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, Failure};
use crate::config::{Provider, ProviderKind};

const KEEP: TimeDelta = TimeDelta::hours(1);

/// Between two reads of a key set that lacks a key.
const AGAIN: TimeDelta = TimeDelta::seconds(10);

/// Everything that is known of providers.
#[derive(Debug)]
pub struct Providers {
    pub client: Client,
    endpoints: Mutex<HashMap<String, (DateTime<Utc>, Endpoints)>>,
    keys: Mutex<HashMap<String, (DateTime<Utc>, Keys)>>,
}

type Keys = Arc<Vec<Jwk>>;

/// Where to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    pub authorization: String,
    pub token: String,
    pub userinfo: Option<String>,
    pub keys: Option<String>,
    /// As the provider writes it, with or without a slash at its end.
    pub issuer: String,
    /// The client's secret goes into the form, not into a header.
    pub secret_in_form: bool,
}

/// A discovery document (`OpenID` Connect Discovery 1.0, section 3), as far as it is needed.
#[derive(Debug, Default, Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// A key set (RFC 7517, section 5), its keys not looked at yet.
#[derive(Debug, Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Providers {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { client: Client::new()?, endpoints: Mutex::default(), keys: Mutex::default() })
    }

    pub async fn endpoints(
        &self,
        provider: &Provider,
        now: DateTime<Utc>,
    ) -> Result<Endpoints, Failure> {
        if provider.kind == ProviderKind::Github {
            return Ok(github(provider));
        }
        if let Some((read_at, known)) = self.endpoints.lock().get(&provider.id)
            && *read_at + KEEP > now
        {
            return Ok(known.clone());
        }
        let issuer = provider.issuer().trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let document: Document = self.client.get(&url, None).await?;
        if document.issuer.trim_end_matches('/') != issuer {
            let said = document.issuer;
            return Err(Failure::refused(format!("{url} speaks for {said:?}, not {issuer:?}")));
        }
        let found = discovered(provider, document);
        self.endpoints.lock().insert(provider.id.clone(), (now, found.clone()));
        Ok(found)
    }

    /// The keys that may have signed a token that names `kid`.
    pub async fn keys(
        &self,
        provider: &Provider,
        url: &str,
        kid: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Keys, Failure> {
        let has = |keys: &Keys| {
            kid.is_none_or(|kid| keys.iter().any(|key| key.common.key_id.as_deref() == Some(kid)))
        };
        if let Some((read_at, known)) = self.keys.lock().get(&provider.id) {
            let fresh = *read_at + KEEP > now && has(known);
            if fresh || *read_at + AGAIN > now {
                return Ok(Arc::clone(known));
            }
        }
        let set: Set = self.client.get(url, None).await?;
        // A key of a kind that we don't know must not hide the others.
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys: Keys = Arc::new(keys.collect());
        self.keys.lock().insert(provider.id.clone(), (now, Arc::clone(&keys)));
        Ok(keys)
    }
}

fn or<'a>(setting: &'a str, default: &'a str) -> String {
    if setting.is_empty() { default.to_owned() } else { setting.to_owned() }
}

fn github(provider: &Provider) -> Endpoints {
    Endpoints {
        authorization: or(
            &provider.authorization_endpoint,
            "https://github.com/login/oauth/authorize",
        ),
        token: or(&provider.token_endpoint, "https://github.com/login/oauth/access_token"),
        userinfo: Some(or(&provider.userinfo_endpoint, "https://api.github.com/user")),
        keys: None,
        issuer: provider.issuer.clone(),
        secret_in_form: true,
    }
}

fn discovered(provider: &Provider, document: Document) -> Endpoints {
    let optional = |setting: &str, found: Option<String>| {
        if setting.is_empty() { found } else { Some(setting.to_owned()) }
    };
    // RFC 8414, section 2: when nothing is said, it is the header. Of both the form, because some
    // that name both read only that.
    let methods = document.token_endpoint_auth_methods_supported.unwrap_or_default();
    Endpoints {
        authorization: or(&provider.authorization_endpoint, &document.authorization_endpoint),
        token: or(&provider.token_endpoint, &document.token_endpoint),
        userinfo: optional(&provider.userinfo_endpoint, document.userinfo_endpoint),
        keys: optional(&provider.jwks_uri, document.jwks_uri),
        issuer: document.issuer,
        secret_in_form: methods.iter().any(|method| method == "client_secret_post"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A provider that answers whatever it is told to; how often it was asked.
    #[derive(Clone)]
    struct Fake {
        url: String,
        answers: Arc<Mutex<(Value, usize)>>,
    }

    impl Fake {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let fake = Self { url, answers: Arc::default() };
            let served = fake.clone();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let body = {
                        let mut answers = served.answers.lock();
                        answers.1 += 1;
                        answers.0.to_string()
                    };
                    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
                    let answer = format!("{head}{}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
            fake
        }

        fn says(&self, answer: Value) {
            self.answers.lock().0 = answer;
        }

        fn asked(&self) -> usize {
            self.answers.lock().1
        }

        fn provider(&self) -> Provider {
            serde_json::from_value(json!({
                "id": "fake", "kind": "oidc", "client_id": "client", "issuer": self.url,
            }))
            .unwrap()
        }
    }

    fn providers() -> Providers {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Providers::new().unwrap()
    }

    fn key(kid: &str) -> Value {
        json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": "AQAB", "e": "AQAB" })
    }

    #[tokio::test]
    async fn a_new_key_is_found_without_asking_for_every_unknown_one() {
        let (fake, providers) = (Fake::start().await, providers());
        let provider = fake.provider();
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let find = async |kid: &str, seconds: i64| {
            let now = start + TimeDelta::seconds(seconds);
            let keys = providers.keys(&provider, &fake.url, Some(kid), now).await.unwrap();
            keys.iter().any(|key| key.common.key_id.as_deref() == Some(kid))
        };
        fake.says(json!({ "keys": [key("a"), { "kty": "new kind" }, { "nonsense": true }] }));
        assert!(find("a", 0).await && find("a", 3599).await);
        assert_eq!(fake.asked(), 1);
        fake.says(json!({ "keys": [key("b")] }));
        assert!(!find("b", 9).await, "asked a moment ago");
        assert_eq!(fake.asked(), 1);
        assert!(find("b", 10).await);
        assert!(!find("made up", 15).await);
        assert_eq!(fake.asked(), 2);
        // A key that the provider no longer names is forgotten within the hour.
        assert!(!find("a", 3700).await);
        assert_eq!(fake.asked(), 3);
    }

    #[tokio::test]
    async fn a_discovery_document_speaks_for_its_own_issuer_and_is_kept() {
        let (fake, providers) = (Fake::start().await, providers());
        let provider = fake.provider();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let document = |issuer: &str, methods: Value| {
            json!({
                "issuer": issuer, "authorization_endpoint": "https://a/auth",
                "token_endpoint": "https://a/token", "jwks_uri": "https://a/keys",
                "token_endpoint_auth_methods_supported": methods,
            })
        };
        fake.says(document("https://evil.example", Value::Null));
        let refused = providers.endpoints(&provider, now).await;
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
        fake.says(json!("nonsense"));
        assert!(providers.endpoints(&provider, now).await.is_err());
        fake.says(document(&format!("{}/", fake.url), json!(["client_secret_basic"])));
        let found = providers.endpoints(&provider, now).await.unwrap();
        assert_eq!((found.token.as_str(), found.secret_in_form), ("https://a/token", false));
        assert_eq!(found.issuer, format!("{}/", fake.url), "as its tokens will have it");
        fake.says(json!("nonsense"));
        assert_eq!(providers.endpoints(&provider, now).await.unwrap(), found);
        let later = now + TimeDelta::hours(1);
        assert!(providers.endpoints(&provider, later).await.is_err());
    }

    #[tokio::test]
    async fn a_provider_that_is_away_is_unavailable() {
        let providers = providers();
        let mut provider = Fake::start().await.provider();
        provider.issuer = "http://127.0.0.1:9".into();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let failure = providers.endpoints(&provider, now).await;
        assert!(matches!(failure, Err(Failure::Unavailable(_))), "{failure:?}");
    }
}
