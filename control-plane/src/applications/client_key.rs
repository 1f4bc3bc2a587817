//! The private key of an upstream's client certificate. The user gives it as
//! `config.upstream.tls.clientKeyPem`; from then on it exists only sealed, in `clientKey`: under the
//! master key, for ourselves, and under the node token, for the proxies. What is shown of it is that
//! it is there, and the fingerprint of its public half.
//!
//! Both are bound to their application. When the node token changes, [`seal_anew`] replaces the
//! proxies' copy from ours.

use anyhow::Context;
use authsome_shared::envelope::Envelope;
use authsome_shared::id::ApplicationId;
use ring::digest::{SHA256, digest};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Application, store};
use crate::db::Tx;
use crate::error::{Error, Result, Violation};
use crate::revisions;
use crate::sealed::Sealer;

const GIVEN: &str = "clientKeyPem";
const KEPT: &str = "clientKey";
const SHOWN: [&str; 2] = ["clientKeySet", "clientKeyFingerprint"];
const FIELD: &str = "config.upstream.tls.clientKeyPem";

const MAX_PEM_BYTES: usize = 64 * 1024;

/// What seals: for ourselves, and for the proxies.
#[derive(Debug, Clone, Copy)]
pub struct Seals<'a> {
    pub own: &'a Sealer,
    pub proxies: &'a Envelope,
}

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientKey {
    /// In DER, under the master key.
    own: String,
    /// The same under the node token.
    pub(super) proxies: String,
    /// SHA-256 of the public key, in hexadecimal digits.
    pub(super) fingerprint: String,
}

impl ClientKey {
    fn seal(der: &[u8], fingerprint: String, id: &ApplicationId, seals: Seals) -> Self {
        Self {
            own: seals.own.seal(&purpose(id), der),
            proxies: seals.proxies.seal(id.as_str(), der),
            fingerprint,
        }
    }

    /// The key in DER.
    pub fn open(&self, id: &ApplicationId, own: &Sealer) -> anyhow::Result<Vec<u8>> {
        own.open(&purpose(id), &self.own)
    }
}

fn purpose(id: &ApplicationId) -> String {
    format!("client key of {id}")
}

fn tls(config: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    config.get_mut("upstream")?.get_mut("tls")?.as_object_mut()
}

/// Seals the key that a user gives with an application's configuration, or a change of it, before
/// anything is stored. What we show of a key may come back with the rest, and says nothing.
pub fn take_in(config: &mut Map<String, Value>, id: &ApplicationId, seals: Seals) -> Result<()> {
    let Some(tls) = tls(config) else { return Ok(()) };
    for shown in SHOWN {
        tls.remove(shown);
    }
    if tls.contains_key(KEPT) {
        return Err(refusal("config.upstream.tls.clientKey", "unknown field `clientKey`"));
    }
    let kept = match tls.remove(GIVEN) {
        None => return Ok(()),
        Some(Value::Null) => Value::Null,
        Some(Value::String(pem)) => {
            let (der, fingerprint) = read(&pem).map_err(|message| refusal(FIELD, message))?;
            json!(ClientKey::seal(&der, fingerprint, id, seals))
        }
        Some(_) => return Err(refusal(FIELD, "`clientKeyPem` must be a text in PEM")),
    };
    tls.insert(KEPT.to_owned(), kept);
    Ok(())
}

fn refusal(field: &str, message: &str) -> Error {
    let reason = if message.starts_with("unknown") { "unknown_field" } else { "invalid_value" };
    Error::Invalid(vec![Violation { field: field.to_owned(), reason, message: message.to_owned() }])
}

/// A private key in DER, and the fingerprint of its public half.
fn read(pem: &str) -> std::result::Result<(Vec<u8>, String), &'static str> {
    if pem.len() > MAX_PEM_BYTES {
        return Err("`clientKeyPem` may have at most 65536 bytes");
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(
        |_| "`clientKeyPem` holds no private key in PEM; one with a passphrase can't be read",
    )?;
    let signing = any_supported_type(&key)
        .map_err(|_| "`clientKeyPem` must be an RSA, ECDSA (P-256, P-384) or Ed25519 key")?;
    let public = signing.public_key().ok_or("`clientKeyPem` has no public half")?;
    Ok((key.secret_der().to_vec(), fingerprint(&public)))
}

/// SHA-256 of a public key as it stands in certificates.
pub(super) fn fingerprint(public: &[u8]) -> String {
    hex::encode(digest(&SHA256, public))
}

/// A configuration as it is shown: with what may be known of its key.
pub fn shown(mut config: Map<String, Value>) -> Map<String, Value> {
    if let Some(tls) = tls(&mut config)
        && let Some(kept) = tls.remove(KEPT)
    {
        let [set, fingerprint] = SHOWN.map(str::to_owned);
        tls.insert(set, true.into());
        tls.insert(fingerprint, kept["fingerprint"].clone());
    }
    config
}

/// At a start: what the proxies could not open with the present node token is sealed for it, from
/// our own copy. One that we can't open either is reported; its owner must give it again.
pub async fn seal_anew(tx: &mut Tx, seals: Seals<'_>) -> anyhow::Result<()> {
    for application in store::with_upstreams(tx).await? {
        let id = application.id.clone();
        if let Err(error) = seal_one_anew(tx, application, seals).await {
            tracing::error!(
                application = %id,
                error = format!("{error:#}"),
                "the key of its client certificate can't be read; set upstream.tls.clientKeyPem anew"
            );
        }
    }
    Ok(())
}

async fn seal_one_anew(
    tx: &mut Tx,
    mut application: Application,
    seals: Seals<'_>,
) -> anyhow::Result<()> {
    let Some(kept) = tls(&mut application.config.0).and_then(|tls| tls.get_mut(KEPT)) else {
        return Ok(());
    };
    let key: ClientKey = serde_json::from_value(kept.clone()).context("unreadable")?;
    let id = application.id.clone();
    if seals.proxies.open(id.as_str(), &key.proxies).is_some() {
        return Ok(());
    }
    let der = key.open(&id, seals.own)?;
    *kept = json!(ClientKey::seal(&der, key.fingerprint, &id, seals));
    store::update(tx, &application).await?;
    revisions::append(tx, vec![application.change()?]).await?;
    tracing::info!(application = %id, "sealed its client key for another node token");
    Ok(())
}
