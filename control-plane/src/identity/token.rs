//! Tokens: short-lived access tokens (`EdDSA` JWT that names a session) and single-use refresh tokens
//! (random, stored as a digest). Whether the session still stands is asked of the database on every
//! request, so that a sign-out holds at once.

use anyhow::Context;
use authsome_shared::api_key::KeyDigest;
use authsome_shared::id::{SessionId, UserId};
use authsome_shared::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jwt;
use crate::db::Tx;
use crate::sealed::Sealer;
use crate::{execute, fetch_all, random};

const PURPOSE: &str = "signing key";
const ISSUER: &str = "authsome";

/// What an access token says (RFC 7519, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub sub: UserId,
    pub sid: SessionId,
    /// Seconds since the epoch.
    pub iat: i64,
    pub exp: i64,
}

/// The platform's signing keys; the newest signs.
pub struct TokenKeys {
    signing_id: String,
    signing: EncodingKey,
    verifying: Vec<(String, DecodingKey)>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKeys({})", self.signing_id)
    }
}

#[derive(sqlx::FromRow)]
struct StoredKey {
    id: String,
    public_key: String,
    sealed_private_key: String,
}

impl TokenKeys {
    /// Reads the keys; makes the first on a new database.
    pub async fn load(tx: &mut Tx, sealer: &Sealer) -> anyhow::Result<Self> {
        jwt::install_provider();
        let mut stored = stored_keys(tx).await?;
        if stored.is_empty() {
            create(tx, sealer).await?;
            stored = stored_keys(tx).await?;
        }
        let newest = stored.last().context("a signing key was just made")?;
        let private = sealer.open(PURPOSE, &newest.sealed_private_key)?;
        let verifying = stored
            .iter()
            .map(|key| {
                let public = STANDARD.decode(&key.public_key).context("a public signing key")?;
                Ok((key.id.clone(), DecodingKey::from_ed_der(&public)))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            signing_id: newest.id.clone(),
            signing: EncodingKey::from_ed_der(&private),
            verifying,
        })
    }

    pub fn sign(
        &self,
        user: &UserId,
        session: &SessionId,
        now: DateTime<Utc>,
        lifetime_seconds: u64,
    ) -> anyhow::Result<Secret<String>> {
        let header = Header { kid: Some(self.signing_id.clone()), ..Header::new(Algorithm::EdDSA) };
        let iat = now.timestamp();
        let claims = Claims {
            iss: ISSUER.into(),
            sub: user.clone(),
            sid: session.clone(),
            iat,
            exp: iat.saturating_add_unsigned(lifetime_seconds),
        };
        let token = jsonwebtoken::encode(&header, &claims, &self.signing);
        Ok(Secret::new(token.context("signing an access token")?))
    }

    /// The claims of a token that one of our keys signed and that has not expired.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let (_, key) = self.verifying.iter().find(|(id, _)| Some(id) == header.kid.as_ref())?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        // The library would ask the system's clock.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).ok()?.claims;
        (claims.exp > now.timestamp()).then_some(claims)
    }
}

async fn stored_keys(tx: &mut Tx) -> sqlx::Result<Vec<StoredKey>> {
    fetch_all!(
        tx,
        sqlx::query_as(
            "select id, public_key, sealed_private_key from signing_keys order by created_at, id"
        )
    )
}

async fn create(tx: &mut Tx, sealer: &Sealer) -> anyhow::Result<()> {
    let now = tx.now();
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .map_err(|_| anyhow::anyhow!("making a signing key"))?;
    let pair = Ed25519KeyPair::from_pkcs8(private.as_ref())
        .map_err(|_| anyhow::anyhow!("reading back a new signing key"))?;
    execute!(
        tx,
        sqlx::query(
            "insert into signing_keys (id, public_key, sealed_private_key, created_at) \
             values ($1, $2, $3, $4)"
        )
        .bind(Uuid::now_v7().simple().to_string())
        .bind(STANDARD.encode(pair.public_key().as_ref()))
        .bind(sealer.seal(PURPOSE, private.as_ref()))
        .bind(now)
    )?;
    Ok(())
}

/// A single-use token for a client, and what is stored of it.
#[derive(Debug)]
pub struct OneTimeToken {
    pub clear: Secret<String>,
    pub digest: String,
}

impl OneTimeToken {
    /// `prefix` tells people and scanners what it is.
    pub fn new(prefix: &str) -> Self {
        let clear = format!("{prefix}{}", random::token());
        Self { digest: digest(&clear), clear: Secret::new(clear) }
    }
}

/// How a one-time token is stored and looked up.
pub fn digest(token: &str) -> String {
    KeyDigest::of(token).to_hex()
}
