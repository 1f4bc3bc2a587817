//! A control plane alone, as a process with settings of its own, on a port that stays the same over
//! restarts.

use std::path::Path;

use tempfile::TempDir;

use crate::api::Api;
use crate::database::Database;
use crate::platform::ready;
use crate::process::Process;
use crate::split::free_port;
use crate::turn::Turn;
use crate::urls::Urls;

pub struct ControlPlane {
    pub process: Process,
    pub urls: Urls,
    settings: Vec<(String, String)>,
    data: TempDir,
    database: Option<Database>,
    _turn: Turn,
}

impl ControlPlane {
    /// With settings: variables of the environment, without `AUTHSOME_CONTROL__`.
    pub async fn start(settings: Vec<(String, String)>) -> Self {
        Self::start_at(&format!("http://127.0.0.1:{}", free_port()), settings).await
    }

    /// At a URL that others know already.
    pub async fn start_at(url: &str, settings: Vec<(String, String)>) -> Self {
        let turn = Turn::among_others().await;
        let urls = Urls::default();
        urls.set(url, url, url);
        let data = TempDir::new().expect("a temporary folder");
        let database = Database::create();
        let process = spawn(&urls, &settings, data.path(), database.as_ref()).await;
        Self { process, urls, settings, data, database, _turn: turn }
    }

    /// Kills it, and starts it again on the same data.
    pub async fn restart(&mut self) {
        self.process.kill_9();
        self.start_again().await;
    }

    /// Lets it end, and starts it again on the same data.
    pub async fn restart_gently(&mut self) {
        self.process.terminate().await;
        self.start_again().await;
    }

    async fn start_again(&mut self) {
        let database = self.database.as_ref();
        self.process = spawn(&self.urls, &self.settings, self.data.path(), database).await;
    }

    pub fn anonymous(&self) -> Api {
        Api::anonymous(&self.urls)
    }

    /// Every mail written as a file so far, oldest first.
    pub fn mails(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.data.path().join("mail")) else { return vec![] };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }

    pub fn url(&self, path: &str) -> String {
        self.urls.control() + path
    }
}

async fn spawn(
    urls: &Urls,
    settings: &[(String, String)],
    data: &Path,
    database: Option<&Database>,
) -> Process {
    let control = urls.control();
    let listen = control.strip_prefix("http://").expect("a plain URL");
    let mut args = vec!["--data-dir", data.to_str().expect("UTF-8"), "--listen", listen];
    let url = database.map(Database::url);
    if let Some(url) = &url {
        args.extend(["--database-url", url]);
    }
    let settings: Vec<(String, &String)> =
        settings.iter().map(|(name, value)| (format!("AUTHSOME_CONTROL__{name}"), value)).collect();
    let env: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut process = Process::start("authsome-control-plane", &args, &env);
    ready(&mut [&mut process], std::slice::from_ref(&control)).await;
    process
}
