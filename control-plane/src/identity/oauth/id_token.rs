//! Checks of an id token (OpenID Connect Core 1.0, section 3.1.3.7): pure, with the keys and the time
//! as arguments. Only RS256 and ES256 are accepted, and only by keys of the matching kind.

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Deserializer};

use super::client::Failure;
use crate::config::GOOGLE;

/// How far two clocks may be apart, in seconds.
const LEEWAY: i64 = 60;

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
}

/// What it says of the person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    pub sub: String,
    exp: i64,
    iat: Option<i64>,
    nbf: Option<i64>,
    nonce: Option<String>,
    azp: Option<String>,
    pub email: Option<String>,
    #[serde(default, deserialize_with = "truth")]
    pub email_verified: bool,
    pub name: Option<String>,
}

/// Some providers write booleans as text.
pub fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Truth {
        Bool(bool),
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Truth::deserialize(deserializer)? {
        Truth::Bool(truth) => truth,
        Truth::Text(text) => text == "true",
        Truth::Other(_) => false,
    })
}

/// The key that a token names, without looking at anything else of it.
pub fn kid(token: &str) -> Result<Option<String>, Failure> {
    let header = jsonwebtoken::decode_header(token);
    Ok(header.map_err(|error| Failure::refused(format!("the id token: {error}")))?.kid)
}

/// The claims of a token that is to be believed.
pub fn check(
    token: &str,
    keys: &[Jwk],
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<Claims, Failure> {
    let refused = |why: String| Failure::refused(format!("the id token: {why}"));
    let header = jsonwebtoken::decode_header(token).map_err(|error| refused(error.to_string()))?;
    let algorithm = header.alg;
    if !matches!(algorithm, Algorithm::RS256 | Algorithm::ES256) {
        return Err(refused(format!("{algorithm:?} is not accepted")));
    }
    let mut validation = Validation::new(algorithm);
    // Google's older tokens leave out the scheme.
    let bare = expected.issuer.trim_start_matches("https://");
    let issuers =
        if expected.issuer == GOOGLE { vec![GOOGLE, bare] } else { vec![expected.issuer] };
    validation.set_issuer(&issuers);
    validation.set_audience(&[expected.client_id]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    // The library would ask the system's clock.
    validation.validate_exp = false;

    let mut why = "no key of the provider fits".to_owned();
    for key in keys.iter().filter(|key| fits(key, algorithm, header.kid.as_deref())) {
        let decoded = DecodingKey::from_jwk(key)
            .and_then(|key| jsonwebtoken::decode::<Claims>(token, &key, &validation));
        match decoded {
            Ok(token) => return agree(token.claims, expected, now).map_err(refused),
            Err(error) => why = error.to_string(),
        }
    }
    Err(refused(why))
}

fn fits(key: &Jwk, algorithm: Algorithm, kid: Option<&str>) -> bool {
    let kind = match &key.algorithm {
        AlgorithmParameters::RSA(_) => algorithm == Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) => {
            algorithm == Algorithm::ES256 && curve.curve == EllipticCurve::P256
        }
        _ => false,
    };
    let signs = !matches!(
        key.common.public_key_use,
        Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
    );
    kind && signs && (kid.is_none() || key.common.key_id.as_deref() == kid)
}

/// The rules that concern no signature.
fn agree(claims: Claims, expected: &Expected, now: DateTime<Utc>) -> Result<Claims, String> {
    let now = now.timestamp();
    if claims.exp.saturating_add(LEEWAY) <= now {
        return Err("it has expired".into());
    }
    if [claims.iat, claims.nbf].into_iter().flatten().any(|at| at > now.saturating_add(LEEWAY)) {
        return Err("it is of the future".into());
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err("its nonce is not this sign-in's".into());
    }
    if claims.azp.as_deref().is_some_and(|azp| azp != expected.client_id) {
        return Err("it was made for another client".into());
    }
    if claims.sub.is_empty() || claims.sub.len() > 255 {
        return Err("its subject is none".into());
    }
    Ok(claims)
}
