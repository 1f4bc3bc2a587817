//! One control plane and several proxies, each with a data folder and addresses of its own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::http_client;
use crate::call::Caller;
use crate::platform::ready;
use crate::process::Process;
use crate::split::{self, Split, free_port};
use crate::urls::Urls;
use crate::wait;

pub struct Fleet {
    /// The control plane and the first proxy.
    pub first: Split,
    /// The others.
    pub others: Vec<Member>,
}

pub struct Member {
    pub process: Process,
    pub urls: Urls,
}

impl Fleet {
    /// `proxies` in all, with these settings in their environment.
    pub async fn start(proxies: usize, env: &[(&'static str, &str)]) -> Self {
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let first = Split::start_with(&env).await;
        let mut fleet = Self { first, others: vec![] };
        for _ in 1..proxies {
            fleet.join().await;
        }
        fleet.shared_by(proxies).await;
        fleet
    }

    /// Another proxy, once it is ready.
    pub async fn join(&mut self) -> &mut Member {
        let url = || format!("http://127.0.0.1:{}", free_port());
        let urls = Urls::default();
        urls.set(&self.first.urls.control(), &url(), &url());
        let folder = self.folder(self.others.len());
        fs::create_dir_all(&folder).expect("a folder");
        let token = self.first.proxy_dir().join("node.token");
        fs::copy(token, folder.join("node.token")).expect("a copy");
        let mut process = self.spawn(self.others.len(), &urls);
        ready(&mut [&mut process], &[urls.proxy_admin()]).await;
        self.others.push(Member { process, urls });
        self.others.last_mut().expect("just pushed")
    }

    /// Starts one of the others again, in its folder.
    pub async fn restart(&mut self, number: usize) {
        let mut process = self.spawn(number, &self.others[number].urls);
        ready(&mut [&mut process], &[self.others[number].urls.proxy_admin()]).await;
        self.others[number].process = process;
    }

    fn folder(&self, number: usize) -> PathBuf {
        self.first.proxy_dir().with_file_name(format!("edge-{number}"))
    }

    fn spawn(&self, number: usize, urls: &Urls) -> Process {
        split::proxy(&self.folder(number), urls, &urls.control(), &self.first.settings)
    }

    /// Where every proxy is reached.
    pub fn urls(&self) -> Vec<Urls> {
        let others = self.others.iter().map(|member| member.urls.clone());
        std::iter::once(self.first.urls.clone()).chain(others).collect()
    }

    /// One caller with the same key at each proxy, once each knows it.
    pub async fn callers(&self, application: &str, key: &str) -> Vec<Caller> {
        let mut callers = vec![];
        for urls in self.urls() {
            callers.push(known(&urls, application, key).await);
        }
        callers
    }

    /// Waits for every proxy to hold its share as one of `proxies`.
    pub async fn shared_by(&self, proxies: usize) {
        for urls in self.urls() {
            metric_becomes(&urls, "authsome_proxy_fleet_proxies", proxies as u64).await;
        }
    }
}

/// A caller at one proxy, once that serves the application. Costs a call.
pub async fn known(urls: &Urls, application: &str, key: &str) -> Caller {
    let caller = Caller::new(urls, application, key);
    wait::until("the proxy knows the application", Duration::from_secs(10), async || {
        let status = caller.try_get("/known").await.ok()?.status;
        (status != 401 && status != 404 && status != 503).then_some(())
    })
    .await;
    caller
}

/// The value of a proxy's metric, labels included in its name; 0 when it is absent.
pub async fn metric(urls: &Urls, name: &str) -> u64 {
    let url = format!("{}/metrics", urls.proxy_admin());
    let answer = http_client().get(&url).send().await.expect("the proxy runs");
    let text = answer.text().await.expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().expect("a number"))
}

pub async fn metric_becomes(urls: &Urls, name: &str, wanted: u64) {
    let what = format!("{name} becomes {wanted}");
    wait::until(&what, Duration::from_secs(20), async || {
        (metric(urls, name).await == wanted).then_some(())
    })
    .await;
}
