//! Sign-in at identity providers. Browsers are led by redirects; only the dashboard, which trades the
//! code at the end, sees tokens.

use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::{SessionHeader, SignInBody, signed_in};
use crate::app::App;
use crate::config::{Provider, ProviderKind};
use crate::error::{Error, Result};
use crate::http::cookie::Delivery;
use crate::http::extract::{ClientAddress, FromDevice, Json, Path, Query};
use crate::http::openapi::{ErrorBody, Failures};
use crate::identity::oauth::{self, Arrival, Wish};
use crate::identity::throttle::Attempt;

/// An identity provider that people may sign in with.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderBody {
    #[schema(example = "google")]
    id: String,
    /// `google`, `github` or `oidc`.
    #[schema(value_type = String, example = "google")]
    kind: ProviderKind,
    #[schema(example = "Google")]
    label: String,
    /// Where a browser begins.
    start_url: String,
}

/// The providers, in the login page's order.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderList {
    data: Vec<ProviderBody>,
    total: usize,
}

/// List the identity providers for the login page.
#[utoipa::path(
    get, path = "/control/v1/auth/providers", tag = "auth",
    responses((status = 200, description = "The providers", body = ProviderList), Failures),
)]
pub async fn list_providers(State(app): State<App>) -> Json<ProviderList> {
    let base = app.config.public_url();
    let body = |provider: &Provider| ProviderBody {
        id: provider.id.clone(),
        kind: provider.kind,
        label: provider.label().to_owned(),
        start_url: format!("{base}/control/v1/auth/oauth/{}/start", provider.id),
    };
    let data: Vec<_> = app.config.identity.providers.iter().map(body).collect();
    Json(ProviderList { total: data.len(), data })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProviderPath {
    /// A provider's id.
    provider: String,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct StartParams {
    /// A page of the dashboard to come back to; its `signed-in` page when it is left out.
    redirect: Option<String>,
    /// Base64url of the SHA-256 of a random text that the dashboard keeps, and shows as `verifier`
    /// when it trades the code (as for PKCE).
    challenge: Option<String>,
    /// From `POST /control/v1/auth/identities`: link instead of signing in.
    #[param(value_type = Option<String>)]
    link: Option<Secret<String>>,
}

/// Begin a sign-in at a provider: a browser is sent there.
#[utoipa::path(
    get, path = "/control/v1/auth/oauth/{provider}/start", tag = "auth",
    params(ProviderPath, StartParams),
    responses(
        (status = 302, description = "To the provider; to the dashboard with `error` when it is down"),
        (status = 404, description = "No such provider", body = ErrorBody),
        Failures,
    ),
)]
pub async fn start_oauth(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Path(path): Path<ProviderPath>,
    Query(params): Query<StartParams>,
) -> Result<Response> {
    app.address_limits.count(Attempt::Login, address, app.clock.now())?;
    let wish = Wish {
        redirect: params.redirect.as_deref(),
        challenge: params.challenge.as_deref(),
        ticket: params.link.as_ref(),
    };
    let departure = oauth::depart(&app, &path.provider, wish).await?;
    let cookie = departure.cookie.map(|(name, value)| {
        let age = oauth::AWAY.num_seconds();
        Cookie::of(&app, &name).with(value.expose(), age)
    });
    Ok(redirect(&departure.url, cookie.as_deref()))
}

/// What a provider sends a browser back with. Providers add more, which is ignored.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct CallbackParams {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    /// Who the provider says it is (RFC 9207).
    iss: Option<String>,
}

/// End a sign-in at a provider: its redirect leads here, and on to the dashboard with a `code` for
/// `POST /control/v1/auth/oauth/exchange` (with `purpose=link`: for
/// `POST /control/v1/auth/identities/confirm`), or with an `error`: `access_denied`,
/// `provider_unavailable` or `provider_error`.
#[utoipa::path(
    get, path = "/control/v1/auth/oauth/{provider}/callback", tag = "auth",
    params(ProviderPath, CallbackParams),
    responses(
        (status = 302, description = "To the dashboard"),
        (status = 404, description = "No such provider", body = ErrorBody),
        Failures,
    ),
)]
pub async fn finish_oauth(
    State(app): State<App>,
    Path(path): Path<ProviderPath>,
    Query(params): Query<CallbackParams>,
    headers: HeaderMap,
) -> Result<Response> {
    oauth::provider(&app, &path.provider)?;
    let state = params.state.as_deref().unwrap_or_default();
    if state.is_empty() {
        return Err(Error::invalid("state", "missing_field", "`state` is required"));
    }
    let cookie = Cookie::of(&app, &oauth::cookie_name(state));
    let arrival = Arrival {
        state,
        browser: cookie.value(&headers),
        code: params.code.as_deref(),
        error: params.error.as_deref(),
        issuer: params.iss.as_deref(),
    };
    let url = oauth::arrive(&app, &path.provider, arrival).await?;
    Ok(redirect(&url, Some(&cookie.with("", 0))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "code": "oc_…" }))]
pub struct ExchangeCode {
    /// From the redirect to the dashboard; works once, for a minute.
    #[schema(value_type = String)]
    code: Secret<String>,
    /// What the `challenge` at the start was of.
    #[schema(value_type = Option<String>)]
    verifier: Option<Secret<String>>,
}

/// Trade the code of a sign-in at a provider for tokens.
#[utoipa::path(
    post, path = "/control/v1/auth/oauth/exchange", tag = "auth", request_body = ExchangeCode,
    params(SessionHeader),
    responses(
        (status = 200, description = "Signed in", body = SignInBody),
        (status = 401, description = "A second factor is wanted", body = ErrorBody),
        (
            status = 409,
            description = "The address has an account already: sign in to it and link there",
            body = ErrorBody,
        ),
        Failures,
    ),
)]
pub async fn exchange_oauth_code(
    State(app): State<App>,
    FromDevice(device): FromDevice,
    delivery: Delivery,
    Json(input): Json<ExchangeCode>,
) -> Result<Response> {
    app.address_limits.count(Attempt::Login, device.address(), app.clock.now())?;
    let verifier = input.verifier.as_ref();
    let (tx, sign_in) = oauth::exchange(&app, &input.code, verifier, &device).await?;
    signed_in(tx, &app, StatusCode::OK, sign_in, delivery).await
}

/// The cookie that binds a sign-in to a browser. It goes along with the top-level navigation by which
/// a provider sends the browser back, and with nothing else that other sites begin.
struct Cookie {
    name: String,
    secure: bool,
}

impl Cookie {
    fn of(app: &App, name: &str) -> Self {
        let secure = app.config.public_url().starts_with("https://");
        // The prefix has browsers refuse it from other hosts of the domain.
        let prefix = if secure { "__Host-" } else { "" };
        Self { name: format!("{prefix}{name}"), secure }
    }

    /// The header that sets it for so many seconds; 0 removes it.
    fn with(&self, value: &str, max_age: i64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = &self.name;
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}")
    }

    fn value<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mut pairs =
            cookies.flat_map(|line| line.split(';')).filter_map(|it| it.split_once('='));
        pairs.find(|(name, _)| name.trim() == self.name).map(|(_, value)| value.trim())
    }
}

/// Sends a browser on. The URL may hold a code, which is for nobody else.
fn redirect(url: &Url, cookie: Option<&str>) -> Response {
    const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    let text = HeaderValue::from_str(url.as_str()).expect("a parsed URL is ASCII");
    headers.insert(header::LOCATION, text);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}
