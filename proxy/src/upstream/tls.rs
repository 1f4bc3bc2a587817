//! How an `https` upstream is verified when that is not by the system's certificates and the URL's
//! host. It only reads; verification is the engine's, and is never off: the engine takes an empty
//! name to mean that, so that no name here is ever empty.
//!
//! Everything the engine would later unwrap is parsed here first, because a certificate comes from
//! a customer: a bad one sets its application aside, and nothing else.

use std::sync::Arc;

use authsome_shared::api_key::KeyDigest;
use authsome_shared::snapshot::UpstreamTls;
use pingora::protocols::tls::CaType;
use pingora::utils::tls::WrappedX509;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates that one application may name.
const MOST_CERTIFICATES: usize = 32;

#[derive(Debug)]
pub struct Tls {
    pub ca: Option<Arc<CaType>>,
    /// Asked for and verified instead of the URL's host.
    pub name: Option<Box<str>>,
    /// Keeps this application's connections from others'. The engine tells connections apart by
    /// address and name, but not by who was trusted when they were made.
    pub group: u64,
}

impl Tls {
    /// `None` when nothing is special.
    pub fn new(tls: &UpstreamTls, application: &str) -> Result<Option<Self>, String> {
        if *tls == UpstreamTls::default() {
            return Ok(None);
        }
        if let Some(name) = &tls.sni {
            check_name(name)?;
        }
        let ca = tls.ca_pem.as_deref().map(certificates).transpose()?;
        let all = format!(
            "{application}\n{}\n{}",
            tls.sni.as_deref().unwrap_or_default(),
            tls.ca_pem.as_deref().unwrap_or_default(),
        );
        let digest = KeyDigest::of(&all);
        let group = u64::from_le_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"));
        Ok(Some(Self { ca, name: tls.sni.as_deref().map(Into::into), group }))
    }
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
        Tls::new(&UpstreamTls { ca_pem: own(ca_pem), sni: own(sni) }, "app_1")
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
