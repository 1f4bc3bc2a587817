//! Provisioning: an application becomes active once its upstream answers and every connected proxy
//! knows it; after a restart it becomes so again the same way. Run as a job; an attempt that fails
//! says why, in the application's log too, and the job tries again or gives up.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use authsome_shared::id::ApplicationId;
use authsome_shared::log::Level;
use authsome_shared::snapshot::{DefaultUpstream, Protocol};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ipnet::IpNet;
use reqwest::Identity;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use url::Url;

use super::config::Upstream;
use super::{Application, Status, log, store};
use crate::app::App;
use crate::audit::Entry;
use crate::db::Tx;
use crate::egress::Resolver;
use crate::error::Result;
use crate::events::{self, EventType, Subject};
use crate::{platform, proxies, revisions};

/// One attempt. Nothing to do when the application is no longer being provisioned or restarted.
pub async fn attempt(app: &App, id: &ApplicationId) -> anyhow::Result<()> {
    let mut tx = app.db.read().await?;
    let Some(application) = store::by_id(&mut tx, id).await? else { return Ok(()) };
    if !is_becoming_active(application.status) {
        return Ok(());
    }
    let settings = platform::settings(&mut tx).await?;
    let (_, revision) = platform::head(&mut tx).await?;
    drop(tx);

    match (application.config()?.upstream, settings.default_upstream) {
        (Some(upstream), _) => {
            let identity = identity(app, id, &upstream)?;
            any_answers(app, &upstream, identity, &settings.egress_allow).await?;
        }
        (None, Some(DefaultUpstream::Echo | DefaultUpstream::Url(_))) => {}
        (None, None) => bail!("the application has no upstream, and the platform no default one"),
    }
    let timeout = Duration::from_millis(app.config.applications.provision_timeout_ms);
    let applied = proxies::wait_applied(&app.db, revision, timeout).await?;
    ensure!(
        applied.pending.is_empty(),
        "{} connected proxies have not taken the application up yet",
        applied.pending.len()
    );
    settle(app, id, Status::Active, None).await
}

fn is_becoming_active(status: Status) -> bool {
    matches!(status, Status::Provisioning | Status::Restarting)
}

/// Tells the owner that an attempt failed, and that there will be more.
pub async fn tell_failure(
    tx: &mut Tx,
    id: &ApplicationId,
    attempt: i64,
    of: i64,
    reason: &str,
) -> Result<()> {
    let Some(application) = store::by_id(tx, id).await? else { return Ok(()) };
    let what = match application.status {
        Status::Provisioning => "provisioning",
        Status::Restarting => "restarting",
        _ => return Ok(()),
    };
    let message = format!("Attempt {attempt} of {of} at {what} failed: {reason}");
    log::write(tx, id, Level::Warn, &message, json!({ "attempt": attempt })).await
}

/// The last attempt failed.
pub async fn give_up(app: &App, id: &ApplicationId, reason: &str) -> anyhow::Result<()> {
    settle(app, id, Status::Failed, Some(reason.to_owned())).await
}

async fn settle(
    app: &App,
    id: &ApplicationId,
    status: Status,
    reason: Option<String>,
) -> anyhow::Result<()> {
    let mut tx = app.db.write().await?;
    let Some(mut application) = store::by_id(&mut tx, id).await? else { return Ok(()) };
    if !is_becoming_active(application.status) {
        return Ok(());
    }
    let before = application.audited();
    let restarted = application.status == Status::Restarting;
    application.status = application.status.to(status)?;
    application.status_reason = reason;
    application.updated_at = tx.now();
    store::update(&mut tx, &application).await?;
    let action = match status {
        Status::Active => "application.activated",
        _ => "application.failed",
    };
    let entry = Entry::by_system("provisioner", action).in_workspace(&application.workspace_id);
    tx.audit(entry.on("application", id).change(before, application.audited()));
    tell(&mut tx, app, &application, restarted).await?;
    revisions::append(&mut tx, vec![application.change()?]).await?;
    tx.commit().await?;
    tracing::info!(application = %id, ?status, "provisioned");
    Ok(())
}

/// Tells the application's webhooks how its provisioning, or its restart, has ended.
async fn tell(
    tx: &mut Tx,
    app: &App,
    application: &Application,
    restarted: bool,
) -> anyhow::Result<()> {
    if restarted && application.status == Status::Active {
        return Ok(application.tell(tx, EventType::ApplicationRestarted).await?);
    }
    let Application { id, workspace_id, status, status_reason, .. } = application;
    let (kind, data) = if *status == Status::Active {
        let public_key = store::public_key(tx, id).await?;
        let proxy = app.config.proxy.public_url.trim_end_matches('/');
        let data = json!({
            "applicationId": id, "workspaceId": workspace_id, "status": status,
            "publicKey": public_key, "apiUrl": format!("{proxy}/v1/{id}"),
        });
        (EventType::ApplicationProvisioned, data)
    } else {
        let attempts = app.config.applications.provision_attempts;
        let data = json!({ "applicationId": id, "error": status_reason, "retryCount": attempts });
        (EventType::ApplicationFailed, data)
    };
    events::emit(tx, kind, Subject::Application(workspace_id, id), data).await?;
    Ok(())
}

/// What the upstream is shown of us, if it is: the same as by the proxies.
fn identity(
    app: &App,
    id: &ApplicationId,
    upstream: &Upstream,
) -> anyhow::Result<Option<Identity>> {
    let (Some(chain), Some(key)) = (&upstream.tls.client_cert_pem, &upstream.tls.client_key) else {
        return Ok(None);
    };
    let der = key.open(id, &app.sealer).context("the client certificate's key can't be read")?;
    let identity = Identity::from_pem(pem(chain, &der)?.as_bytes());
    Ok(Some(identity.context("the client certificate can't be used")?))
}

/// The certificates, and the key behind them.
fn pem(chain: &str, key: &[u8]) -> anyhow::Result<String> {
    let kind = match PrivateKeyDer::try_from(key) {
        Ok(PrivateKeyDer::Pkcs8(_)) => "PRIVATE KEY",
        Ok(PrivateKeyDer::Pkcs1(_)) => "RSA PRIVATE KEY",
        Ok(PrivateKeyDer::Sec1(_)) => "EC PRIVATE KEY",
        _ => bail!("the client certificate's key is of an unknown kind"),
    };
    let key = STANDARD.encode(key);
    Ok(format!("{chain}\n-----BEGIN {kind}-----\n{key}\n-----END {kind}-----\n"))
}

/// At least one of the upstream's URLs must answer. All are asked at once, so that many take no
/// longer than one.
async fn any_answers(
    app: &App,
    upstream: &Upstream,
    identity: Option<Identity>,
    allow: &[IpNet],
) -> anyhow::Result<()> {
    let check = upstream.health_check.as_ref();
    let default_timeout = app.config.applications.provision_timeout_ms;
    let timeout = Duration::from_millis(check.map_or(default_timeout, |check| check.timeout_ms));
    let mut asked: FuturesUnordered<_> = upstream
        .urls
        .iter()
        .map(async |url| {
            let asked = answers(url, upstream, identity.clone(), &app.resolver, allow);
            let answered = tokio::time::timeout(timeout, asked).await;
            answered
                .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")))
                .map_err(|problem| format!("{url}: {problem:#}"))
        })
        .collect();
    let mut problems = Vec::new();
    while let Some(answered) = asked.next().await {
        match answered {
            Ok(()) => return Ok(()),
            Err(problem) => problems.push(problem),
        }
    }
    bail!("{}", problems.join("; "))
}

/// Without a health check any answer of HTTP will do; with one, it must be a success.
async fn answers(
    base: &str,
    upstream: &Upstream,
    identity: Option<Identity>,
    resolver: &Resolver,
    allow: &[IpNet],
) -> anyhow::Result<()> {
    let url = Url::parse(base).context("not a URL")?;
    let host = url.host_str().context("names no host")?;
    let port = url.port_or_known_default().context("has no port")?;
    let addresses = resolver.addresses(host, allow).await?;
    let addresses: Vec<_> =
        addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    let tls = &upstream.tls;
    // The client asks for and verifies the name in its URL; the host stays in the request.
    let name = tls.sni.as_deref().filter(|_| url.scheme() == "https").unwrap_or(host);
    // Pinned to the addresses that were judged; redirects would lead elsewhere.
    let mut client = reqwest::Client::builder()
        .resolve_to_addrs(name, &addresses)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    // Over TLS the two agree on it by themselves.
    if upstream.protocol == Protocol::Http2 && url.scheme() == "http" {
        client = client.http2_prior_knowledge();
    }
    if let Some(pem) = &tls.ca_pem {
        let trusted = reqwest::Certificate::from_pem_bundle(pem.as_bytes())?;
        client = client.tls_certs_only(trusted);
    }
    if let Some(identity) = identity {
        client = client.identity(identity);
    }
    let client = client.build().context("building an HTTP client")?;
    let check = upstream.health_check.as_ref();
    let path = check.map_or("/", |check| check.path.as_str());
    let mut target = Url::parse(&format!("{}{path}", base.trim_end_matches('/')))?;
    let authority = target.authority().to_owned();
    target.set_host(Some(name)).context("not a name")?;
    let request = client.get(target).header(http::header::HOST, authority);
    let response = request.send().await.map_err(|error| {
        // The source says what happened; the error itself only repeats the URL.
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        anyhow::anyhow!(cause.unwrap_or_else(|| "no answer".to_owned()))
    })?;
    let status = response.status();
    ensure!(
        check.is_none() || status.is_success(),
        "the health check {path} answered {}",
        status.as_u16()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::JoinHandle;

    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

    const CA: &str = include_str!("../../../tests/tls/ca.pem");
    const OTHER_CA: &str = include_str!("../../../tests/tls/other.pem");

    /// A server for `upstream.test` that answers one request, and gives its head; it may demand a
    /// certificate.
    fn serve(demands: bool) -> (u16, JoinHandle<String>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificate = include_bytes!("../../../tests/tls/server.pem");
        let key = include_bytes!("../../../tests/tls/server.key");
        let mut trusted = RootCertStore::empty();
        let authority = include_bytes!("../../../tests/tls/client-ca.pem");
        trusted.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(trusted)).build().unwrap();
        let verifier = if demands { verifier } else { WebPkiClientVerifier::no_client_auth() };
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate).unwrap()],
                PrivateKeyDer::from_pem_slice(key).unwrap(),
            )
            .unwrap();
        let serving = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let mut head = vec![];
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => return String::new(),
                }
            }
            let answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(head).unwrap()
        });
        (port, serving)
    }

    fn resolver() -> Resolver {
        Resolver::new(None).unwrap()
    }

    async fn ask(tls: serde_json::Value) -> (anyhow::Result<()>, u16, String) {
        let (port, serving) = serve(false);
        let base = format!("https://127.0.0.1:{port}/base");
        let upstream = json!({ "urls": [base], "healthCheck": {}, "tls": tls });
        let upstream: Upstream = serde_json::from_value(upstream).unwrap();
        let allow = ["127.0.0.0/8".parse().unwrap()];
        let answered = answers(&base, &upstream, None, &resolver(), &allow).await;
        (answered, port, serving.join().unwrap())
    }

    #[tokio::test]
    async fn an_upstream_that_demands_a_certificate_gets_the_proxies() {
        let key = include_bytes!("../../../tests/tls/client.key");
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        let chain = include_str!("../../../tests/tls/client.pem");
        let identity =
            Identity::from_pem(pem(chain, key.secret_der()).unwrap().as_bytes()).unwrap();
        for (identity, lets_in) in [(Some(identity), true), (None, false)] {
            let (port, serving) = serve(true);
            let base = format!("https://127.0.0.1:{port}");
            let tls = json!({ "caPem": CA, "sni": "upstream.test" });
            let upstream = json!({ "urls": [base], "healthCheck": {}, "tls": tls });
            let upstream: Upstream = serde_json::from_value(upstream).unwrap();
            let allow = ["127.0.0.0/8".parse().unwrap()];
            let answered = answers(&base, &upstream, identity, &resolver(), &allow).await;
            let head = serving.join().unwrap();
            assert_eq!((answered.is_ok(), !head.is_empty()), (lets_in, lets_in), "{answered:?}");
        }
    }

    #[tokio::test]
    async fn an_upstream_is_verified_by_its_own_authority_and_name() {
        let (answered, port, head) = ask(json!({ "caPem": CA, "sni": "upstream.test" })).await;
        answered.unwrap();
        assert!(head.starts_with("GET /base/health HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains(&format!("host: 127.0.0.1:{port}\r\n")), "{head}");
        for tls in [
            json!({ "caPem": OTHER_CA, "sni": "upstream.test" }),
            json!({ "caPem": CA, "sni": "another.test" }),
            json!({ "caPem": CA }),
            json!({ "sni": "upstream.test" }),
        ] {
            let (answered, _, head) = ask(tls.clone()).await;
            assert!(answered.is_err() && head.is_empty(), "{tls}: {head}");
        }
    }
}
