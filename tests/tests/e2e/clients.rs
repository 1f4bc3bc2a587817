//! Other people's clients and servers, and real amounts of data.

use std::path::PathBuf;
use std::time::Duration;

use authsome_e2e::api::{Answer, unlimited_config};
use authsome_e2e::clients::{self, JsonServer, json_from};
use authsome_e2e::platform::Platform;
use authsome_e2e::upstream::{Upstream, blob, blob_sum};
use futures_util::{StreamExt, stream};
use http::Method;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

/// Behind the proxy: an API that we did not write. Before it: a client that we did not write.
/// `run` lists the posts, makes one with the title, reads it back, and answers the three.
async fn reads_creates_and_reads_back(
    title: &str,
    run: impl FnOnce(&str, &str, &str) -> [Value; 3],
) {
    let Some(server) = JsonServer::start().await else { return };
    let platform = Platform::start().await;
    let api = platform.user().await;
    let application = api.unlimited(&server.url).await;
    let base = format!("{}/v1/{}", platform.urls.proxy(), application.id);

    let [listed, made, read] =
        tokio::task::block_in_place(|| run(&base, &application.secret_key, title));
    assert_eq!(listed, json!([{ "id": 1, "title": "first" }]));
    assert_eq!(made, json!({ "id": 2, "title": title }));
    assert_eq!(read, made);
    let direct = reqwest::get(format!("{}/posts/2", server.url)).await.expect("an answer");
    assert_eq!(Answer::read(direct).await.expect("whole").body, made);
    api.requests_become(&application.workspace, 3, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_works_against_json_server() {
    let Some(curl) = clients::curl() else { return };
    reads_creates_and_reads_back("von curl", |base, key, title| {
        let header = format!("Authorization: Bearer {key}");
        let common = ["--silent", "--show-error", "--fail", "-H", &header];
        let get =
            |path: &str| json_from(&curl, &[&common[..], &[&format!("{base}{path}")]].concat());
        let listed = get("/posts");
        let body = json!({ "title": title }).to_string();
        let url = format!("{base}/posts");
        let post = ["-H", "Content-Type: application/json", "--data", &body, &url];
        let made = json_from(&curl, &[&common[..], &post].concat());
        [listed, made, get("/posts/2")]
    })
    .await;
}

const NODE: &str = "
const [base, key, title] = process.argv.slice(1);
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
const call = async (path, init) => {
  const response = await fetch(base + path, { headers, ...init });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return response.json();
};
(async () => {
  const listed = await call('/posts');
  const made = await call('/posts', { method: 'POST', body: JSON.stringify({ title }) });
  const read = await call('/posts/2');
  console.log(JSON.stringify([listed, made, read]));
})();
";

const PYTHON: &str = "
import json, sys
import httpx
base, key, title = sys.argv[1:]
with httpx.Client(headers={'authorization': f'Bearer {key}'}, timeout=30) as client:
    def call(method, path, **rest):
        return client.request(method, base + path, **rest).raise_for_status().json()
    listed = call('GET', '/posts')
    made = call('POST', '/posts', json={'title': title})
    print(json.dumps([listed, made, call('GET', '/posts/2')]))
";

fn script(program: &PathBuf, args: [&str; 5]) -> [Value; 3] {
    let answers = json_from(program, &args);
    serde_json::from_value::<Vec<Value>>(answers).expect("a list").try_into().expect("three")
}

#[tokio::test(flavor = "multi_thread")]
async fn node_fetch_works_against_json_server() {
    let Some(node) = clients::node() else { return };
    reads_creates_and_reads_back("aus Node", |base, key, title| {
        script(&node, ["-e", NODE, base, key, title])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_httpx_works_against_json_server() {
    let Some(python) = clients::python_with_httpx() else { return };
    reads_creates_and_reads_back("ünïcödé from Python", |base, key, title| {
        script(&python, ["-c", PYTHON, base, key, title])
    })
    .await;
}

const BIG: usize = 50 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_go_up_and_come_down_unchanged_and_are_never_held_whole() {
    let upstream = Upstream::start().await;
    let platform = Platform::start_alone().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let mut config = unlimited_config(&upstream.url);
    config["maxBodyBytes"] = json!(2 * BIG);
    let application = api.application(&workspace, config).await;
    let caller = platform.caller(&application);
    caller.get("/warm").await.expect(200);
    let before = platform.process.peak_memory();

    let body = || reqwest::Body::wrap_stream(stream::iter(blob(BIG).map(Ok::<_, std::io::Error>)));
    let chunked = caller.request(Method::POST, "/sum").body(body());
    let sized = caller.request(Method::POST, "/sum").header("content-length", BIG).body(body());
    for upload in [chunked, sized] {
        let answer = Answer::read(upload.send().await.expect("an answer")).await.expect("whole");
        let answer = answer.expect(200);
        assert_eq!(answer.body, json!({ "bytes": BIG, "sha256": blob_sum(BIG) }));
    }

    let path = format!("/blob?bytes={BIG}");
    let answer = caller.request(Method::GET, &path).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut pieces = answer.bytes_stream();
    let mut context = Context::new(&SHA256);
    while let Some(piece) = pieces.next().await {
        context.update(&piece.expect("not broken off"));
    }
    assert_eq!(hex::encode(context.finish()), blob_sum(BIG));

    let grown = platform.process.peak_memory().saturating_sub(before);
    eprintln!("peak memory grew by {grown} bytes");
    assert!(grown < u64::try_from(BIG / 2).expect("fits"), "{grown} bytes more at the peak");
    api.requests_become(&workspace, 4, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_applications_limit_is_refused_sized_or_chunked() {
    let upstream = Upstream::start().await;
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let mut config = unlimited_config(&upstream.url);
    config["maxBodyBytes"] = json!(100_000);
    let application = api.application(&workspace, config).await;
    let caller = platform.caller(&application);

    let body =
        || reqwest::Body::wrap_stream(stream::iter(blob(500_000).map(Ok::<_, std::io::Error>)));
    let sized = caller.request(Method::POST, "/sum").header("content-length", 500_000).body(body());
    let answer = Answer::read(sized.send().await.expect("an answer")).await.expect("whole");
    assert_eq!(answer.expect(413).code(), "payload_too_large");
    // A chunked body shows its size only on the way: the answer may be cut short by then.
    let chunked = caller.request(Method::POST, "/sum").body(body()).send().await;
    assert!(chunked.is_err() || chunked.is_ok_and(|answer| answer.status() == 413));
    let within = caller.request(Method::POST, "/sum").body(vec![7; 100_000]);
    assert_eq!(within.send().await.expect("an answer").status(), 200);
}
