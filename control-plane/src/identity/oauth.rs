//! Sign-in at an identity provider: OAuth 2.0 authorization code with PKCE, and `OpenID` Connect where
//! the provider has it.
//!
//! A browser departs with a state (single use, ten minutes, bound to it by a cookie), comes back with
//! a code, and is sent on to the dashboard with a code of ours. That one, traded within a minute by
//! the dashboard, gives the tokens, which are in no URL. Providers are asked between transactions;
//! when one is down the browser is sent on with an error that says so.

mod client;
mod endpoints;
mod id_token;
mod journey;
mod person;

use authsome_shared::code::Code;
use authsome_shared::id::{IdentityId, UserId};
use authsome_shared::secret::Secret;
use serde_json::json;
use url::Url;

pub use client::Failure;
pub use endpoints::Providers;
pub use journey::{AWAY, Departure, cookie_name, prune};

use super::device::Device;
use super::linked::{self, Account, Identity, Person, Verdict};
use super::session::{self, SignIn};
use super::{account, admin, notice, user};
use crate::actor::Actor;
use crate::app::App;
use crate::audit::Entry;
use crate::config;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::idempotency;

/// What a browser brings when it wants to depart.
#[derive(Debug, Default)]
pub struct Wish<'a> {
    /// Where in the dashboard it wants to come back to.
    pub redirect: Option<&'a str>,
    /// Base64url of the SHA-256 of a text that the dashboard will show when it trades the code.
    pub challenge: Option<&'a str>,
    /// A signed-in user's ticket: link instead of signing in.
    pub ticket: Option<&'a Secret<String>>,
}

/// What a browser brings when it comes back.
#[derive(Debug, Default)]
pub struct Arrival<'a> {
    pub state: &'a str,
    /// The value of the cookie that belongs to the state.
    pub browser: Option<&'a str>,
    pub code: Option<&'a str>,
    pub error: Option<&'a str>,
    /// RFC 9207: who the provider says it is.
    pub issuer: Option<&'a str>,
}

/// A provider that is configured.
pub fn provider<'a>(app: &'a App, id: &str) -> Result<&'a config::Provider> {
    let mut providers = app.config.identity.providers.iter();
    providers.find(|provider| provider.id == id).ok_or(Error::NotFound("identity provider"))
}

/// Where the provider sends browsers back to.
fn callback(app: &App, provider: &config::Provider) -> String {
    format!("{}/control/v1/auth/oauth/{}/callback", app.config.public_url(), provider.id)
}

/// Lets a browser depart: where to, and its cookie. The state stands when this returns.
pub async fn depart(app: &App, id: &str, wish: Wish<'_>) -> Result<Departure> {
    let provider = provider(app, id)?;
    let redirect = journey::redirect_within(&app.config.platform.dashboard_url, wish.redirect)?;
    journey::check_challenge(wish.challenge)?;
    let endpoints = match app.providers.endpoints(provider, app.clock.now()).await {
        Ok(endpoints) => endpoints,
        Err(failure) => return Ok(Departure::back(sent_on_with(redirect, &failure))),
    };
    let mut tx = app.db.write().await?;
    let user = match wish.ticket {
        Some(ticket) => Some(journey::spend_ticket(&mut tx, ticket, id).await?),
        None => None,
    };
    let way = journey::Way { provider, redirect, challenge: wish.challenge, user };
    let departure = journey::depart(
        &mut tx,
        &app.sealer,
        way,
        &endpoints.authorization,
        &callback(app, provider),
    )
    .await?;
    tx.commit().await?;
    Ok(departure)
}

/// Takes a browser that comes back: where it is sent on to. A state that is unknown, spent, expired
/// or another browser's is an error, because then nothing says where to send it.
pub async fn arrive(app: &App, id: &str, arrival: Arrival<'_>) -> Result<Url> {
    let provider = provider(app, id)?;
    let mut tx = app.db.write().await?;
    let way = journey::arrive(&mut tx, id, arrival.state, arrival.browser).await;
    // Spent, whatever comes of it.
    tx.commit().await?;
    let way = way?;
    let redirect = way.redirect()?;
    if let Some(error) = arrival.error {
        // RFC 6749, section 4.1.2.1: the person declined, or the provider could not.
        let error = if error == "access_denied" { error } else { "provider_error" };
        return Ok(sent_on(redirect, &[("error", error)]));
    }
    let verifier = app.sealer.open(journey::PURPOSE, &way.sealed_verifier);
    let verifier =
        String::from_utf8(verifier.map_err(Error::Internal)?).map_err(Error::internal)?;
    let grant = person::Grant {
        code: arrival.code.unwrap_or_default(),
        issuer: arrival.issuer,
        verifier: &verifier,
        redirect_uri: &callback(app, provider),
        nonce: &way.nonce,
    };
    let person = match person::ask(&app.providers, provider, &grant, app.clock.now()).await {
        Ok(person) => person,
        Err(failure) => {
            tracing::warn!(provider = id, error = format!("{failure:#}"), "a sign-in failed");
            return Ok(sent_on_with(redirect, &failure));
        }
    };
    let mut tx = app.db.write().await?;
    let code = journey::hand_over(&mut tx, id, &person, &way).await?;
    tx.commit().await?;
    let purpose = if way.user_id.is_some() { "link" } else { "sign_in" };
    Ok(sent_on(redirect, &[("code", code.expose()), ("purpose", purpose)]))
}

fn sent_on(mut redirect: Url, words: &[(&str, &str)]) -> Url {
    redirect.query_pairs_mut().extend_pairs(words);
    redirect
}

fn sent_on_with(redirect: Url, failure: &Failure) -> Url {
    let error = match failure {
        Failure::Unavailable(_) => "provider_unavailable",
        Failure::Refused(_) => "provider_error",
    };
    sent_on(redirect, &[("error", error)])
}

/// Trades a code for a sign-in.
pub async fn exchange(
    app: &App,
    code: &Secret<String>,
    verifier: Option<&Secret<String>>,
    device: &Device,
) -> Result<(Tx, SignIn)> {
    let mut tx = idempotency::begin(app).await?;
    let handed = journey::redeem(&mut tx, code, verifier, None).await?;
    let person = handed.person();
    let linked = linked::find(&mut tx, &handed.provider, &person).await?;
    let same_email = match &person.email {
        Some(email) => user::by_email(&mut tx, email).await?.map(|(user, _)| user),
        None => None,
    };
    let account =
        same_email.map(|user| Account { id: user.id, email_verified: user.email_verified });
    let label = provider(app, &handed.provider)?.label();
    let user = match linked::judge(linked, &person, account) {
        Verdict::Known(id) => user::by_id(&mut tx, &id).await?,
        Verdict::Link(id) => {
            let user = user::by_id(&mut tx, &id).await?;
            let identity = linked::link(&mut tx, &id, &handed.provider, &person).await?;
            let entry = Entry::by_user(&id, &user.email, &device.origin, "identity.linked");
            tx.audit(identity.audited(entry));
            notice::send(&mut tx, app, notice::identity_linked(&user.email, label)).await?;
            user
        }
        Verdict::New => create(&mut tx, app, &handed.provider, &person, device).await?,
        Verdict::Taken => {
            let message = format!(
                "The e-mail address has an account already. Sign in to it and link {label} there"
            );
            return Err(Error::Conflict(Code::LinkRequired, message));
        }
        Verdict::Nameless => {
            let message = format!("{label} tells no e-mail address, which an account needs");
            return Err(Error::Conflict(Code::Conflict, message));
        }
    };
    session::begin(tx, app, user, &handed.provider, device).await
}

/// A new account of a person with an address.
async fn create(
    tx: &mut Tx,
    app: &App,
    provider: &str,
    person: &Person,
    device: &Device,
) -> Result<user::User> {
    let email = person.email.as_deref().unwrap_or_default();
    let name = person.name.as_deref().unwrap_or(email);
    let user = user::create_without_password(tx, email, name, person.email_verified).await?;
    let entry = |action| Entry::by_user(&user.id, &user.email, &device.origin, action);
    let after = json!({ "email": user.email, "name": user.name });
    tx.audit(entry("user.registered").on("user", &user.id).after(after));
    let identity = linked::link(tx, &user.id, provider, person).await?;
    tx.audit(identity.audited(entry("identity.linked")));
    if !user.email_verified {
        account::ask_for_proof(tx, &user).await?;
    } else if admin::verified(tx, &app.config.platform.admins, &user.email).await? {
        return user::by_id(tx, &user.id).await;
    }
    Ok(user)
}

/// Trades a code for a link to the signed-in account, which must be the one that set out to link.
pub async fn link(
    tx: &mut Tx,
    app: &App,
    actor: &Actor,
    code: &Secret<String>,
    verifier: Option<&Secret<String>>,
) -> Result<Identity> {
    let handed = journey::redeem(tx, code, verifier, Some(&actor.user_id)).await?;
    let identity = linked::link(tx, &actor.user_id, &handed.provider, &handed.person()).await?;
    tx.audit(identity.audited(Entry::by(actor, "identity.linked")));
    let label = provider(app, &handed.provider)?.label();
    notice::send(tx, app, notice::identity_linked(&actor.email, label)).await?;
    Ok(identity)
}

/// Takes an identity away from an account.
pub async fn unlink(tx: &mut Tx, app: &App, actor: &Actor, id: &IdentityId) -> Result<()> {
    let usable = |name: &str| provider(app, name).is_ok();
    let gone = linked::unlink(tx, &actor.user_id, id, usable).await?;
    tx.audit(Entry::by(actor, "identity.unlinked").on("identity", id).before(gone.state()));
    let label = provider(app, &gone.provider).map_or(gone.provider.as_str(), |it| it.label());
    notice::send(tx, app, notice::identity_unlinked(&actor.email, label)).await
}

/// The URL at which a signed-in user's browser begins to link a provider.
pub async fn begin_link(
    tx: &mut Tx,
    app: &App,
    user: &UserId,
    id: &str,
    wish: Wish<'_>,
) -> Result<Secret<String>> {
    provider(app, id)?;
    journey::redirect_within(&app.config.platform.dashboard_url, wish.redirect)?;
    journey::check_challenge(wish.challenge)?;
    let ticket = journey::ticket(tx, user, id).await?;
    let base = format!("{}/control/v1/auth/oauth/{id}/start", app.config.public_url());
    let mut url = Url::parse(&base).map_err(Error::internal)?;
    url.query_pairs_mut().append_pair("link", ticket.expose());
    for (name, value) in [("redirect", wish.redirect), ("challenge", wish.challenge)] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Ok(Secret::new(url.into()))
}
