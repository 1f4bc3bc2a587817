//! Where the control plane connects to on a user's word: webhooks and upstreams. A URL is judged
//! when it is given ([`judge`]), and every address it leads to again when a connection is made: the
//! resolver that [`client`] connects by passes on only addresses that the rule allows, and they are
//! the ones connected to, so that a name can't change its mind in between.
//!
//! The rule itself is `authsome_shared::egress`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use authsome_shared::egress::is_allowed;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// How long a name may take when a URL is given; whether it resolves at all is found out later.
const GIVEN: Duration = Duration::from_secs(2);

const MAX_URL: usize = 2_048;

/// Ports of other protocols that a request could be mistaken in: those that browsers refuse
/// (WHATWG Fetch, "bad port"), and that of Redis.
const BAD_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666,
    6667, 6668, 6669, 6679, 6697,
];

/// Finds the addresses of names.
#[derive(Debug, Clone)]
pub struct Resolver(Source);

#[derive(Clone)]
enum Source {
    /// As every program of this machine.
    System,
    Server(Arc<TokioResolver>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Server(_) => "Server",
        })
    }
}

impl Resolver {
    /// Asks the given server, else the system.
    pub fn new(server: Option<SocketAddr>) -> anyhow::Result<Self> {
        let Some(server) = server else { return Ok(Self(Source::System)) };
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        let connections = connections.map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        // Asked anew at each connection.
        options.cache_size = 0;
        let resolver = builder.build().context("egress.dns_server can't be used")?;
        Ok(Self(Source::Server(Arc::new(resolver))))
    }

    async fn lookup(&self, host: &str) -> anyhow::Result<Vec<IpAddr>> {
        match &self.0 {
            Source::System => {
                let found = tokio::net::lookup_host((host, 0)).await;
                let found = found.with_context(|| format!("{host} does not resolve"))?;
                Ok(found.map(|address| address.ip()).collect())
            }
            Source::Server(resolver) => {
                // With its dot: no search lists.
                let name = format!("{}.", host.trim_end_matches('.'));
                let found = resolver.lookup_ip(name).await;
                let found =
                    found.map_err(|error| anyhow::anyhow!("{host} does not resolve: {error}"))?;
                Ok(found.iter().collect())
            }
        }
    }

    /// The addresses behind a host that may be connected to; at least one.
    pub async fn addresses(&self, host: &str, allow: &[IpNet]) -> anyhow::Result<Vec<IpAddr>> {
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let found = match literal {
            Ok(address) => vec![address],
            Err(_) => self.lookup(host).await?,
        };
        ensure!(!found.is_empty(), "{host} does not resolve");
        let allowed: Vec<IpAddr> =
            found.into_iter().filter(|address| is_allowed(*address, allow)).collect();
        ensure!(!allowed.is_empty(), "{}", not_public(host));
        Ok(allowed)
    }
}

fn not_public(host: &str) -> String {
    format!("{host} is not at a public address; the operator can allow its network by egress.allow")
}

/// The URL, if it may be connected to as far as can be told from its text. The message is for the
/// user.
pub fn check_url(text: &str, allow: &[IpNet]) -> Result<Url, String> {
    if text.len() > MAX_URL {
        return Err(format!("the URL may have at most {MAX_URL} characters"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("the URL must hold printable characters only".into());
    }
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the URL must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must not hold credentials".into());
    }
    if url.fragment().is_some() {
        return Err("the URL must not hold a fragment".into());
    }
    let port = url.port_or_known_default().unwrap_or_default();
    if BAD_PORTS.contains(&port) {
        return Err(format!("the URL must not lead to port {port}, which is another protocol's"));
    }
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(_)) => None,
        None => return Err("the URL must name a host".into()),
    };
    match address {
        Some(address) if !is_allowed(address, allow) => Err(not_public(&address.to_string())),
        _ => Ok(url),
    }
}

/// As [`check_url`], and a name must not lead to addresses that are not allowed. One that does not
/// resolve just now is let pass: it is judged again whenever it is connected to.
pub async fn judge(resolver: &Resolver, text: &str, allow: &[IpNet]) -> Result<Url, String> {
    let url = check_url(text, allow)?;
    if let Some(Host::Domain(host)) = url.host()
        && let Ok(Ok(found)) = tokio::time::timeout(GIVEN, resolver.lookup(host)).await
        && !found.is_empty()
        && !found.iter().any(|address| is_allowed(*address, allow))
    {
        return Err(not_public(host));
    }
    Ok(url)
}

/// The resolver of a client: passes on allowed addresses only.
struct Guarded {
    resolver: Resolver,
    allow: Arc<[IpNet]>,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (resolver, allow) = (self.resolver.clone(), Arc::clone(&self.allow));
        Box::pin(async move {
            let found = resolver.addresses(name.as_str(), &allow).await?;
            // The port is the URL's.
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as Addrs)
        })
    }
}

/// A client that connects to allowed addresses only, if each URL it is given has passed
/// [`check_url`]: hosts that are addresses are not resolved. It follows no redirects, knows no
/// proxies, and keeps no connections, so that each request is judged anew.
pub fn client(
    resolver: &Resolver,
    allow: &[IpNet],
    timeout: Duration,
) -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .dns_resolver(Guarded { resolver: resolver.clone(), allow: allow.into() })
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .pool_max_idle_per_host(0)
        .timeout(timeout)
        .build()
        .context("building an HTTP client")
}
