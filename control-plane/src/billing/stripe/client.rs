//! A thin client of Stripe's API: form bodies, a pinned version, time-outs, and answers sorted by
//! what they mean for a second try. A request is sent again only under its idempotency key.
//!
//! Fails with a [`Failure`]. The secret key is in no error and in no log.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, anyhow};
use authsome_shared::secret::Secret;
use http::{Method, header};
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded::Serializer;

use super::object::List;
use crate::config;
use crate::error::Error;

/// The version of the API that this client speaks. Stripe keeps answering it after later ones.
pub const VERSION: &str = "2026-10-28.endive";

const CONNECT: Duration = Duration::from_secs(5);

/// Largest answer, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Before the second and the third sending of a request.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// Most objects on a page of Stripe's.
const PAGE: &str = "100";

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The card's issuer, or the card, says no. The message is for the card's holder.
    #[error("{message}")]
    Card { code: String, message: String },
    /// The request can't succeed as it is; nothing has happened.
    #[error("Stripe refuses the request ({status} {code}): {message}")]
    Refused { status: u16, code: String, param: String, message: String },
    /// Too many requests, or another one with this key is under way; this one has not begun.
    #[error("Stripe is busy: {0}")]
    Busy(String),
    /// Stripe failed, or the idempotency key stands for another call. Whether something has happened
    /// is not known, and the key can't be used again.
    #[error("Stripe failed ({status}): {message}")]
    Broken { status: u16, message: String },
    /// No whole answer came. Whether something has happened is not known.
    #[error("no answer from Stripe: {0:#}")]
    Unanswered(anyhow::Error),
}

impl Failure {
    /// Does a parameter name an object that is not there?
    pub fn is_missing(&self, param: &str) -> bool {
        matches!(self, Self::Refused { status: 400, code, param: at, .. }
            if code == "resource_missing" && at == param)
    }

    /// Is the object that was asked for not there?
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code, .. } if code == "resource_missing")
    }
}

impl From<Failure> for Error {
    /// For callers who wait for the answer.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Card { code, message } => Self::Declined { code, message },
            Failure::Refused { .. } => Self::internal(failure),
            Failure::Busy(_) | Failure::Broken { .. } | Failure::Unanswered(_) => {
                Self::Unavailable(failure.into())
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    #[serde(rename = "type")]
    kind: String,
    code: String,
    decline_code: String,
    param: String,
    message: String,
}

/// Fields of a request, with nested names such as `metadata[key]`.
#[derive(Debug, Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more field.
    #[expect(clippy::needless_pass_by_value, reason = "numbers, texts and ids alike")]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// With one more field if there is a value.
    pub fn maybe(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn encoded(&self) -> String {
        Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Secret<String>,
}

impl Client {
    pub fn new(settings: &config::Stripe) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(Duration::from_secs(settings.timeout_seconds.into()))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("AuthSome-Cloud/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("building an HTTP client")?;
        let base = settings.api_url.trim_end_matches('/').to_owned();
        Ok(Self { http, base, key: settings.secret_key.clone() })
    }

    /// An object, or a list. `path` is what follows `/v1/`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, form: &Form) -> Result<T, Failure> {
        let mut target = format!("{}/v1/{path}", self.base);
        if !form.0.is_empty() {
            // Writing to a string can't fail.
            let _ = write!(target, "?{}", form.encoded());
        }
        self.send(|| self.http.get(&target)).await
    }

    /// The objects of a list that are wanted, over all its pages.
    pub async fn find<T: DeserializeOwned + super::object::HasId>(
        &self,
        path: &str,
        form: &Form,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = form.clone().with("limit", PAGE).maybe("starting_after", after.as_ref());
            let List { data, has_more }: List<T> = self.get(path, &page).await?;
            after = data.last().map(|last| last.id().to_owned());
            found.extend(data.into_iter().filter(|item| wanted(item)));
            if !has_more || after.is_none() {
                return Ok(found);
            }
        }
    }

    /// A change, once for each `key`, which Stripe remembers for a day.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form,
        key: &str,
    ) -> Result<T, Failure> {
        let target = format!("{}/v1/{path}", self.base);
        let body = form.encoded();
        self.send(|| {
            self.http
                .post(&target)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header("idempotency-key", key)
                .body(body.clone())
        })
        .await
    }

    /// Ends an object.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let target = format!("{}/v1/{path}", self.base);
        self.send(|| self.http.request(Method::DELETE, &target)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, Failure> {
        let mut pauses = PAUSES.iter();
        loop {
            let prepared = request()
                .header(header::AUTHORIZATION, format!("Bearer {}", self.key.expose()))
                .header("stripe-version", VERSION);
            let failure = match exchange(prepared).await {
                Ok(body) => return read(&body),
                Err(failure) => failure,
            };
            let (again, pause) = match (&failure, pauses.next()) {
                (Again::Worth(_), Some(pause)) => (true, *pause),
                _ => (false, Duration::ZERO),
            };
            let (Again::Worth(failure) | Again::Not(failure)) = failure;
            if !again {
                return Err(failure);
            }
            tracing::debug!(%failure, "asking Stripe again");
            tokio::time::sleep(pause).await;
        }
    }
}

/// Is it worth another try at once?
enum Again {
    Worth(Failure),
    Not(Failure),
}

/// One request and its answer's body.
async fn exchange(request: RequestBuilder) -> Result<Vec<u8>, Again> {
    let unanswered = |error: reqwest::Error| {
        let late = error.is_timeout();
        let failure = Failure::Unanswered(anyhow::Error::from(error.without_url()));
        // One that is slow is not asked again in the same breath.
        if late { Again::Not(failure) } else { Again::Worth(failure) }
    };
    let mut response = request.send().await.map_err(unanswered)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unanswered)? {
        body.extend_from_slice(&piece);
        if body.len() > MAX_ANSWER {
            return Err(Again::Not(Failure::Unanswered(anyhow!("the answer is too large"))));
        }
    }
    if (200..300).contains(&status) { Ok(body) } else { Err(refusal(status, &body)) }
}

/// Sorts an answer that is no success.
fn refusal(status: u16, body: &[u8]) -> Again {
    let parsed = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error);
    let ErrorDetail { kind, code, decline_code, param, message } = parsed.unwrap_or_default();
    match status {
        409 | 429 => Again::Worth(Failure::Busy(message)),
        500.. => Again::Not(Failure::Broken { status, message }),
        // The key stands for a call with other parameters: as unusable as after a failure.
        _ if kind == "idempotency_error" => Again::Not(Failure::Broken { status, message }),
        _ if kind == "card_error" || code == "card_declined" => {
            let code = if decline_code.is_empty() { code } else { decline_code };
            Again::Not(Failure::Card { code, message })
        }
        _ => Again::Not(Failure::Refused { status, code, param, message }),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::Unanswered(anyhow!("the answer can't be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_they_mean_for_a_second_try() {
        let error = |kind: &str, code: &str| {
            format!(r#"{{"error":{{"type":"{kind}","code":"{code}","message":"m"}}}}"#)
        };
        for (status, body, wanted) in [
            (402, error("card_error", "card_declined"), "card"),
            (402, error("invalid_request_error", "x"), "refused"),
            (402, error("invalid_request_error", "card_declined"), "card"),
            (400, error("idempotency_error", ""), "broken"),
            (401, error("invalid_request_error", ""), "refused"),
            (404, error("invalid_request_error", "resource_missing"), "refused"),
            (409, error("idempotency_error", "idempotency_key_in_use"), "busy, again"),
            (429, error("invalid_request_error", "rate_limit"), "busy, again"),
            (500, error("api_error", ""), "broken"),
            (502, "<html>".to_owned(), "broken"),
            (302, String::new(), "refused"),
        ] {
            let (again, failure) = match refusal(status, body.as_bytes()) {
                Again::Worth(failure) => (", again", failure),
                Again::Not(failure) => ("", failure),
            };
            let name = match failure {
                Failure::Card { .. } => "card",
                Failure::Refused { .. } => "refused",
                Failure::Busy(_) => "busy",
                Failure::Broken { .. } => "broken",
                Failure::Unanswered(_) => "unanswered",
            };
            assert_eq!(format!("{name}{again}"), wanted, "{status} {body}");
        }
    }

    #[test]
    fn forms_escape_names_and_values() {
        let form =
            Form::new().with("metadata[a b]", "c&d").with("amount", -5).maybe("x", None::<i8>);
        assert_eq!(form.encoded(), "metadata%5Ba+b%5D=c%26d&amount=-5");
    }
}
