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
async fn the_curl_lines_that_up_prints_work_as_they_stand() {
    let platform = Platform::start().await;
    let lines = curl_lines(&platform.process.stdout());
    assert!(lines.len() >= 2, "{}", platform.process.stdout());
    for line in lines {
        let output = Command::new("bash").args(["-c", &line]).output().expect("bash runs");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}\n{stdout}");
        let body = stdout.rfind("\r\n\r\n").map_or(&*stdout, |end| &stdout[end..]);
        let json: Value = serde_json::from_str(body.trim())
            .unwrap_or_else(|error| panic!("{line}\n{error}: {stdout}"));
        assert!(json.get("error").is_none(), "{line}\n{stdout}");
    }
}

/// Every command that starts with curl, with its continuation lines.
fn curl_lines(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let start = line.trim_start().strip_prefix("$ ").unwrap_or(line.trim_start());
        if open {
            let command = commands.last_mut().expect("an open command");
            command.push('\n');
            command.push_str(line);
        } else if start.starts_with("curl ") {
            commands.push(start.to_owned());
        } else {
            continue;
        }
        open = line.ends_with('\\');
    }
    commands
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
    let ready = format!("{}/ready", platform.urls.control());
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
