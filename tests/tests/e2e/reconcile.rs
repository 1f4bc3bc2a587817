//! `authsome reconcile`: a month added up again from the command line, while the platform runs.

use std::time::Duration;

use authsome_e2e::api::Api;
use authsome_e2e::platform::Platform;
use authsome_e2e::process::command;
use serde_json::Value;

fn reconcile(platform: &Platform, arguments: &[&str]) -> (Option<i32>, String) {
    let dir = platform.data_dir().to_str().expect("UTF-8");
    let mut command = command("authsome");
    command.arg("reconcile").args(arguments).args(["--data-dir", dir]);
    if let Some(url) = platform.database_url() {
        command.args(["--database-url", &url]);
    }
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_real_calls_adds_up_on_the_command_line() {
    let platform = Platform::start().await;
    let url = format!("{}/v1/{}/users", platform.urls.proxy(), platform.quick("applicationId"));
    let http = authsome_e2e::api::http_client();
    for _ in 0..8 {
        let answer = http.get(&url).bearer_auth(platform.quick("secretKey")).send().await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    let (email, password) = (platform.quick("email"), platform.quick("password"));
    let demo = Api::login(&platform.urls, email, password).await;
    let workspace = platform.quick("workspaceId");
    demo.requests_become(workspace, 8, Duration::from_secs(10)).await;
    let usage = demo.get(&format!("/control/v1/workspaces/{workspace}/usage")).await.expect(200);
    let period = usage.text("/period");
    let (code, said) = reconcile(&platform, &[&period]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 workspaces, 0 invoices") && said.contains("all add up"), "{said}");
    let (code, said) = reconcile(&platform, &[&period, "--json"]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &said["period"]), (Some(0), &Value::from(period.clone())));
    assert_eq!(said["workspaces"][0]["differences"], serde_json::json!([]));
    let (code, said) = reconcile(&platform, &["2026-13"]);
    assert!(code == Some(1) && said.contains("no month"), "{said}");
    let (code, said) = reconcile(&platform, &[&period, "--workspace", "app_1"]);
    assert!(code != Some(0) && said.contains("ws_"), "{said}");
}
