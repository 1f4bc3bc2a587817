//! The rows behind a browser's way to a provider and back: states, the codes that the dashboard
//! trades, and tickets for linking. Each is random, stored as a digest, spent by the statement that
//! reads it, and expires.

use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use ring::digest::SHA256;
use url::Url;

use crate::config::{Provider, ProviderKind};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::identity::linked::Person;
use crate::identity::token::{OneTimeToken, digest};
use crate::sealed::Sealer;
use crate::{execute, fetch_optional, random};

/// What PKCE verifiers are sealed for.
pub const PURPOSE: &str = "oauth verifier";

/// How long somebody may take at the provider.
pub const AWAY: TimeDelta = TimeDelta::minutes(10);

/// How long the dashboard may take to trade a code.
const CODE: TimeDelta = TimeDelta::seconds(60);

const TICKET: TimeDelta = TimeDelta::minutes(5);

/// The way that a browser wants to go.
#[derive(Debug)]
pub struct Way<'a> {
    pub provider: &'a Provider,
    pub redirect: Url,
    pub challenge: Option<&'a str>,
    pub user: Option<UserId>,
}

/// Where a browser goes, and what it keeps.
#[derive(Debug)]
pub struct Departure {
    pub url: Url,
    /// Name and value.
    pub cookie: Option<(String, Secret<String>)>,
}

impl Departure {
    /// Nowhere: back to the dashboard.
    pub fn back(url: Url) -> Self {
        Self { url, cookie: None }
    }
}

/// Of which state a cookie is; several tabs may be on their way.
pub fn cookie_name(state: &str) -> String {
    format!("authsome_oauth_{}", &digest(state)[..12])
}

/// A redirect must stay within the dashboard, or sign-in would send people, with their codes,
/// wherever a link says.
pub fn redirect_within(dashboard: &str, wanted: Option<&str>) -> Result<Url> {
    let wrong = || {
        let message = format!("`redirect` must lie within the dashboard, {dashboard}");
        Error::invalid("redirect", "invalid_value", message)
    };
    let base = Url::parse(dashboard).map_err(Error::internal)?;
    let folder = base.path().trim_end_matches('/');
    let mut url = match wanted {
        None | Some("") => {
            let mut url = base.clone();
            url.set_path(&format!("{folder}/signed-in"));
            url
        }
        Some(text) => base.join(text).map_err(|_| wrong())?,
    };
    let same = url.origin() == base.origin()
        && url.username().is_empty()
        && url.password().is_none()
        && url
            .path()
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    url.set_fragment(None);
    if same && url.as_str().len() <= 2_000 { Ok(url) } else { Err(wrong()) }
}

/// A challenge is the base64url of a SHA-256 (RFC 7636, section 4.2).
pub fn check_challenge(challenge: Option<&str>) -> Result<()> {
    let fine = challenge.is_none_or(|text| {
        URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == SHA256.output_len())
    });
    if fine {
        return Ok(());
    }
    let message = "`challenge` must be the base64url of a SHA-256, as for PKCE";
    Err(Error::invalid("challenge", "invalid_value", message))
}

/// S256 of a verifier.
pub fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&SHA256, verifier.as_bytes()))
}

/// Stores a state and composes the provider's URL.
pub async fn depart(
    tx: &mut Tx,
    sealer: &Sealer,
    way: Way<'_>,
    authorization: &str,
    callback: &str,
) -> Result<Departure> {
    let now = tx.now();
    let state = OneTimeToken::new("");
    let browser = OneTimeToken::new("");
    let (nonce, verifier) = (random::token(), random::token());
    execute!(
        tx,
        sqlx::query(
            "insert into oauth_states (digest, provider, browser_digest, nonce, sealed_verifier, \
             redirect, challenge, user_id, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        )
        .bind(&state.digest)
        .bind(&way.provider.id)
        .bind(&browser.digest)
        .bind(&nonce)
        .bind(sealer.seal(PURPOSE, verifier.as_bytes()))
        .bind(way.redirect.as_str())
        .bind(way.challenge)
        .bind(&way.user)
        .bind(now)
        .bind(now + AWAY)
    )?;
    let mut url = Url::parse(authorization).map_err(Error::internal)?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &way.provider.client_id)
        .append_pair("redirect_uri", callback)
        .append_pair("scope", &way.provider.scopes())
        .append_pair("state", state.clear.expose())
        .append_pair("code_challenge", &challenge_of(&verifier))
        .append_pair("code_challenge_method", "S256");
    if way.provider.kind != ProviderKind::Github {
        url.query_pairs_mut().append_pair("nonce", &nonce);
    }
    let cookie = (cookie_name(state.clear.expose()), browser.clear);
    Ok(Departure { url, cookie: Some(cookie) })
}

/// A way that a browser has come back from.
#[derive(Debug, sqlx::FromRow)]
pub struct Travelled {
    pub provider: String,
    pub browser_digest: String,
    pub nonce: String,
    pub sealed_verifier: String,
    redirect: String,
    pub challenge: Option<String>,
    pub user_id: Option<UserId>,
    pub expires_at: DateTime<Utc>,
}

impl Travelled {
    pub fn redirect(&self) -> Result<Url> {
        Url::parse(&self.redirect).map_err(Error::internal)
    }
}

/// Spends a state.
pub async fn arrive(
    tx: &mut Tx,
    provider: &str,
    state: &str,
    browser: Option<&str>,
) -> Result<Travelled> {
    let now = tx.now();
    let way: Option<Travelled> = fetch_optional!(
        tx,
        sqlx::query_as(
            "delete from oauth_states where digest = $1 returning provider, browser_digest, \
             nonce, sealed_verifier, redirect, challenge, user_id, expires_at"
        )
        .bind(digest(state))
    )?;
    // Digests of random tokens: comparing them tells nothing of either.
    let way = way.filter(|way| {
        way.expires_at > now
            && way.provider == provider
            && browser.is_some_and(|browser| digest(browser) == way.browser_digest)
    });
    way.ok_or_else(|| {
        let message = "This sign-in was not begun in this browser, was finished, or took too long: \
                       begin anew";
        Error::invalid("state", "invalid_value", message)
    })
}

/// Keeps what the provider said, for the dashboard to trade a code for it.
pub async fn hand_over(
    tx: &mut Tx,
    provider: &str,
    person: &Person,
    way: &Travelled,
) -> Result<Secret<String>> {
    let now = tx.now();
    let code = OneTimeToken::new("oc_");
    execute!(
        tx,
        sqlx::query(
            "insert into oauth_codes (digest, provider, subject, email, email_verified, name, \
             challenge, user_id, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        )
        .bind(&code.digest)
        .bind(provider)
        .bind(&person.subject)
        .bind(&person.email)
        .bind(person.email_verified)
        .bind(&person.name)
        .bind(&way.challenge)
        .bind(&way.user_id)
        .bind(now)
        .bind(now + CODE)
    )?;
    Ok(code.clear)
}

/// What a code stood for.
#[derive(Debug, sqlx::FromRow)]
pub struct Handed {
    pub provider: String,
    subject: String,
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
    challenge: Option<String>,
    user_id: Option<UserId>,
    expires_at: DateTime<Utc>,
}

impl Handed {
    pub fn person(&self) -> Person {
        Person {
            subject: self.subject.clone(),
            email: self.email.clone(),
            email_verified: self.email_verified,
            name: self.name.clone(),
        }
    }
}

/// Spends a code: one to sign in with when `user` is `None`, else one with which that user links.
pub async fn redeem(
    tx: &mut Tx,
    code: &Secret<String>,
    verifier: Option<&Secret<String>>,
    user: Option<&UserId>,
) -> Result<Handed> {
    let now = tx.now();
    let handed: Option<Handed> = fetch_optional!(
        tx,
        sqlx::query_as(
            "delete from oauth_codes where digest = $1 returning provider, subject, email, \
             email_verified, name, challenge, user_id, expires_at"
        )
        .bind(digest(code.expose()))
    )?;
    let handed = handed.filter(|handed| {
        let shown = verifier.map(|verifier| challenge_of(verifier.expose()));
        let proved = handed.challenge.is_none() || handed.challenge == shown;
        handed.expires_at > now && handed.user_id.as_ref() == user && proved
    });
    handed.ok_or_else(|| {
        let message = "The code is wrong, was used, has expired, or is not for this";
        Error::invalid("code", "invalid_value", message)
    })
}

/// A ticket with which a signed-in user's browser may begin to link a provider.
pub async fn ticket(tx: &mut Tx, user: &UserId, provider: &str) -> Result<Secret<String>> {
    let now = tx.now();
    let ticket = OneTimeToken::new("lt_");
    execute!(
        tx,
        sqlx::query(
            "insert into link_tickets (digest, user_id, provider, created_at, expires_at) \
             values ($1, $2, $3, $4, $5)"
        )
        .bind(&ticket.digest)
        .bind(user)
        .bind(provider)
        .bind(now)
        .bind(now + TICKET)
    )?;
    Ok(ticket.clear)
}

/// Whose ticket it was.
pub async fn spend_ticket(tx: &mut Tx, ticket: &Secret<String>, provider: &str) -> Result<UserId> {
    let now = tx.now();
    let row: Option<(UserId, String, DateTime<Utc>)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "delete from link_tickets where digest = $1 returning user_id, provider, expires_at"
        )
        .bind(digest(ticket.expose()))
    )?;
    match row {
        Some((user, of, expires_at)) if of == provider && expires_at > now => Ok(user),
        _ => {
            let message = "The ticket is wrong, was used, or has expired";
            Err(Error::invalid("link", "invalid_value", message))
        }
    }
}

/// Forgets what was not come back for.
pub async fn prune(tx: &mut Tx) -> sqlx::Result<()> {
    let now = tx.now();
    for delete in [
        "delete from oauth_states where expires_at <= $1",
        "delete from oauth_codes where expires_at <= $1",
        "delete from link_tickets where expires_at <= $1",
    ] {
        execute!(tx, sqlx::query(delete).bind(now))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DASHBOARD: &str = "https://dash.example.com/dashboard";

    #[test]
    fn a_redirect_stays_within_the_dashboard() {
        for (wanted, lands) in [
            ("", "https://dash.example.com/dashboard/signed-in"),
            ("https://dash.example.com/dashboard", "https://dash.example.com/dashboard"),
            ("/dashboard/a?b=c#d", "https://dash.example.com/dashboard/a?b=c"),
            ("https://dash.example.com:443/dashboard/x", "https://dash.example.com/dashboard/x"),
        ] {
            assert_eq!(redirect_within(DASHBOARD, Some(wanted)).unwrap().as_str(), lands);
        }
        for wanted in [
            "https://evil.example/dashboard",
            "//evil.example/dashboard",
            "\\\\evil.example/dashboard",
            "/\\evil.example/dashboard",
            "https://dash.example.com.evil.example/dashboard",
            "https://dash.example.com@evil.example/dashboard",
            "https://evil@dash.example.com/dashboard",
            "https://dash.example.com:444/dashboard",
            "http://dash.example.com/dashboard",
            "https://dash.example.com/dashboardx",
            "/dashboard/../elsewhere",
            "/dashboard/%2e%2e/elsewhere",
            "/elsewhere",
            "javascript:alert(1)",
            "data:text/html,x",
            &format!("/dashboard/{}", "x".repeat(3_000)),
        ] {
            assert!(redirect_within(DASHBOARD, Some(wanted)).is_err(), "{wanted}");
        }
        let at_root = redirect_within("https://dash.example.com", Some("/any")).unwrap();
        assert_eq!(at_root.as_str(), "https://dash.example.com/any");
    }

    #[test]
    fn challenges_are_those_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge_of(verifier), challenge);
        assert!(check_challenge(Some(challenge)).is_ok());
        for bad in ["", "short", &challenge[1..], &challenge.replace('-', "+")] {
            assert!(check_challenge(Some(bad)).is_err(), "{bad}");
        }
        assert!(check_challenge(None).is_ok());
    }
}
