//! Plans and coupons, from the command line to the proxy and to the bill.

use std::time::Duration;

use authsome_e2e::platform::Platform;
use authsome_e2e::process::command;
use authsome_e2e::wait;
use serde_json::{Value, json};

/// A job that another process has written is found within half a minute.
const SOON: Duration = Duration::from_secs(45);

/// `authsome WORDS…` on the platform's database: its exit, what it answered, and what it said.
fn authsome(platform: &Platform, words: &[&str]) -> (bool, String, String) {
    let dir = platform.data_dir().to_str().expect("UTF-8");
    let mut command = command("authsome");
    command.args(words).args(["--data-dir", dir]);
    if let Some(url) = platform.database_url() {
        command.args(["--database-url", &url]);
    }
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn answered(platform: &Platform, words: &[&str]) -> String {
    let (ok, written, said) = authsome(platform, words);
    assert!(ok, "{words:?}: {said}");
    written
}

fn as_json(platform: &Platform, words: &[&str]) -> Value {
    let words = [words, &["--json"]].concat();
    serde_json::from_str(&answered(platform, &words)).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_written_edited_and_set_again_while_the_platform_runs() {
    let platform = Platform::start().await;
    let list = answered(&platform, &["plan", "list"]);
    assert!(list.starts_with("PLAN") && list.contains("$25.00"), "{list}");
    let shown = answered(&platform, &["plan", "show", "pro"]);
    for part in ["Pro plan, version 1 (current)", "10,000 included, then $0.02 up to 100,000"] {
        assert!(shown.contains(part), "{shown}");
    }

    let mut plan = as_json(&platform, &["plan", "show", "free"]);
    assert_eq!(plan["workspaces"], 1, "the demo's");
    plan["rateLimit"] = json!({ "requests": 44, "windowMs": 1000 });
    let file = platform.data_dir().join("free.json");
    let set = |plan: &Value, more: &[&str]| {
        std::fs::write(&file, plan.to_string()).expect("a file");
        let words = [&["plan", "set", "free", file.to_str().expect("UTF-8")], more].concat();
        authsome(&platform, &words)
    };
    let (ok, _, said) = set(&plan, &["--existing", "move-now", "--note", "More of it"]);
    assert!(ok, "{said}");
    let url = format!("{}/v1/{}/users", platform.urls.proxy(), platform.quick("applicationId"));
    let http = authsome_e2e::api::http_client();
    let key = platform.quick("secretKey");
    wait::until("the new limit holds", SOON, async || {
        let answer = http.get(&url).bearer_auth(key).send().await.expect("an answer");
        let limit = answer.headers().get("x-ratelimit-limit");
        limit.is_some_and(|limit| limit == "44").then_some(())
    })
    .await;
    let now = as_json(&platform, &["plan", "show", "free"]);
    assert_eq!((&now["version"], &now["workspaces"]), (&json!(2), &json!(1)));
    let before = as_json(&platform, &["plan", "show", "free", "--version", "1"]);
    assert_eq!((&before["current"], &before["workspaces"]), (&json!(false), &json!(0)));

    plan["activeUsers"]["tiers"] = json!([{ "upTo": 1, "unitMicros": -1 }]);
    plan["feeMinor"] = json!(-5);
    let (ok, _, said) = set(&plan, &[]);
    assert!(!ok && said.contains("feeMinor") && said.contains("activeUsers.tiers"), "{said}");
    plan["fee"] = json!(5);
    let (ok, _, said) = set(&plan, &[]);
    assert!(!ok && said.contains("unknown field `fee`"), "{said}");
    let (ok, _, said) = authsome(&platform, &["plan", "set", "pro", "/nowhere.json"]);
    assert!(!ok && said.contains("/nowhere.json"), "{said}");
    let (ok, _, said) = authsome(&platform, &["plan", "show", "free", "--version", "9"]);
    assert!(!ok && said.contains("version 9"), "{said}");
    assert_eq!(as_json(&platform, &["plan", "show", "free"]), now, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_made_at_the_machine_is_redeemed_by_a_customer() {
    let platform = Platform::start().await;
    let (ok, written, said) = authsome(&platform, &["coupon", "list"]);
    assert!(ok && written.is_empty() && said.contains("no coupons"), "{written}{said}");
    let half = ["coupon", "create", "half", "--percent-off", "50", "--months", "2"];
    assert!(answered(&platform, &half).contains("HALF: 50 % off, 2 months"));
    let (ok, _, said) = authsome(&platform, &half);
    assert!(!ok && said.contains("HALF"), "{said}");
    for (bad, rule) in [
        (&["--percent-off", "101"][..], "percentOff"),
        (&["--amount-off", "1.234"], "amountOff"),
        (&["--amount-off", "1", "--plan", "gold"], "gold"),
        (&["--amount-off", "1", "--redeem-by", "never"], "--redeem-by"),
        (&[], "--percent-off"),
    ] {
        let (ok, _, said) = authsome(&platform, &[&["coupon", "create", "BAD"], bad].concat());
        assert!(!ok && said.contains(rule), "{bad:?}: {said}");
    }

    let owner = platform.user().await;
    let body = json!({ "name": "Acme", "plan": "pro" });
    let workspace = owner.post("/control/v1/workspaces", body).await.expect(201);
    let workspace = workspace.body["id"].as_str().expect("an id").to_owned();
    let path = format!("/control/v1/workspaces/{workspace}");
    let code = json!({ "code": "Half" });
    owner.post(&format!("{path}/coupons"), code.clone()).await.expect(201);
    let usage = owner.get(&format!("{path}/usage")).await.expect(200);
    assert_eq!(usage.body["estimatedCost"], 12.5);
    let list = as_json(&platform, &["coupon", "list"]);
    assert_eq!(list["data"][0]["redemptions"], 1);

    answered(&platform, &["coupon", "disable", "half"]);
    assert!(answered(&platform, &["coupon", "list"]).contains("disabled"));
    let (ok, _, said) = authsome(&platform, &["coupon", "disable", "none"]);
    assert!(!ok && said.contains("none"), "{said}");
    let other = owner.post("/control/v1/workspaces", json!({ "name": "Other" })).await.expect(201);
    let other = other.body["id"].as_str().expect("an id").to_owned();
    owner.post(&format!("/control/v1/workspaces/{other}/coupons"), code).await.expect(404);
    let usage = owner.get(&format!("{path}/usage")).await.expect(200);
    assert_eq!(usage.body["estimatedCost"], 12.5, "those who have it keep it");
}
