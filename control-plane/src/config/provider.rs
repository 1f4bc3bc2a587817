//! Settings of identity providers: who they are and where their endpoints lie.

use anyhow::{Context, ensure};
use authsome_shared::secret::Secret;
use serde::{Deserialize, Serialize};

use super::check_http_url;

/// A provider that people may sign in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// In the API's paths; never changed, because linked accounts are kept by it.
    pub id: String,
    pub kind: ProviderKind,
    pub client_id: String,
    #[serde(default)]
    pub client_secret: Secret<String>,
    /// What the login page calls it; empty: a name by its kind.
    #[serde(default)]
    pub label: String,
    /// Who signs the id tokens, and where the discovery document lies. Empty for GitHub, and for
    /// Google's own.
    #[serde(default)]
    pub issuer: String,
    /// Empty: what is needed to know the person's e-mail address.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Each of these overrides what the kind or the discovery document says.
    #[serde(default)]
    pub authorization_endpoint: String,
    #[serde(default)]
    pub token_endpoint: String,
    /// GitHub's `/user`, below which `/emails` lies.
    #[serde(default)]
    pub userinfo_endpoint: String,
    #[serde(default)]
    pub jwks_uri: String,
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    Google,
    /// OAuth without id tokens; the person is asked of its API.
    Github,
    /// Any `OpenID` provider with a discovery document.
    Oidc,
}

/// Google's issuer (`OpenID` Connect discovery).
pub const GOOGLE: &str = "https://accounts.google.com";

impl Provider {
    /// What people read on the login page.
    pub fn label(&self) -> &str {
        match (self.label.as_str(), self.kind) {
            ("", ProviderKind::Google) => "Google",
            ("", ProviderKind::Github) => "GitHub",
            ("", ProviderKind::Oidc) => &self.id,
            (label, _) => label,
        }
    }

    /// Who signs its id tokens; empty for GitHub.
    pub fn issuer(&self) -> &str {
        match (self.issuer.as_str(), self.kind) {
            ("", ProviderKind::Google) => GOOGLE,
            (issuer, _) => issuer,
        }
    }

    pub fn scopes(&self) -> String {
        match (self.scopes.is_empty(), self.kind) {
            (true, ProviderKind::Github) => "read:user user:email".into(),
            (true, _) => "openid email profile".into(),
            (false, _) => self.scopes.join(" "),
        }
    }

    fn validate(&self) -> anyhow::Result<()> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        ensure!(
            (1..=40).contains(&self.id.len()) && self.id.bytes().all(plain),
            "id {:?} must be 1 to 40 of a-z, 0-9 and _",
            self.id
        );
        ensure!(!self.client_id.is_empty(), "client_id is empty");
        ensure!(
            self.kind != ProviderKind::Oidc || !self.issuer.is_empty(),
            "issuer is empty, and kind is oidc"
        );
        let oidc = self.kind != ProviderKind::Github;
        ensure!(
            !oidc || self.scopes().split(' ').any(|scope| scope == "openid"),
            "scopes must contain openid"
        );
        for (name, url) in [
            ("issuer", self.issuer()),
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("userinfo_endpoint", &self.userinfo_endpoint),
            ("jwks_uri", &self.jwks_uri),
        ] {
            if !url.is_empty() {
                check_http_url(name, url)?;
            }
        }
        Ok(())
    }
}

/// Each on its own, and no id twice.
pub(super) fn validate(providers: &[Provider]) -> anyhow::Result<()> {
    for (n, provider) in providers.iter().enumerate() {
        let place = || format!("identity.providers[{n}] ({})", provider.id);
        provider.validate().with_context(place)?;
        let twice = providers[..n].iter().any(|other| other.id == provider.id);
        ensure!(!twice, "identity.providers: the id {:?} is there twice", provider.id);
    }
    Ok(())
}
