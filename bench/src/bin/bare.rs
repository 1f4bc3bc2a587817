//! `bare`: the engine alone, which passes everything on to one upstream. What the proxy costs
//! beyond it is the price of our own work. It has the proxy's engine, allocator and profile.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use async_trait::async_trait;
use clap::Parser;
use pingora::Result;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::{ProxyHttp, Session};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pingora, passing everything on.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    tls_listen: Option<SocketAddr>,
    #[arg(long, requires = "tls_listen")]
    certificate: Option<PathBuf>,
    #[arg(long, requires = "tls_listen")]
    key: Option<PathBuf>,
    #[arg(long)]
    upstream: SocketAddr,
    /// For Pingora's own files.
    #[arg(long)]
    dir: PathBuf,
}

struct Bare {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let path = |name: &str| arguments.dir.join(name).display().to_string();
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 4_096,
        pid_file: path("bare.pid"),
        upgrade_sock: path("bare.sock"),
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let bare = Bare { upstream: arguments.upstream };
    let mut service = pingora::proxy::http_proxy_service(&server.configuration, bare);
    service.add_tcp(&arguments.listen.to_string());
    if let Some(listen) = arguments.tls_listen {
        let file = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| path.display().to_string()).context("no certificate")
        };
        let (certificate, key) = (file(&arguments.certificate)?, file(&arguments.key)?);
        let mut tls = TlsSettings::intermediate(&certificate, &key)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        tls.enable_h2();
        service.add_tls_with_settings(&listen.to_string(), None, tls);
    }
    server.add_service(service);
    server.run_forever()
}
