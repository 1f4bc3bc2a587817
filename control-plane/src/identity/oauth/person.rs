//! Trades a provider's code for what it says of the person: by id token, and by its API where there
//! is none or it lacks the e-mail address.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::client::{Client, Failure};
use super::endpoints::{Endpoints, Providers};
use super::id_token::{self, Claims, Expected};
use crate::config::{Provider, ProviderKind};
use crate::identity::linked::Person;
use crate::identity::user;

/// What a browser brought back, and what it departed with.
#[derive(Debug)]
pub struct Grant<'a> {
    pub code: &'a str,
    /// RFC 9207, where the provider says it.
    pub issuer: Option<&'a str>,
    pub verifier: &'a str,
    pub redirect_uri: &'a str,
    pub nonce: &'a str,
}

/// A token endpoint's answer, of either kind.
#[derive(Debug, Deserialize)]
struct Tokens {
    access_token: Option<String>,
    id_token: Option<String>,
    /// RFC 6749, section 5.2; GitHub sends it with status 200.
    error: Option<String>,
    error_description: Option<String>,
}

/// Who came back.
pub async fn ask(
    providers: &Providers,
    provider: &Provider,
    grant: &Grant<'_>,
    now: DateTime<Utc>,
) -> Result<Person, Failure> {
    let endpoints = providers.endpoints(provider, now).await?;
    if grant.issuer.is_some_and(|issuer| !endpoints.issuer.is_empty() && issuer != endpoints.issuer)
    {
        return Err(Failure::refused("the answer is another provider's"));
    }
    let tokens = trade(&providers.client, provider, &endpoints, grant).await?;
    let access_token = tokens.access_token.as_deref();
    let person = match provider.kind {
        ProviderKind::Github => github(&providers.client, &endpoints, access_token).await?,
        ProviderKind::Google | ProviderKind::Oidc => {
            let token =
                tokens.id_token.as_deref().ok_or_else(|| Failure::refused("no id token"))?;
            let claims = checked(providers, provider, &endpoints, token, grant.nonce, now).await?;
            with_userinfo(&providers.client, &endpoints, access_token, claims).await?
        }
    };
    Ok(clean(person))
}

async fn trade(
    client: &Client,
    provider: &Provider,
    endpoints: &Endpoints,
    grant: &Grant<'_>,
) -> Result<Tokens, Failure> {
    let secret = provider.client_secret.expose();
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", grant.code),
        ("redirect_uri", grant.redirect_uri),
        ("code_verifier", grant.verifier),
        ("client_id", &provider.client_id),
    ];
    let in_header = !endpoints.secret_in_form && !secret.is_empty();
    if !in_header && !secret.is_empty() {
        form.push(("client_secret", secret));
    }
    // RFC 6749, section 2.3.1: both are form-encoded first.
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let (id, password): (String, String) = (encoded(&provider.client_id), encoded(secret));
    let basic = in_header.then_some((id.as_str(), password.as_str()));
    let tokens: Tokens = client.post_form(&endpoints.token, &form, basic).await?;
    if let Some(error) = &tokens.error {
        let more = tokens.error_description.as_deref().unwrap_or_default();
        return Err(Failure::refused(format!("the code was not taken: {error} {more}")));
    }
    Ok(tokens)
}

async fn checked(
    providers: &Providers,
    provider: &Provider,
    endpoints: &Endpoints,
    token: &str,
    nonce: &str,
    now: DateTime<Utc>,
) -> Result<Claims, Failure> {
    let url = endpoints.keys.as_deref().ok_or_else(|| Failure::refused("it names no keys"))?;
    let kid = id_token::kid(token)?;
    let keys = providers.keys(provider, url, kid.as_deref(), now).await?;
    let issuer = &endpoints.issuer;
    let expected = Expected { issuer, client_id: &provider.client_id, nonce };
    id_token::check(token, &keys, &expected, now)
}

/// Some providers keep the address out of the id token.
async fn with_userinfo(
    client: &Client,
    endpoints: &Endpoints,
    access_token: Option<&str>,
    claims: Claims,
) -> Result<Person, Failure> {
    #[derive(Deserialize)]
    struct Userinfo {
        sub: String,
        email: Option<String>,
        #[serde(default, deserialize_with = "id_token::truth")]
        email_verified: bool,
        name: Option<String>,
    }
    let mut person = Person {
        subject: claims.sub,
        email: claims.email,
        email_verified: claims.email_verified,
        name: claims.name,
    };
    if let (None, Some(url), Some(token)) = (&person.email, &endpoints.userinfo, access_token) {
        let more: Userinfo = client.get(url, Some(token)).await?;
        // OpenID Connect Core, section 5.3.2: else it may be another's.
        if more.sub != person.subject {
            return Err(Failure::refused("the user information is another subject's"));
        }
        person.email = more.email;
        person.email_verified = more.email_verified;
        person.name = person.name.or(more.name);
    }
    Ok(person)
}

async fn github(
    client: &Client,
    endpoints: &Endpoints,
    access_token: Option<&str>,
) -> Result<Person, Failure> {
    #[derive(Deserialize)]
    struct User {
        id: i64,
        login: String,
        name: Option<String>,
    }
    #[derive(Deserialize)]
    struct Address {
        email: String,
        primary: bool,
        verified: bool,
    }
    let token = access_token.ok_or_else(|| Failure::refused("no access token"))?;
    let url = endpoints.userinfo.as_deref().unwrap_or_default();
    let user: User = client.get(url, Some(token)).await?;
    let addresses: Vec<Address> = client.get(&format!("{url}/emails"), Some(token)).await?;
    let primary = addresses.into_iter().find(|address| address.primary);
    Ok(Person {
        subject: user.id.to_string(),
        email_verified: primary.as_ref().is_some_and(|address| address.verified),
        email: primary.map(|address| address.email),
        name: user.name.or(Some(user.login)),
    })
}

/// As our accounts have it: an address that we can write to, a name of bounded length.
fn clean(person: Person) -> Person {
    let email = person.email.map(|email| user::normalise_email(&email));
    let email = email.filter(|email| user::is_email(email));
    let name = person.name.map(|name| {
        name.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
    });
    Person {
        email_verified: person.email_verified && email.is_some(),
        email,
        name: name.filter(|name| !name.is_empty()),
        subject: person.subject,
    }
}
