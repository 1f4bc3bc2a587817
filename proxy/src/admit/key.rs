//! Which key a request carries, and whether that key is good. A malformed key is refused without a
//! look-up. Every refusal is one cause with one message: a caller learns nothing about which keys
//! exist. The key's text goes no further than its digest.

use std::sync::Arc;

use authsome_shared::api_key::{self, KeyDigest};
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
    pub text: &'a [u8],
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
            take(&mut found, Some(value.as_bytes()), Carrier::ApiKeyHeader)?;
        }
    }
    if accept.query {
        for (_, value) in parameters(query).filter(|(name, _)| *name == "key") {
            take(&mut found, Some(value.as_bytes()), Carrier::Query)?;
        }
    }
    if accept.bearer {
        let elsewhere = found.is_some();
        for value in headers.get_all(AUTHORIZATION) {
            let token = bearer(value.as_bytes());
            let ours = token.is_some_and(|it| it.starts_with(b"pk_") || it.starts_with(b"sk_"));
            if ours || !elsewhere {
                take(&mut found, token, Carrier::Bearer)?;
            }
        }
    }
    found.ok_or(Cause::Credentials(KeyFault::Missing))
}

/// Accepts the first credential; a second, or what is no token at all, refuses the request.
fn take<'a>(
    found: &mut Option<Credential<'a>>,
    text: Option<&'a [u8]>,
    carrier: Carrier,
) -> Result<(), Cause> {
    match (text, &found) {
        (Some(text), None) => {
            *found = Some(Credential { text, carrier });
            Ok(())
        }
        (None, None) => Err(Cause::Credentials(KeyFault::Malformed)),
        _ => Err(Cause::Credentials(KeyFault::Ambiguous)),
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_first_chunk::<7>()?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
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

/// The key itself, at `now` (microseconds since the epoch), if it is well-formed, known, this
/// application's, and not expired. A well-formed one that is refused is told by its mask.
pub fn known<'a>(
    snapshot: &'a Snapshot,
    application: &Application,
    text: &[u8],
    now: i64,
) -> Result<&'a Arc<Key>, (KeyFault, Option<Presented>)> {
    if api_key::parse(text).is_none() {
        return Err((KeyFault::Malformed, None));
    }
    let key = snapshot.key(&KeyDigest::of(text));
    let fault = match key {
        None => KeyFault::Unknown,
        Some(key) if *key.application != *application.id => KeyFault::OfAnother,
        Some(key) if now >= key.expires_at() => KeyFault::Expired,
        Some(key) => return Ok(key),
    };
    let id = key.map(|key| key.id.clone());
    let mask = api_key::mask(&String::from_utf8_lossy(text)).into();
    Err((fault, Some(Presented { mask, id })))
}
