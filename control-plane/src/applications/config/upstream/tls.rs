//! How an `https` upstream is verified: by certificates of the customer's own, or under another name
//! than the URL's host. Verification can't be switched off. Client certificates are not offered:
//! their keys would lie in the revision log in clear.

use authsome_shared::snapshot;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;

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
    }

    pub(super) fn to_wire(&self) -> snapshot::UpstreamTls {
        snapshot::UpstreamTls { ca_pem: self.ca_pem.clone(), sni: self.sni.clone() }
    }
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
