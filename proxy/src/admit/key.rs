//! Which key a request carries, and whether that key is good. A malformed key is refused without a
//! look-up. Every refusal is one cause with one message: a caller learns nothing about which keys
//! exist. The key's text goes no further than its digest.

use std::sync::Arc;

use authsome_shared::api_key::{self, KeyDigest};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::denied::{Cause, KeyFault, Presented};
use crate::snapshot::Snapshot;
use crate::snapshot::entity::{Accept, Application, Key};

/// Where a key came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Bearer,
    ApiKeyHeader,
    Query,
}

/// A presented key. Not `Debug`: it holds the secret.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    pub text: &'a str,
    pub carrier: Carrier,
}

/// The one credential of a request. Two at once are refused: servers would differ in which counts.
/// A bearer token that is plainly no key of ours (an end user's, meant for the upstream) is not a
/// second credential beside one in another place.
pub fn find<'a>(
    headers: &'a HeaderMap,
    query: Option<&'a str>,
    accept: Accept,
) -> Result<Credential<'a>, Cause> {
    let mut found = None;
    if accept.api_key_header {
        for value in headers.get_all("x-api-key") {
            take(&mut found, value.to_str().ok(), Carrier::ApiKeyHeader)?;
        }
    }
    if accept.query {
        for (_, value) in parameters(query).filter(|(name, _)| *name == "key") {
            take(&mut found, Some(value), Carrier::Query)?;
        }
    }
    if accept.bearer {
        let elsewhere = found.is_some();
        for value in headers.get_all(AUTHORIZATION) {
            let token = value.to_str().ok().and_then(bearer);
            let ours = token.is_some_and(|it| it.starts_with("pk_") || it.starts_with("sk_"));
            if ours || !elsewhere {
                take(&mut found, token, Carrier::Bearer)?;
            }
        }
    }
    found.ok_or(Cause::Credentials(KeyFault::Missing))
}

/// Accepts the first credential; a second, or an unreadable one, refuses the request.
fn take<'a>(
    found: &mut Option<Credential<'a>>,
    text: Option<&'a str>,
    carrier: Carrier,
) -> Result<(), Cause> {
    match (text, &found) {
        (Some(text), None) => {
            *found = Some(Credential { text, carrier });
            Ok(())
        }
        // Something that is no text, or no bearer token, is no key either.
        (None, None) => Err(Cause::Credentials(KeyFault::Malformed)),
        _ => Err(Cause::Credentials(KeyFault::Ambiguous)),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A query's parameters, not decoded.
fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A query without its `key` parameters; `None` when nothing is left.
pub fn strip(query: &str) -> Option<String> {
    let kept: Vec<&str> =
        query.split('&').filter(|pair| pair.split('=').next() != Some("key")).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// The key itself, if it is well-formed, known, this application's, and not expired. A well-formed
/// one that is refused is told by its mask.
pub fn known<'a>(
    snapshot: &'a Snapshot,
    application: &Application,
    text: &str,
    now: DateTime<Utc>,
) -> Result<&'a Arc<Key>, (KeyFault, Option<Presented>)> {
    if api_key::parse(text).is_none() {
        return Err((KeyFault::Malformed, None));
    }
    let key = snapshot.key(&KeyDigest::of(text));
    let fault = match key {
        None => KeyFault::Unknown,
        Some(key) if *key.application != *application.id => KeyFault::OfAnother,
        Some(key) if now.timestamp_micros() >= key.expires_at() => KeyFault::Expired,
        Some(key) => return Ok(key),
    };
    let id = key.map(|key| key.id.clone());
    Err((fault, Some(Presented { mask: api_key::mask(text).into(), id })))
}
