//! Provisioning: an application becomes active once its upstream answers and every connected proxy
//! knows it. Run as a job; an attempt that fails says why, and the job tries again or gives up.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use authsome_shared::egress;
use authsome_shared::id::ApplicationId;
use authsome_shared::snapshot::DefaultUpstream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ipnet::IpNet;
use url::Url;

use super::config::{HealthCheck, Upstream};
use super::{Status, store};
use crate::app::App;
use crate::{platform, proxies, revisions};

/// One attempt. Nothing to do when the application is no longer being provisioned.
pub async fn attempt(app: &App, id: &ApplicationId) -> anyhow::Result<()> {
    let mut tx = app.db.read().await?;
    let Some(application) = store::by_id(&mut tx, id).await? else { return Ok(()) };
    if application.status != Status::Provisioning {
        return Ok(());
    }
    let settings = platform::settings(&mut tx).await?;
    let (_, revision) = platform::head(&mut tx).await?;
    drop(tx);

    match (application.config()?.upstream, settings.default_upstream) {
        (Some(upstream), _) => any_answers(app, &upstream, &settings.egress_allow).await?,
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
    if application.status != Status::Provisioning {
        return Ok(());
    }
    application.status = application.status.to(status)?;
    application.status_reason = reason;
    application.updated_at = tx.now();
    store::update(&mut tx, &application).await?;
    revisions::append(&mut tx, vec![application.change()?]).await?;
    tx.commit().await?;
    tracing::info!(application = %id, ?status, "provisioned");
    Ok(())
}

/// At least one of the upstream's URLs must answer. All are asked at once, so that many take no
/// longer than one.
async fn any_answers(app: &App, upstream: &Upstream, allow: &[IpNet]) -> anyhow::Result<()> {
    let check = upstream.health_check.as_ref();
    let default_timeout = app.config.applications.provision_timeout_ms;
    let timeout = Duration::from_millis(check.map_or(default_timeout, |check| check.timeout_ms));
    let mut asked: FuturesUnordered<_> = upstream
        .urls
        .iter()
        .map(async |url| {
            let answered = tokio::time::timeout(timeout, answers(url, check, allow)).await;
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
async fn answers(base: &str, check: Option<&HealthCheck>, allow: &[IpNet]) -> anyhow::Result<()> {
    let url = Url::parse(base).context("not a URL")?;
    let host = url.host_str().context("names no host")?;
    let port = url.port_or_known_default().context("has no port")?;
    let addresses = resolve(host, port, allow).await?;
    // Pinned to the addresses that were judged; redirects would lead elsewhere.
    let client = reqwest::Client::builder()
        .resolve_to_addrs(host, &addresses)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .context("building an HTTP client")?;
    let path = check.map_or("/", |check| check.path.as_str());
    let target = format!("{}{path}", base.trim_end_matches('/'));
    let response = client.get(target).send().await.map_err(|error| {
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

/// The addresses behind a host that may be connected to.
async fn resolve(host: &str, port: u16, allow: &[IpNet]) -> anyhow::Result<Vec<SocketAddr>> {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let addresses: Vec<SocketAddr> = match literal {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .with_context(|| format!("{host} does not resolve"))?
            .collect(),
    };
    ensure!(!addresses.is_empty(), "{host} does not resolve");
    let allowed: Vec<SocketAddr> =
        addresses.into_iter().filter(|address| egress::is_allowed(address.ip(), allow)).collect();
    ensure!(
        !allowed.is_empty(),
        "{host} is not at a public address; the operator can allow its network by egress.allow"
    );
    Ok(allowed)
}
