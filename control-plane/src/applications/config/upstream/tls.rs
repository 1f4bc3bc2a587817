//! How an `https` upstream is verified: by certificates of the customer's own, or under another name
//! than the URL's host. Verification can't be switched off. And what the proxies show of themselves
//! where the upstream asks: a certificate, whose key `client_key` keeps.

use authsome_shared::snapshot;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use serde::Deserialize;

use crate::applications::client_key::{self, ClientKey};
use crate::error::Checks;

const MAX_CERTIFICATES: usize = 32;
const MAX_PEM_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// Certificates to trust instead of the system's.
    pub ca_pem: Option<String>,
    /// Name to ask for and to verify, instead of the URL's host.
    pub sni: Option<String>,
    /// What the proxies show of themselves, with what lies between it and an authority.
    pub client_cert_pem: Option<String>,
    /// Given as `clientKeyPem`.
    pub client_key: Option<ClientKey>,
}

impl UpstreamTls {
    pub(super) fn check(&self, checks: &mut Checks) {
        if let Some(pem) = &self.ca_pem
            && let Err(message) = check_certificates(pem)
        {
            checks.fail("config.upstream.tls.caPem", message);
        }
        if let Some(name) = &self.sni {
            // Proxies would ask for `-` where the name has `_`, and so verify another name.
            let is_name = matches!(ServerName::try_from(&**name), Ok(ServerName::DnsName(_)));
            checks.check(
                is_name && !name.contains('_'),
                "config.upstream.tls.sni",
                "`sni` must be a host name",
            );
        }
        self.check_client(checks);
    }

    /// The certificate and the key come together and belong together.
    fn check_client(&self, checks: &mut Checks) {
        const CERTIFICATE: &str = "config.upstream.tls.clientCertPem";
        const KEY: &str = "config.upstream.tls.clientKeyPem";
        match (&self.client_cert_pem, &self.client_key) {
            (None, None) => {}
            (Some(_), None) => checks.fail(KEY, "`clientCertPem` needs its `clientKeyPem`"),
            (None, Some(_)) => checks.fail(CERTIFICATE, "`clientKeyPem` needs its `clientCertPem`"),
            (Some(pem), Some(key)) => match public_key(pem) {
                Err(message) => checks.fail(CERTIFICATE, message),
                Ok(public) if client_key::fingerprint(&public) == key.fingerprint => {}
                Ok(_) => checks.fail(
                    KEY,
                    "`clientKeyPem` is not the key of the first certificate of `clientCertPem`",
                ),
            },
        }
    }

    pub(super) fn to_wire(&self) -> snapshot::UpstreamTls {
        snapshot::UpstreamTls {
            ca_pem: self.ca_pem.clone(),
            sni: self.sni.clone(),
            client_cert_pem: self.client_cert_pem.clone(),
            client_key: self.client_key.as_ref().map(|key| key.proxies.clone()),
        }
    }
}

/// Of the first certificate, as it stands there.
fn public_key(pem: &str) -> Result<Vec<u8>, String> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(format!("`clientCertPem` may have at most {MAX_PEM_BYTES} bytes"));
    }
    if pem.contains("PRIVATE KEY") {
        return Err("`clientCertPem` holds a private key, which belongs into `clientKeyPem`".into());
    }
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| "`clientCertPem` is not PEM")?;
    if !(1..=MAX_CERTIFICATES).contains(&chain.len()) {
        return Err(format!(
            "`clientCertPem` must hold 1 to {MAX_CERTIFICATES} certificates in PEM"
        ));
    }
    let mut public = Vec::new();
    for (i, certificate) in chain.iter().enumerate() {
        let parsed = ParsedCertificate::try_from(certificate).map_err(|error| {
            format!("certificate {} of `clientCertPem` is unusable: {error}", i + 1)
        })?;
        if i == 0 {
            public = parsed.subject_public_key_info().to_vec();
        }
    }
    Ok(public)
}

fn check_certificates(pem: &str) -> Result<(), String> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(format!("`caPem` may have at most {MAX_PEM_BYTES} bytes"));
    }
    if pem.contains("PRIVATE KEY") {
        return Err("`caPem` holds a private key, which belongs nowhere but with its owner".into());
    }
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| "`caPem` is not PEM")?;
        store.add(certificate).map_err(|error| {
            format!("certificate {} of `caPem` is unusable: {error}", store.len() + 1)
        })?;
    }
    if (1..=MAX_CERTIFICATES).contains(&store.len()) {
        Ok(())
    } else {
        Err(format!("`caPem` must hold 1 to {MAX_CERTIFICATES} certificates in PEM"))
    }
}
