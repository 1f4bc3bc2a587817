//! Who calls: the bearer of an access token, of the node token, or of the ingest token.

use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use ring::digest::{SHA256, digest};

use super::cookie;
use super::extract::Origin;
use crate::actor::{Actor, PlatformAccess};
use crate::app::App;
use crate::audit;
use crate::error::{Error, Result};
use crate::identity::{not_an_admin, session};

/// A signed-in user, whose session stood a moment ago.
#[derive(Debug)]
pub struct SignedIn(pub Actor);

/// The caller behind the request's access token, while the session stands.
pub async fn caller(app: &App, parts: &Parts) -> Result<Actor> {
    let token = access_token(app, parts)
        .ok_or(Error::Unauthenticated("Send an access token: `Authorization: Bearer …`"))?;
    let actor = session::authenticate(app, token).await?;
    if !parts.headers.contains_key(header::AUTHORIZATION) {
        cookie::check_origin(app, parts)?;
    }
    Ok(actor)
}

/// The bearer's, else a cookie's.
fn access_token<'a>(app: &App, parts: &'a Parts) -> Option<&'a str> {
    if parts.headers.contains_key(header::AUTHORIZATION) {
        return bearer(parts);
    }
    cookie::access_token(app, &parts.headers)
}

/// Whose access token the request shows, if it is one of ours and has not expired; whether the
/// session still stands is not asked.
pub fn subject(app: &App, parts: &Parts) -> Option<UserId> {
    Some(app.tokens.verify(access_token(app, parts)?, app.clock.now())?.sub)
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let actor = caller(app, parts).await?;
        let Ok(Origin(origin)) = Origin::from_request_parts(parts, app).await;
        Ok(Self(Actor { origin, ..actor }))
    }
}

/// A signed-in platform admin.
#[derive(Debug)]
pub struct PlatformAdmin(pub PlatformAccess);

impl FromRequestParts<App> for PlatformAdmin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let SignedIn(actor) = SignedIn::from_request_parts(parts, app).await?;
        PlatformAccess::of(actor).map(Self).ok_or_else(not_an_admin)
    }
}

/// A proxy that knows the node token.
#[derive(Debug)]
pub struct Node;

impl FromRequestParts<App> for Node {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let given = bearer(parts).is_some_and(|token| same(token, &app.node_token));
        if given { Ok(Self) } else { Err(Error::Unauthenticated("The node token is wrong")) }
    }
}

/// Who may report what proxies don't see.
#[derive(Debug)]
pub enum Ingest {
    /// The operator's own programs.
    Token,
    Admin(PlatformAccess),
}

impl Ingest {
    /// An entry of the audit log.
    pub fn audit(&self, action: &'static str) -> audit::Entry {
        match self {
            Self::Token => audit::Entry::by_operator("ingest", action),
            Self::Admin(access) => access.audit(action),
        }
    }
}

/// Does the request show the ingest token?
pub fn shows_ingest_token(app: &App, parts: &Parts) -> bool {
    bearer(parts).is_some_and(|token| same(token, &app.ingest_token))
}

impl FromRequestParts<App> for Ingest {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        if shows_ingest_token(app, parts) {
            return Ok(Self::Token);
        }
        match PlatformAdmin::from_request_parts(parts, app).await {
            Ok(PlatformAdmin(access)) => Ok(Self::Admin(access)),
            Err(Error::Unauthenticated(_)) => Err(Error::Unauthenticated(
                "Send the ingest token, or a platform admin's access token: \
                 `Authorization: Bearer …`",
            )),
            Err(error) => Err(error),
        }
    }
}

/// Compares digests, so that the time taken tells nothing of the secret.
fn same(given: &str, secret: &Secret<String>) -> bool {
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    hash(given).as_ref() == hash(secret.expose()).as_ref()
}

fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
