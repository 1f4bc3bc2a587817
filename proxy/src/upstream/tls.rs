//! How an `https` upstream is verified when that is not by the system's certificates and the URL's
//! host, and what the proxy shows of itself where it must. It only reads; verification is the engine's, and is never off: the engine takes an empty
//! name to mean that, so that no name here is ever empty.
//!
//! Everything the engine would later unwrap is parsed here first, because a certificate comes from
//! a customer: a bad one sets its application aside, and nothing else.

use std::sync::Arc;

use authsome_shared::api_key::KeyDigest;
use authsome_shared::envelope::Envelope;
use authsome_shared::snapshot::UpstreamTls;
use pingora::protocols::tls::CaType;
use pingora::utils::tls::{CertKey, WrappedX509};
use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates that one application may name.
const MOST_CERTIFICATES: usize = 32;

#[derive(Debug)]
pub struct Tls {
    pub ca: Option<Arc<CaType>>,
    pub client: Client,
    /// Asked for and verified instead of the URL's host.
    pub name: Option<Box<str>>,
    /// Keeps this application's connections from others'. The engine tells connections apart by
    /// address and name, but not by who was trusted when they were made.
    pub group: u64,
}

/// The proxy's own certificate and key.
#[derive(Debug)]
pub enum Client {
    None,
    Key(Arc<CertKey>),
    /// The key does not open, so that no connection can be made.
    Sealed,
}

impl Tls {
    /// `None` when nothing is special.
    pub fn new(
        tls: &UpstreamTls,
        application: &str,
        envelope: Option<&Envelope>,
    ) -> Result<Option<Self>, String> {
        if *tls == UpstreamTls::default() {
            return Ok(None);
        }
        if let Some(name) = &tls.sni {
            check_name(name)?;
        }
        let ca = tls.ca_pem.as_deref().map(certificates).transpose()?;
        let client = client(tls, application, envelope)?;
        let all = format!(
            "{application}\n{}\n{}\n{}",
            tls.sni.as_deref().unwrap_or_default(),
            tls.ca_pem.as_deref().unwrap_or_default(),
            tls.client_cert_pem.as_deref().unwrap_or_default(),
        );
        let digest = KeyDigest::of(&all);
        let group = u64::from_le_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"));
        Ok(Some(Self { ca, client, name: tls.sni.as_deref().map(Into::into), group }))
    }
}

fn client(
    tls: &UpstreamTls,
    application: &str,
    envelope: Option<&Envelope>,
) -> Result<Client, String> {
    let (chain, sealed) = match (&tls.client_cert_pem, &tls.client_key) {
        (None, None) => return Ok(Client::None),
        (Some(chain), Some(sealed)) => (chain, sealed),
        _ => return Err("its upstream's client certificate and key don't come together".into()),
    };
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "its upstream's `clientCertPem` is not PEM")?;
    if chain.is_empty() || chain.len() > MOST_CERTIFICATES {
        return Err(format!("its upstream's `clientCertPem` must hold 1 to {MOST_CERTIFICATES}"));
    }
    if chain.iter().any(|certificate| X509Certificate::from_der(certificate).is_err()) {
        return Err("its upstream's `clientCertPem` holds an unreadable one".into());
    }
    let Some(key) = envelope.and_then(|envelope| envelope.open(application, sealed)) else {
        return Ok(Client::Sealed);
    };
    let private =
        PrivateKeyDer::try_from(&*key).map_err(|_| "its upstream's client key is none")?;
    let signing =
        any_supported_type(&private).map_err(|_| "its upstream's client key is unusable")?;
    let pair = CertifiedKey::new(chain.clone(), signing);
    pair.keys_match().map_err(|_| "its upstream's client key is not the certificate's")?;
    let chain = chain.into_iter().map(|certificate| certificate.to_vec()).collect();
    Ok(Client::Key(Arc::new(CertKey::new(chain, key))))
}

/// A DNS name as TLS has it. The engine would read `_` as `-`, and so verify another name.
fn check_name(name: &str) -> Result<(), String> {
    match ServerName::try_from(name) {
        Ok(ServerName::DnsName(_)) if !name.contains('_') => Ok(()),
        _ => Err("its upstream's `sni` is not a host name".into()),
    }
}

fn certificates(pem: &str) -> Result<Arc<CaType>, String> {
    let mut store = RootCertStore::empty();
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| "its upstream's `caPem` is not PEM")?;
        let raw = certificate.to_vec();
        store.add(certificate).map_err(|_| "its upstream's `caPem` holds an unusable one")?;
        let parsed = WrappedX509::try_new(raw, |raw| {
            X509Certificate::from_der(raw).map(|(_, certificate)| certificate)
        });
        found.push(parsed.map_err(|_| "its upstream's `caPem` holds an unreadable one")?);
    }
    if found.is_empty() || found.len() > MOST_CERTIFICATES {
        return Err(format!("its upstream's `caPem` must hold 1 to {MOST_CERTIFICATES}"));
    }
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sni: Option<&str>, ca_pem: Option<&str>) -> Result<Option<Tls>, String> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let tls = UpstreamTls { ca_pem: own(ca_pem), sni: own(sni), ..UpstreamTls::default() };
        Tls::new(&tls, "app_1", None)
    }

    #[test]
    fn nothing_special_is_none_and_names_are_names() {
        assert!(read(None, None).expect("fine").is_none());
        let tls = read(Some("api.internal"), None).expect("fine").expect("special");
        assert_eq!((tls.name.as_deref(), tls.ca.is_none()), (Some("api.internal"), true));
        for bad in ["", " ", "a b", "10.0.0.1", "under_score.example", "a:443"] {
            assert!(read(Some(bad), None).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let begin = "-----BEGIN CERTIFICATE-----\n";
        let end = "-----END CERTIFICATE-----\n";
        for bad in ["", "hello", &format!("{begin}AAAA\n{end}"), &format!("{begin}%%\n{end}")] {
            assert!(read(None, Some(bad)).is_err(), "{bad}");
        }
    }
}
