//! Our proxy, as it is shipped: the real program with its journal, metrics and limits, fed by a
//! control plane that lives in this process and only counts the usage that it gets.

use std::net::SocketAddr;

use anyhow::Context;
use authsome_shared::api_key::{KeyDigest, KeyType};
use authsome_shared::snapshot::{
    Application, ApplicationStatus, Change, Key, KeySource, RateLimit, Settings, Upstream,
    Workspace, WorkspaceStatus,
};

use crate::control::{Control, TOKEN};
use crate::ground::{APPLICATION, Ground, free, key_id};
use crate::process::{Process, SUBJECT_CORE};

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
        let control = runtime.block_on(Control::start(world(ground)?));
        let (plain, tls, admin) = (free()?, free()?, free()?);
        let name = format!("authsome-{}", plain.port());
        let path = |file: &str| ground.path(file).display().to_string();
        let log = if access_log { path(&format!("{name}.access")) } else { "off".to_owned() };
        let settings = format!(
            "[server]\nlisten = \"{plain}\"\nadmin_listen = \"{admin}\"\ndata_dir = \"{}\"\n\
             [control]\nurl = \"http://{}\"\ntoken = \"{TOKEN}\"\n\
             [tls]\nlisten = \"{tls}\"\ncert_file = \"{}\"\nkey_file = \"{}\"\n\
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
    anyhow::ensure!(path.is_file(), "{} is not built", path.display());
    Ok(path.display().to_string())
}

/// One application with all keys: a limit per key, a quota, trusted headers.
fn world(ground: &Ground) -> anyhow::Result<Vec<Change>> {
    let workspace = "ws_0000000000000000000001";
    let limit = RateLimit::fast(100_000, 1_000, 100_000);
    let mut changes = vec![
        Change::Settings(Settings {
            default_upstream: None,
            egress_allow: vec!["127.0.0.0/8".parse().context("a network")?],
        }),
        Change::Workspace(Workspace {
            id: workspace.parse().context("an id")?,
            status: WorkspaceStatus::Active,
            rate_limit: limit,
            quota: Some(1_000_000_000_000),
        }),
        Change::Application(Box::new(Application {
            id: APPLICATION.parse().context("an id")?,
            workspace: workspace.parse().context("an id")?,
            environment: "production".into(),
            region: "us-east-1".into(),
            status: ApplicationStatus::Active,
            generation: 0,
            upstream: Some(Upstream {
                urls: vec![format!("http://{}", ground.upstream)],
                ..Upstream::default()
            }),
            routes: vec![],
            rate_limit: None,
            quota: None,
            quota_hard: false,
            max_body_bytes: 64 * 1024 * 1024,
            accept: vec![KeySource::Bearer],
            end_user_header: "x-authsome-user-id".into(),
        })),
    ];
    let key = |text: &str, id: &str, rate_limit| -> anyhow::Result<Change> {
        let id: authsome_shared::id::KeyId = id.parse().context("an id")?;
        Ok(Change::Key(Box::new(Key {
            digest: KeyDigest::of(text),
            application: APPLICATION.parse().context("an id")?,
            key_type: KeyType::Secret,
            scopes: vec!["*".into()],
            expires_at: None,
            allowed_ips: vec![],
            rate_limit,
            quota: None,
            bucket: id.clone(),
            id,
        })))
    };
    for (n, text) in ground.keys.iter().enumerate() {
        changes.push(key(text, &key_id(n), None)?);
    }
    let hourly = RateLimit::fast(2, 3_600_000, 2);
    changes.push(key(&ground.limited, "key_limited", Some(hourly))?);
    Ok(changes)
}
