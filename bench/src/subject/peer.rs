//! Starts others' programs with settings of ours, from `peers/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};

use super::Kind;
use crate::ground::{Ground, free, is_open};
use crate::process::{Process, SUBJECT_CORE};

pub fn start(kind: Kind, ground: &Ground) -> anyhow::Result<(Process, SocketAddr, SocketAddr)> {
    let (plain, tls) = (free()?, free()?);
    let settings = |name: &str, template: &str| ground.settings(name, template, plain, tls);
    let nginx = |path: String| {
        vec!["nginx".to_owned(), "-c".to_owned(), path, "-e".into(), "stderr".into()]
    };
    let haproxy =
        |path: String| vec!["haproxy".to_owned(), "-db".to_owned(), "-f".to_owned(), path];
    let command = match kind {
        Kind::Bare => bare(ground, plain, tls)?,
        Kind::NginxPlain => {
            nginx(settings("nginx-plain.conf", include_str!("../../peers/nginx-plain.conf"))?)
        }
        Kind::NginxKeys => {
            ground.list("nginx-keys.map", |key, id, _| format!("\"Bearer {key}\" {id};"))?;
            nginx(settings("nginx-keys.conf", include_str!("../../peers/nginx-keys.conf"))?)
        }
        Kind::NginxLua => {
            ground.list("lua-keys.txt", |key, id, limited| {
                let (requests, window) = if limited { (2, 3_600) } else { (100_000, 1) };
                format!("{key} {id} {} {requests} {window}", crate::world::APPLICATION)
            })?;
            settings("gate.lua", include_str!("../../peers/gate.lua"))?;
            nginx(settings("nginx-lua.conf", include_str!("../../peers/nginx-lua.conf"))?)
        }
        Kind::HaproxyPlain => {
            haproxy(settings("haproxy-plain.cfg", include_str!("../../peers/haproxy-plain.cfg"))?)
        }
        Kind::HaproxyKeys => {
            ground.list("haproxy-keys.map", |key, id, _| format!("{} {id}", digest(key)))?;
            haproxy(settings("haproxy-keys.cfg", include_str!("../../peers/haproxy-keys.cfg"))?)
        }
        Kind::Pingap => {
            let path = settings("pingap.toml", include_str!("../../peers/pingap.toml"))?;
            vec![pingap().context("Pingap is not installed")?, "-c".to_owned(), path]
        }
        Kind::Direct | Kind::Authsome | Kind::AuthsomeLog => bail!("{} is no peer", kind.name()),
    };
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let log = ground.path(&format!("{kind:?}.log"));
    let mut process = Process::start(kind.name(), SUBJECT_CORE, &command, &log)?;
    process
        .wait_until(|| is_open(plain))
        .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
    Ok((process, plain, tls))
}

fn bare(ground: &Ground, plain: SocketAddr, tls: SocketAddr) -> anyhow::Result<Vec<String>> {
    let path = |name: &str| ground.path(name).display().to_string();
    let program = super::authsome::program("bare")?;
    let options = [
        ("--listen", plain.to_string()),
        ("--tls-listen", tls.to_string()),
        ("--certificate", path("cert.pem")),
        ("--key", path("key.pem")),
        ("--upstream", ground.upstream.to_string()),
        ("--dir", path("")),
    ];
    let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    Ok(std::iter::once(program).chain(options).collect())
}

/// SHA-256 in capital hexadecimal digits.
fn digest(key: &str) -> String {
    let digest = authsome_shared::api_key::KeyDigest::of(key);
    serde_json::to_value(digest)
        .ok()
        .and_then(|value| value.as_str().map(str::to_uppercase))
        .unwrap_or_default()
}

/// Where `scripts/bench` puts it, or wherever it is found.
fn pingap() -> Option<String> {
    let ours = std::env::current_exe().ok()?.parent()?.parent()?.join("tools/bin/pingap");
    let path = std::env::var_os("PATH")?;
    let elsewhere = std::env::split_paths(&path).map(|dir| dir.join("pingap"));
    let found: PathBuf = std::iter::once(ours).chain(elsewhere).find(|path| path.is_file())?;
    Some(found.display().to_string())
}

pub fn has_pingap() -> bool {
    pingap().is_some()
}

pub fn pingap_version() -> Option<String> {
    let output = std::process::Command::new(pingap()?).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
