//! Cookies instead of tokens, for pages in a browser: a sign-in sent with `X-AuthSome-Session:
//! cookie` keeps its tokens where no script can read them. They are `HttpOnly` and `SameSite=Strict`,
//! and `Secure` once the dashboard is served by HTTPS, under names that then begin with `__Secure-`.
//!
//! A browser sends cookies whoever makes it, so a change authenticated by one must come from one of
//! our own pages or an allowed origin (`Sec-Fetch-Site`, else `Origin`); others are refused with 403.
//! Callers who send `Authorization` are not concerned.

use authsome_shared::secret::Secret;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use url::Url;

use super::cors;
use crate::app::App;
use crate::error::{Error, Result};
use crate::identity::SignIn;

/// The request's header that asks for cookies.
pub const SESSION: &str = "x-authsome-session";

const ACCESS: &str = "authsome_access";
const REFRESH: &str = "authsome_refresh";

/// The refresh token is sent nowhere else.
const REFRESH_PATH: &str = "/control/v1/auth";
const PATH: &str = "/control/v1";

/// How a sign-in's tokens are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// In the body.
    Tokens,
    Cookies,
}

impl FromRequestParts<App> for Delivery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        match parts.headers.get(SESSION).map(axum::http::HeaderValue::as_bytes) {
            None => Ok(Self::Tokens),
            Some(b"cookie") => Ok(Self::Cookies),
            Some(_) => Err(Error::invalid(
                "X-AuthSome-Session",
                "invalid_value",
                "`X-AuthSome-Session` must be `cookie`, or absent",
            )),
        }
    }
}

fn is_secure(app: &App) -> bool {
    app.config.platform.dashboard_url.starts_with("https:")
}

fn name(app: &App, bare: &str) -> String {
    if is_secure(app) { format!("__Secure-{bare}") } else { bare.to_owned() }
}

fn cookie(app: &App, bare: &str, value: &str, path: &str, seconds: u64) -> String {
    let secure = if is_secure(app) { "; Secure" } else { "" };
    let name = name(app, bare);
    format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// The cookies of a sign-in, as values of `Set-Cookie`.
pub fn of(app: &App, sign_in: &SignIn) -> Vec<String> {
    let days = app.config.identity.refresh_token_days;
    let refresh = sign_in.refresh_token.expose();
    vec![
        cookie(app, ACCESS, sign_in.token.expose(), PATH, sign_in.expires_in),
        cookie(app, REFRESH, refresh, REFRESH_PATH, u64::from(days) * 86_400),
    ]
}

/// What takes the cookies back.
pub fn none(app: &App) -> Vec<String> {
    vec![cookie(app, ACCESS, "", PATH, 0), cookie(app, REFRESH, "", REFRESH_PATH, 0)]
}

/// The access token in a cookie.
pub fn access_token<'a>(app: &App, headers: &'a HeaderMap) -> Option<&'a str> {
    find(headers, &name(app, ACCESS))
}

/// The refresh token in a cookie, of a request from our own pages.
#[derive(Debug)]
pub struct RefreshCookie(pub Option<Secret<String>>);

impl FromRequestParts<App> for RefreshCookie {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let token = find(&parts.headers, &name(app, REFRESH)).map(ToOwned::to_owned);
        if token.is_some() {
            check_origin(app, parts)?;
        }
        Ok(Self(token.map(Secret::new)))
    }
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name && !value.is_empty()).then_some(value))
}

/// Refuses a change that another site's page may have made the browser send.
pub fn check_origin(app: &App, parts: &Parts) -> Result<()> {
    let own = cors::origins(&app.config);
    if parts.method.is_safe() || is_ours(&parts.headers, &own) {
        return Ok(());
    }
    Err(Error::Forbidden("This change was not sent by a page of the dashboard"))
}

fn is_ours(headers: &HeaderMap, own: &[String]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text("origin");
    if origin.is_some_and(|origin| own.iter().any(|own| own == origin)) {
        return true;
    }
    match (text("sec-fetch-site"), origin) {
        (Some(site), _) => site == "same-origin",
        // A browser from before 2023: the page's origin must be where the request went.
        (None, Some(origin)) => {
            let host = Url::parse(origin)
                .ok()
                .map(|url| url[url::Position::BeforeHost..url::Position::AfterPort].to_owned());
            host.is_some() && host.as_deref() == text("host")
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_may_change_things_by_cookie() {
        let own = ["https://app.example.com".to_owned()];
        let judge = |pairs: &[(&'static str, &str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (header::HeaderName::from_static(name), value.parse().unwrap())
            });
            is_ours(&headers.collect(), &own)
        };
        assert!(judge(&[("sec-fetch-site", "same-origin")]));
        assert!(judge(&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")]));
        assert!(judge(&[
            ("host", "api.example.com:8443"),
            ("origin", "https://api.example.com:8443")
        ]));
        for refused in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
            // The header that scripts can't forge counts for more than the one that proxies change.
            &[
                ("sec-fetch-site", "cross-site"),
                ("host", "a.example"),
                ("origin", "https://a.example"),
            ],
            &[("host", "api.example.com"), ("origin", "https://evil.example")],
            &[("host", "api.example.com"), ("origin", "null")],
            &[("origin", "https://app.example.com.evil.example")],
        ] {
            assert!(!judge(refused), "{refused:?}");
        }
    }
}
