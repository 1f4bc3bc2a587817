//! Our proxy, as it is shipped: the real program with its journal, metrics and limits, fed by a
//! control plane that lives in this process and only counts the usage that it gets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use authsome_shared::snapshot::Change;
use tokio::runtime::Runtime;

use crate::control::{Control, TOKEN};
use crate::ground::{Ground, free};
use crate::process::{Process, SUBJECT_CORE};

/// The control plane of one or more proxies.
pub struct Plane {
    control: Control,
    runtime: Runtime,
}

/// One that serves.
pub struct Proxy {
    process: Process,
    pub address: SocketAddr,
    admin: SocketAddr,
}

impl Plane {
    pub fn start(changes: Vec<Change>) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let control = runtime.block_on(Control::start(changes));
        control.only_count();
        Ok(Self { control, runtime })
    }

    /// Starts a proxy with these settings beside those that all have, and waits until it serves.
    pub fn proxy(
        &self,
        ground: &Ground,
        program: &str,
        name: &str,
        settings: &str,
    ) -> anyhow::Result<Proxy> {
        let (address, admin) = (free()?, free()?);
        let path = |end: &str| ground.path(&format!("{name}{end}"));
        let text = format!(
            "[server]\nlisten = \"{address}\"\nadmin_listen = \"{admin}\"\ndata_dir = \"{}\"\n\
             [control]\nurl = \"http://{}\"\ntoken = \"{TOKEN}\"\n{settings}",
            path("").display(),
            self.control.address,
        );
        std::fs::write(path(".toml"), text)?;
        let command = [program, "--config", &path(".toml").display().to_string()];
        let mut process = Process::start(name, SUBJECT_CORE, &command, &path(".log"))?;
        process.wait_until(|| self.get(admin, "ready").is_ok()).with_context(|| {
            std::fs::read_to_string(path(".log")).unwrap_or_default().trim_end().to_owned()
        })?;
        Ok(Proxy { process, address, admin })
    }

    /// A proxy's metrics, in the text format.
    pub fn metrics(&self, proxy: &Proxy) -> anyhow::Result<String> {
        self.get(proxy.admin, "metrics")
    }

    fn get(&self, admin: SocketAddr, path: &str) -> anyhow::Result<String> {
        self.runtime.block_on(async {
            let answer = reqwest::get(format!("http://{admin}/{path}")).await?;
            Ok(answer.error_for_status()?.text().await?)
        })
    }
}

impl Proxy {
    /// What it has run so far.
    pub fn processor(&self) -> Duration {
        self.process.processor()
    }

    /// Lets it run before whatever else there is on the machine.
    pub fn urgent(&self) -> anyhow::Result<()> {
        self.process.urgent()
    }
}

/// A subject among others.
pub struct Authsome {
    proxy: Proxy,
    pub tls: SocketAddr,
    plane: Plane,
}

impl Authsome {
    pub fn start(ground: &Ground, access_log: bool) -> anyhow::Result<Self> {
        let plane = Plane::start(ground.world.changes.clone())?;
        let tls = free()?;
        let name = format!("authsome-{}", tls.port());
        let path = |file: &str| ground.path(file).display().to_string();
        let log = if access_log { path(&format!("{name}.access")) } else { "off".to_owned() };
        let settings = format!(
            "[tls]\nlisten = \"{tls}\"\ncert_file = \"{}\"\nkey_file = \"{}\"\n\
             [connections]\nrefusals_per_second = 0\n\
             [log]\nlevel = \"error\"\naccess_log = \"{log}\"\n",
            path("cert.pem"),
            path("key.pem"),
        );
        let proxy = plane.proxy(ground, &program("authsome-proxy")?, &name, &settings)?;
        Ok(Self { proxy, tls, plane })
    }

    pub fn plain(&self) -> SocketAddr {
        self.proxy.address
    }

    pub fn process(&self) -> &Process {
        &self.proxy.process
    }

    /// Its metrics, in the text format.
    pub fn metrics(&self) -> anyhow::Result<String> {
        self.plane.metrics(&self.proxy)
    }
}

/// A program that was built with this one.
pub fn program(name: &str) -> anyhow::Result<String> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(
        path.is_file(),
        "{} is missing: build it with the profile that this program has",
        path.display()
    );
    Ok(path.display().to_string())
}
