//! Keys created and listed at a constant rate, by a signed-in user over the public API, with two
//! proxies that are told of every key. Latencies count from the moment at which a request was due,
//! so that a stall shows in all that wait behind it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use authsome_e2e::api::http_client;
use authsome_shared::id::NodeId;
use serde_json::json;
use tokio::time::Instant;

use super::platform::Platform;
use super::{Arguments, spread};

const PROXIES: usize = 2;

/// A kind of request, and how long its answers took.
struct Kind {
    name: &'static str,
    path: fn(keys: usize, number: usize) -> String,
}

/// Pages of 20 but for the last kind; the deepest is the last page that was full at the start.
const LISTS: [Kind; 4] = [
    Kind { name: "list, first page", path: |_, _| String::new() },
    Kind {
        name: "list, any page",
        path: |keys, number| format!("?page={}", number * 7_919 % (keys / 20) + 1),
    },
    Kind { name: "list, last page", path: |keys, _| format!("?page={}", keys / 20) },
    Kind { name: "list, first 100", path: |_, _| "?pageSize=100".to_owned() },
];

pub async fn measure(platform: &mut Platform, arguments: &Arguments) -> anyhow::Result<()> {
    let mut application = spread::application(platform, None).await?;
    spread::add_keys(platform, &mut application, arguments.keys).await?;
    spread::settle(platform).await?;
    for _ in 0..PROXIES {
        follow(platform).await?;
    }
    let path = format!("/control/v1/applications/{}/keys", application.id);
    let run = Run { platform, path: &path, arguments };
    run.at_rate(arguments.duration() / 10).await?;
    let before = platform.taken()?;
    let mut took = run.at_rate(arguments.duration()).await?;
    let taken = platform.taken()?.since(before);

    let pairs = took.iter().map(|(_, took)| took.len()).sum::<usize>() / 2;
    println!(
        "keys:  {} created and {0} listed a second, among {}; CPU a pair: control plane {:.2} ms, \
         database {:.2} ms",
        arguments.rate,
        arguments.keys,
        per(taken.control_plane, pairs),
        per(taken.database, pairs),
    );
    for (name, took) in &mut took {
        took.sort_by_key(|answer| answer.after);
        let at = |part: usize| took[(took.len() * part / 1_000).min(took.len() - 1)].after;
        println!(
            "       {name}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} requests, {} refused)",
            per(at(500), 1),
            per(at(990), 1),
            per(at(1_000), 1),
            took.len(),
            took.iter().filter(|answer| answer.refused).count(),
        );
    }
    Ok(())
}

/// Milliseconds of each.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
fn per(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e3 / count as f64
}

/// A proxy that reads its stream for as long as the platform runs.
async fn follow(platform: &Platform) -> anyhow::Result<()> {
    let url =
        format!("{}/node/v1/stream?node={}&revision=0", platform.urls.control(), NodeId::new());
    let client = reqwest::Client::builder().build()?;
    let request = client.get(url).bearer_auth(platform.node_token()?);
    let mut stream = request.send().await?;
    ensure!(stream.status().is_success(), "a proxy's stream: {}", stream.status());
    tokio::spawn(async move { while let Ok(Some(_)) = stream.chunk().await {} });
    Ok(())
}

struct Run<'a> {
    platform: &'a Platform,
    path: &'a str,
    arguments: &'a Arguments,
}

/// An answer: how long after it was due it came, and whether it was that there is no room now.
#[derive(Clone, Copy)]
struct Answered {
    after: Duration,
    refused: bool,
}

type Latencies = Vec<(&'static str, Vec<Answered>)>;

impl Run<'_> {
    /// Sends one of each at every beat.
    async fn at_rate(&self, time: Duration) -> anyhow::Result<Latencies> {
        let client = Arc::new(Caller {
            http: http_client(),
            url: self.platform.urls.control() + self.path,
            token: self.platform.owner.token().to_owned(),
        });
        let beat = Duration::from_secs(1) / self.arguments.rate;
        let beats = usize::try_from(time.as_nanos() / beat.as_nanos())?;
        let mut create = vec![];
        let mut lists = vec![];
        let began = Instant::now();
        for number in 0..beats {
            let due = began + beat * u32::try_from(number)?;
            tokio::time::sleep_until(due).await;
            create.push(tokio::spawn(client.clone().create(number, due)));
            // Halfway between two creations.
            let due = due + beat / 2;
            let kind = &LISTS[number % LISTS.len()];
            let query = (kind.path)(self.arguments.keys, number);
            lists.push((kind.name, tokio::spawn(client.clone().list(query, due))));
        }
        let mut latencies: Latencies = vec![("create", vec![])];
        for created in create {
            latencies[0].1.push(created.await??);
        }
        latencies.extend(LISTS.iter().map(|kind| (kind.name, vec![])));
        for (name, listed) in lists {
            let took = listed.await??;
            let of_kind = latencies.iter_mut().filter(|(other, _)| *other == name);
            of_kind.for_each(|(_, all)| all.push(took));
        }
        Ok(latencies)
    }
}

struct Caller {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Caller {
    async fn create(self: Arc<Self>, number: usize, due: Instant) -> anyhow::Result<Answered> {
        let body = json!({ "name": format!("Made {number}"), "type": "secret" });
        let request = self.http.post(&self.url).json(&body);
        self.answered(request, 201, due).await
    }

    async fn list(self: Arc<Self>, query: String, due: Instant) -> anyhow::Result<Answered> {
        tokio::time::sleep_until(due).await;
        let request = self.http.get(format!("{}{query}", self.url));
        self.answered(request, 200, due).await
    }

    async fn answered(
        &self,
        request: reqwest::RequestBuilder,
        status: u16,
        due: Instant,
    ) -> anyhow::Result<Answered> {
        let answer = request.bearer_auth(&self.token).send().await?;
        let found = answer.status();
        let body = answer.bytes().await?;
        let refused = found == 503;
        ensure!(refused || found == status, "{found}: {}", String::from_utf8_lossy(&body));
        Ok(Answered { after: due.elapsed(), refused })
    }
}
