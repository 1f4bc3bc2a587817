//! A newcomer's first minutes.

use std::process::Command;
use std::time::Duration;

use authsome_e2e::api::Api;
use authsome_e2e::call::Caller;
use authsome_e2e::files;
use authsome_e2e::platform::Platform;
use authsome_e2e::upstream::Upstream;
use serde_json::Value;

const FIELDS: [&str; 9] = [
    "controlUrl",
    "proxyUrl",
    "proxyAdminUrl",
    "email",
    "password",
    "workspaceId",
    "applicationId",
    "publicKey",
    "secretKey",
];

#[tokio::test(flavor = "multi_thread")]
async fn up_writes_all_that_a_first_call_needs_for_its_owner_only() {
    let platform = Platform::start().await;
    for field in FIELDS {
        assert!(!platform.quick(field).is_empty(), "{field}");
    }
    assert_eq!(files::mode(&platform.quickstart_file()), 0o600);

    let api = Api::login(&platform.urls, platform.quick("email"), platform.quick("password")).await;
    let application = platform.quick("applicationId");
    let shown = api.get(&format!("/control/v1/applications/{application}")).await.expect(200);
    assert_eq!(shown.text("/status"), "active");
    assert_eq!(shown.text("/workspaceId"), platform.quick("workspaceId"));

    let answer = demo_caller(&platform).get("/users?page=2").await.expect(200);
    assert_eq!(answer.text("/path"), "/users");
    assert_eq!(answer.header("x-authsome-app-id"), application);
    assert!(answer.header("x-authsome-request-id").starts_with("req_"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_up_prints_work_as_they_stand() {
    let platform = Platform::start().await;
    let printed = platform.process.stdout();
    let mut sign_in = String::new();
    let mut key = String::new();
    let mut answers = 0;
    for line in printed.lines().filter_map(|line| line.strip_prefix("  ")) {
        if line.starts_with("TOKEN=") {
            line.clone_into(&mut sign_in);
        } else if line.starts_with("seq ") {
            let counts = bash(line);
            assert!(counts.contains(" 200\n") && counts.contains(" 429\n"), "{line}\n{counts}");
        } else if line.starts_with("curl ") {
            let line = line.replace("KEY_ID", &key);
            let answer = json(&bash(&format!("{sign_in}\n{line}")));
            assert!(answer.get("error").is_none(), "{line}\n{answer}");
            if let Some(id) = answer["id"].as_str().filter(|id| id.starts_with("key_")) {
                id.clone_into(&mut key);
            }
            answers += 1;
        }
    }
    assert!(answers >= 4, "{printed}");
}

fn bash(script: &str) -> String {
    let output = Command::new("bash").args(["-c", script]).output().expect("bash runs");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{stdout}");
    stdout
}

/// The body, also where `curl -i` has put the head before it.
fn json(printed: &str) -> Value {
    let body = printed.split_once("\r\n\r\n").map_or(printed, |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_keeps_ids_keys_sessions_and_usage() {
    let mut platform = Platform::start().await;
    let first = platform.quickstart.clone();
    let api = Api::login(&platform.urls, platform.quick("email"), platform.quick("password")).await;
    demo_caller(&platform).get("/before").await.expect(200);

    assert!(platform.terminate().await.success(), "{}", platform.process.stderr());
    platform.start_again().await;

    for field in FIELDS.iter().filter(|field| !field.ends_with("Url")) {
        assert_eq!(platform.quickstart[field], first[field], "{field}");
    }
    // The token from before the restart, the keys of the first start.
    let workspace = platform.quick("workspaceId");
    demo_caller(&platform).get("/after").await.expect(200);
    api.requests_become(workspace, 2, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_call_end_bills_it_and_exits_0() {
    let upstream = Upstream::start().await;
    let mut platform = Platform::start().await;
    let api = platform.user().await;
    let application = api.unlimited(&upstream.url).await;
    let caller = platform.caller(&application);

    let call = tokio::spawn(async move { caller.get("/held").await });
    authsome_e2e::wait::until("the call is at the upstream", Duration::from_secs(5), async || {
        (upstream.requests() == 1).then_some(())
    })
    .await;
    let ready = format!("{}/ready", platform.urls.proxy_admin());
    let release = async {
        // Released only once the platform no longer says that it is ready.
        let http = authsome_e2e::api::http_client();
        authsome_e2e::wait::until("the drain begins", Duration::from_secs(10), async || {
            let answer = http.get(&ready).send().await;
            (!answer.is_ok_and(|answer| answer.status().is_success())).then_some(())
        })
        .await;
        upstream.release();
    };
    let (status, ()) = tokio::join!(platform.terminate(), release);
    assert!(status.success(), "{status}: {}", platform.process.stderr());
    call.await.expect("no panic").expect(200);

    platform.start_again().await;
    api.requests_become(&application.workspace, 1, Duration::from_secs(5)).await;
}

fn demo_caller(platform: &Platform) -> Caller {
    Caller::new(&platform.urls, platform.quick("applicationId"), platform.quick("secretKey"))
}
