//! Calls to identity providers: short time-outs, no redirects, answers of bounded size. The
//! operator's settings name the endpoints, or the discovery document that names them; no user
//! chooses one.

use std::time::Duration;

use anyhow::{Context, anyhow};
use http::header;
use serde::de::DeserializeOwned;
use url::form_urlencoded::Serializer;

/// A provider that does not answer in this time is down.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

/// Largest answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why a provider could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It is down, or does not answer in time: worth another try.
    #[error("the identity provider is not available: {0:#}")]
    Unavailable(anyhow::Error),
    /// Its answer is a refusal, or is not to be believed.
    #[error("the identity provider's answer is refused: {0:#}")]
    Refused(anyhow::Error),
}

impl Failure {
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused(anyhow!(why.into()))
    }
}

/// An HTTP client for providers.
#[derive(Debug)]
pub struct Client(reqwest::Client);

impl Client {
    pub fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("AuthSome-Cloud/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self(client.context("building an HTTP client")?))
    }

    /// A document, with an access token where one is needed.
    pub async fn get<T: DeserializeOwned>(
        &self,
        url: &str,
        token: Option<&str>,
    ) -> Result<T, Failure> {
        let mut request = self.0.get(url).header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let (status, body) = answer(request).await.map_err(|error| at(error, url))?;
        if !status.is_success() {
            return Err(Failure::refused(format!("{url} answered {status}")));
        }
        read(&body, url)
    }

    /// A form, answered by JSON whatever the status: token endpoints tell errors in either way.
    pub async fn post_form<T: DeserializeOwned>(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<T, Failure> {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self
            .0
            .post(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        if let Some((user, password)) = basic {
            request = request.basic_auth(user, Some(password));
        }
        let (_, body) = answer(request).await.map_err(|error| at(error, url))?;
        read(&body, url)
    }
}

fn at(failure: Failure, url: &str) -> Failure {
    match failure {
        Failure::Unavailable(error) => Failure::Unavailable(error.context(url.to_owned())),
        Failure::Refused(error) => Failure::Refused(error.context(url.to_owned())),
    }
}

fn read<T: DeserializeOwned>(body: &[u8], url: &str) -> Result<T, Failure> {
    // The error names a place, not what stands there: answers hold tokens.
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::refused(format!("{url}: not the JSON expected (line {line}, column {column})"))
    })
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(http::StatusCode, Vec<u8>), Failure> {
    let unavailable = |error: reqwest::Error| Failure::Unavailable(error.without_url().into());
    let mut response = request.send().await.map_err(unavailable)?;
    let status = response.status();
    if status.is_server_error() {
        return Err(Failure::Unavailable(anyhow!("it answered {status}")));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unavailable)? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err(Failure::refused("the answer is too large"));
        }
    }
    Ok((status, body))
}
