//! The platform's admins: how one is made at the machine, and what reaches the proxies.

use std::time::Duration;

use authsome_e2e::api::Api;
use authsome_e2e::platform::Platform;
use authsome_e2e::process::command;
use authsome_e2e::wait;
use http::Method;
use serde_json::{Value, json};

const PLAN: &str = "/control/v1/admin/plans/free";

/// What holds everywhere holds within this.
const SOON: Duration = Duration::from_secs(10);

/// `authsome admin …`: its exit, and what it wrote.
fn admin(platform: &Platform, arguments: &[&str]) -> (bool, String) {
    let dir = platform.data_dir().to_str().expect("UTF-8");
    let mut command = command("authsome");
    command.arg("admin").args(arguments).args(["--data-dir", dir]);
    if let Some(url) = platform.database_url() {
        command.args(["--database-url", &url]);
    }
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

async fn is_admin(api: &Api) -> bool {
    let me = api.get("/control/v1/auth/me").await.expect(200);
    me.body["platformAdmin"].as_bool().expect("a truth")
}

/// Status, limit and body.
type Answered = (u16, Option<String>, Value);

#[tokio::test(flavor = "multi_thread")]
async fn admins_are_made_and_unmade_at_the_machine_while_the_platform_runs() {
    let platform = Platform::start().await;
    let api = platform.user().await;
    let email = api.email().to_owned();
    assert!(!is_admin(&api).await);
    let (ok, written) = admin(&platform, &["grant", &email]);
    assert!(ok && written.contains(&email), "{written}");
    assert!(is_admin(&api).await);
    let (ok, written) = admin(&platform, &["list"]);
    assert!(ok && written.contains(&email) && written.contains("demo@example.com"), "{written}");
    let (ok, _) = admin(&platform, &["revoke", &email]);
    assert!(ok && !is_admin(&api).await);
    let (ok, written) = admin(&platform, &["grant", "nobody@example.com"]);
    assert!(!ok && written.contains("nobody@example.com"), "{written}");
    let empty = tempfile::tempdir().expect("a folder");
    let output = command("authsome")
        .args(["admin", "list", "--data-dir"])
        .arg(empty.path())
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no platform"));
    assert_eq!(std::fs::read_dir(empty.path()).expect("a folder").count(), 0, "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_admin_changes_holds_at_the_proxy() {
    let platform = Platform::start().await;
    let ops = platform.user().await;
    admin(&platform, &["grant", ops.email()]);
    let workspace = platform.quick("workspaceId").to_owned();
    let url = format!("{}/v1/{}/users", platform.urls.proxy(), platform.quick("applicationId"));
    let key = platform.quick("secretKey").to_owned();
    let http = authsome_e2e::api::http_client();
    let get = async || {
        let answer = http.get(&url).bearer_auth(&key).send().await.expect("an answer");
        let limit = answer.headers().get("x-ratelimit-limit").cloned();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap_or_default();
        (status, limit.map(|it| it.to_str().expect("ASCII").to_owned()), body)
    };
    let holds = async |what: &str, check: &dyn Fn(&Answered) -> bool| {
        wait::until(what, SOON, async || check(&get().await).then_some(())).await;
    };
    holds("the demo answers", &|answer| answer.0 == 200).await;

    let path = format!("/control/v1/admin/workspaces/{workspace}");
    let reason = json!({ "reason": "Unusual traffic" });
    ops.post(&format!("{path}/suspend"), reason).await.expect(200);
    let suspended =
        |answer: &Answered| answer.0 == 503 && answer.2["error"]["reason"] == "suspended";
    holds("it is suspended", &suspended).await;
    ops.post(&format!("{path}/unsuspend"), json!({})).await.expect(200);
    holds("it serves again", &|answer| answer.0 == 200).await;

    let limits = json!({ "limits": { "rateLimit": { "requests": 77, "windowMs": 1000 } } });
    ops.patch(&path, limits).await.expect(200);
    holds("its own limit", &|answer| answer.1.as_deref() == Some("77")).await;
    ops.patch(&path, json!({ "limits": {} })).await.expect(200);
    holds("the plan's limit", &|answer| answer.1.as_deref() == Some("10")).await;

    let plan = ops.get(PLAN).await.expect(200);
    let mut plan = plan.body;
    for told in ["name", "version", "private", "note", "createdAt"] {
        plan.as_object_mut().expect("an object").remove(told);
    }
    plan["rateLimit"] = json!({ "requests": 55, "windowMs": 1000 });
    let path = format!("{PLAN}?existing=move_now");
    ops.send(Method::PUT, &path, Some(plan.to_string())).await.expect(200);
    holds("the plan's new limit", &|answer| answer.1.as_deref() == Some("55")).await;
}
