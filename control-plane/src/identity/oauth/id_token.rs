//! Checks of an id token (`OpenID` Connect Core 1.0, section 3.1.3.7): pure, with the keys and the time
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

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use ring::hmac;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;
    use crate::identity::jwt;

    const NOW: i64 = 1_700_000_000;

    struct Signer(EcdsaKeyPair);

    impl Signer {
        fn new() -> Self {
            jwt::install_provider();
            let random = SystemRandom::new();
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            let key = document.as_ref();
            Self(EcdsaKeyPair::from_pkcs8(algorithm, key, &random).unwrap())
        }

        fn jwk(&self, more: &Value) -> Jwk {
            let point = self.0.public_key().as_ref();
            let mut key = json!({
                "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig",
                "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]),
            });
            for (name, value) in more.as_object().unwrap() {
                key[name] = value.clone();
            }
            serde_json::from_value(key).unwrap()
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let signed = signed_part(header, claims);
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", BASE64.encode(signature.as_ref()))
        }
    }

    fn signed_part(header: &Value, claims: &Value) -> String {
        format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
    }

    fn claims() -> Value {
        json!({
            "iss": "https://login.example.com", "aud": "client", "sub": "s", "nonce": "n",
            "exp": NOW + 300, "iat": NOW, "email": "ada@example.com", "email_verified": "true",
        })
    }

    fn header() -> Value {
        json!({ "alg": "ES256", "kid": "k1" })
    }

    fn checked(token: &str, keys: &[Jwk]) -> Result<Claims, String> {
        let expected =
            Expected { issuer: "https://login.example.com", client_id: "client", nonce: "n" };
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        check(token, keys, &expected, now).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_token_that_is_all_right_is_believed() {
        let signer = Signer::new();
        let keys = [signer.jwk(&json!({}))];
        let found = checked(&signer.token(&header(), &claims()), &keys).unwrap();
        assert_eq!((found.sub.as_str(), found.email_verified), ("s", true));
        // Among others, without a kid, and for several audiences.
        let keys = [Signer::new().jwk(&json!({ "kid": "k0" })), signer.jwk(&json!({}))];
        assert!(checked(&signer.token(&json!({ "alg": "ES256" }), &claims()), &keys).is_ok());
        let mut several = claims();
        several["aud"] = json!(["other", "client"]);
        several["azp"] = json!("client");
        assert!(checked(&signer.token(&header(), &several), &keys).is_ok());
    }

    #[test]
    fn a_token_with_one_thing_wrong_is_not() {
        let signer = Signer::new();
        let keys = [signer.jwk(&json!({}))];
        for (name, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!("https://login.example.com.evil.example")),
            ("iss", Value::Null),
            ("aud", json!("another client")),
            ("aud", json!([])),
            ("aud", Value::Null),
            ("azp", json!("another client")),
            ("nonce", json!("another nonce")),
            ("nonce", Value::Null),
            ("exp", json!(NOW - 60)),
            ("exp", Value::Null),
            ("exp", json!("tomorrow")),
            ("iat", json!(NOW + 61)),
            ("nbf", json!(NOW + 61)),
            ("sub", json!("")),
            ("sub", json!("s".repeat(256))),
            ("sub", Value::Null),
        ] {
            let mut wrong = claims();
            wrong[name] = value.clone();
            if value.is_null() {
                wrong.as_object_mut().unwrap().remove(name);
            }
            assert!(checked(&signer.token(&header(), &wrong), &keys).is_err(), "{name}: {value}");
        }
        let mut late = claims();
        late["exp"] = json!(NOW - 59);
        assert!(checked(&signer.token(&header(), &late), &keys).is_ok(), "clocks differ");
    }

    #[test]
    fn only_a_signature_by_the_providers_key_counts() {
        let signer = Signer::new();
        let key = signer.jwk(&json!({}));
        let keys = std::slice::from_ref(&key);
        assert!(checked(&Signer::new().token(&header(), &claims()), keys).is_err(), "another key");
        let token = signer.token(&header(), &claims());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(checked(&format!("{signed}."), keys).is_err(), "no signature");
        let mut other = claims();
        other["sub"] = json!("somebody else");
        let moved = format!("{}.{signature}", signed_part(&header(), &other));
        assert!(checked(&moved, keys).is_err(), "another's signature");
        assert!(checked(&token, &[]).is_err(), "no key");
        let unknown = signer.token(&json!({ "alg": "ES256", "kid": "k9" }), &claims());
        assert!(checked(&unknown, keys).is_err(), "another kid");
        let encrypts = signer.jwk(&json!({ "use": "enc" }));
        assert!(checked(&token, &[encrypts]).is_err(), "a key for encryption");
        for bad in ["", ".", "..", "a.b.c", "nonsense"] {
            assert!(checked(bad, keys).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_algorithms_are_refused_even_where_they_would_verify() {
        let signer = Signer::new();
        let keys = [signer.jwk(&json!({}))];
        for alg in ["none", "None", "HS256", "RS256", "EdDSA", "PS256"] {
            let header = json!({ "alg": alg, "kid": "k1" });
            assert!(checked(&signer.token(&header, &claims()), &keys).is_err(), "{alg}");
            let unsigned = format!("{}.", signed_part(&header, &claims()));
            assert!(checked(&unsigned, &keys).is_err(), "{alg}, unsigned");
        }
        // The public key taken for the secret of an HMAC.
        let secret = signer.0.public_key().as_ref();
        let signed = signed_part(&json!({ "alg": "HS256", "kid": "k1" }), &claims());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let token = format!("{signed}.{}", BASE64.encode(tag.as_ref()));
        assert!(checked(&token, &keys).is_err());
        let oct = json!({ "kty": "oct", "kid": "k1", "k": BASE64.encode(secret) });
        let oct: Jwk = serde_json::from_value(oct).unwrap();
        assert!(checked(&token, &[oct]).is_err());
    }
}
