//! `authsome explain` says which key, limit, configuration and upstream decided a request, and why.

use std::fs;
use std::process::Output;

use authsome_e2e::api::{Answer, upstream_config};
use authsome_e2e::call::Caller;
use authsome_e2e::platform::Platform;
use authsome_e2e::process::command;
use authsome_e2e::split::free_port;
use authsome_e2e::upstream::Upstream;
use serde_json::{Value, json};

fn run(arguments: &[&str]) -> Output {
    command("authsome").arg("explain").args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// What the command says of an answer's request; it must know it.
fn explain(platform: &Platform, answer: &Answer) -> String {
    let id = answer.header("x-authsome-request-id");
    let data = platform.data_dir().to_str().expect("UTF-8");
    let output = run(&[id, "--data-dir", data]);
    let said = text(&output.stdout).to_owned();
    assert!(output.status.success(), "{id}: {output:?}");
    assert!(said.starts_with(id), "{said}");
    said
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_answer_is_explained_by_what_decided_it() {
    let upstream = Upstream::start().await;
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, upstream_config(&upstream.url)).await;
    let path = format!("/control/v1/applications/{}", application.id);
    let keys = api.get(&format!("{path}/keys")).await.expect(200);
    let caller = platform.caller(&application);
    let configure = async |config: Value, becomes: u16| {
        api.patch(&path, json!({ "config": config })).await.expect(200);
        let what = format!("calls are answered with {becomes}");
        authsome_e2e::wait::until(&what, std::time::Duration::from_secs(10), async || {
            let answer = caller.get("/things?secret=1").await;
            (answer.status == becomes).then_some(answer)
        })
        .await
    };

    let admitted = caller.get("/things?secret=1").await.expect(200);
    let said = explain(&platform, &admitted);
    let key = said.lines().find_map(|line| line.trim().strip_prefix("key ")).expect("a key");
    assert!(keys.body.to_string().contains(key.trim()), "{key} in {keys:?}");
    let revision = said.lines().find_map(|line| line.trim().strip_prefix("revision "));
    let revision: u64 = revision.expect("a revision").trim().parse().expect("a number");
    assert!(revision > 0);
    says(
        &said,
        &["admitted; the upstream answered 200", &upstream.url, "plan's, fast: 100 in 1 s"],
    );
    says(&said, &[&application.id, &workspace, "/things HTTP/1.1"]);
    assert!(!said.contains("secret=1"), "{said}");

    let unknown = "sk_live_0123456789abcdefghijABCDEFGHIJ0123";
    let typo = Caller::new(&platform.urls, &application.id, unknown);
    let said = explain(&platform, &typo.get("/things").await.expect(401));
    says(&said, &["refused, 401 unauthorized", "its form or checksum is wrong", "not asked"]);
    let other = Caller::new(&platform.urls, &application.id, platform.quick("secretKey"));
    let said = explain(&platform, &other.get("/things").await.expect(401));
    let mask = format!("{}***", &platform.quick("secretKey")[..14]);
    says(&said, &["belongs to another application", &mask]);
    assert!(!said.contains(&platform.quick("secretKey")[..20]), "{said}");

    let limit = json!({ "requests": 2, "windowMs": 60_000, "burst": 2 });
    let limited = configure(json!({ "rateLimit": limit }), 429).await;
    let said = explain(&platform, &limited);
    says(&said, &["refused, 429 rate_limit_exceeded", "application's, fast: 2 in 60 s", "0 left"]);
    let later = said.lines().find_map(|line| line.trim().strip_prefix("revision "));
    assert!(later.expect("a revision").trim().parse::<u64>().expect("a number") > revision);

    let dead = format!("http://127.0.0.1:{}", free_port());
    let breaker = json!({ "failures": 2, "openMs": 60_000 });
    let dead_config = json!({ "urls": [dead], "retries": 0, "breaker": breaker });
    let failed = configure(json!({ "rateLimit": null, "upstream": dead_config }), 502).await;
    let said = explain(&platform, &failed);
    says(&said, &["failed, 502 bad_gateway", "No connection to", &dead, "1 attempt(s)"]);

    let broken = configure(json!({}), 503).await;
    let said = explain(&platform, &broken);
    says(&said, &["failed, 503 service_unavailable", "circuit breaker", "had failed too often"]);
    says(&said, &["upstream     not asked", "retry after"]);

    let malformed = platform.caller(&application).get("/..%2fsecret").await.expect(400);
    says(&explain(&platform, &malformed), &["refused, 400 invalid_request", "not well-formed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_proxies_are_asked_and_logs_searched_and_what_is_unknown_says_where_it_was_sought()
{
    let platform = Platform::start().await;
    let demo = platform.quick("applicationId").to_owned();
    let caller = Caller::new(&platform.urls, &demo, platform.quick("secretKey"));
    let answer = caller.get("/hello").await.expect(200);
    let id = answer.header("x-authsome-request-id");
    let admin = platform.urls.proxy_admin();
    let nobody = format!("http://127.0.0.1:{}", free_port());

    let output = run(&[id, "--admin", &nobody, "--admin", &admin, "--json"]);
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&told["source"], &told["decision"]["requestId"]), (&admin.into(), &id.into()));
    assert_eq!(told["decision"]["upstream"], "echo");

    let log = platform.data_dir().join("access.log");
    authsome_e2e::wait::until("it is logged", std::time::Duration::from_secs(5), async || {
        platform.process.stdout().contains(id).then_some(())
    })
    .await;
    fs::write(&log, platform.process.stdout()).expect("written");
    let log = log.to_str().expect("UTF-8");
    let output = run(&[id, "--log", log]);
    assert!(output.status.success(), "{output:?}");
    says(text(&output.stdout), &["admitted; the upstream answered 200", log]);

    let data = platform.data_dir().to_str().expect("UTF-8");
    let output = run(&["req_unknown", "--data-dir", data]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    says(
        said,
        &["no decision about req_unknown is known", &platform.urls.proxy_admin(), "since 20"],
    );
    let output = run(&["req_unknown", "--admin", &nobody, "--log", log, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["looked"].as_array().map(Vec::len), Some(2), "{told}");
    let output = run(&["nonsense", "--data-dir", data]);
    assert_eq!(output.status.code(), Some(1));
    says(text(&output.stderr), &["\"nonsense\" is not a request id"]);
}
