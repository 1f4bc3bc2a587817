//! Our proxy, as it is shipped: the real program with its journal, metrics and limits, fed by a
//! control plane that lives in this process and only counts the usage that it gets.

use std::net::SocketAddr;

use crate::control::{Control, TOKEN};
use crate::ground::{Ground, free};
use crate::process::{Process, SUBJECT_CORE};
use anyhow::Context;

pub struct Authsome {
    pub process: Process,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    admin: SocketAddr,
    _control: Control,
    /// The control plane's.
    runtime: tokio::runtime::Runtime,
}

impl Authsome {
    pub fn start(ground: &Ground, access_log: bool) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let control = runtime.block_on(Control::start(ground.world.changes.clone()));
        control.only_count();
        let (plain, tls, admin) = (free()?, free()?, free()?);
        let name = format!("authsome-{}", plain.port());
        let path = |file: &str| ground.path(file).display().to_string();
        let log = if access_log { path(&format!("{name}.access")) } else { "off".to_owned() };
        let settings = format!(
            "[server]\nlisten = \"{plain}\"\nadmin_listen = \"{admin}\"\ndata_dir = \"{}\"\n\
             [control]\nurl = \"http://{}\"\ntoken = \"{TOKEN}\"\n\
             [tls]\nlisten = \"{tls}\"\ncert_file = \"{}\"\nkey_file = \"{}\"\n\
             [connections]\nrefusals_per_second = 0\n\
             [log]\nlevel = \"error\"\naccess_log = \"{log}\"\n",
            path(&name),
            control.address,
            path("cert.pem"),
            path("key.pem"),
        );
        let config = ground.path(&format!("{name}.toml"));
        std::fs::write(&config, settings)?;
        let out = ground.path(&format!("{name}.log"));
        let program = program("authsome-proxy")?;
        let command = [&*program, "--config", &config.display().to_string()];
        let mut process = Process::start("AuthSome", SUBJECT_CORE, &command, &out)?;
        process
            .wait_until(|| get(&runtime, admin, "ready").is_ok())
            .with_context(|| std::fs::read_to_string(&out).unwrap_or_default())?;
        Ok(Self { process, plain, tls, admin, _control: control, runtime })
    }

    /// Its metrics, in the text format.
    pub fn metrics(&self) -> anyhow::Result<String> {
        get(&self.runtime, self.admin, "metrics")
    }
}

fn get(runtime: &tokio::runtime::Runtime, admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    runtime.block_on(async {
        let answer = reqwest::get(format!("http://{admin}/{path}")).await?.error_for_status()?;
        Ok(answer.text().await?)
    })
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
