//! `/explain/{requestId}` on the admin listener: what decided a request, from its head being read on.

use authsome_shared::snapshot::{Change, RateLimit};
use serde_json::Value;

use crate::harness::Harness;
use crate::wire::{Answer, Wire};

const USERS: &str = "/v1/app_1/users";

async fn ask(harness: &Harness, id: &str) -> Answer {
    let mut wire = Wire::to(harness.admin()).await;
    wire.ask("GET", &format!("/explain/{id}"), "", "").await
}

/// The decision about an answer's request.
async fn decision(harness: &Harness, answer: &Answer) -> Value {
    let id = answer.header("x-authsome-request-id").expect("an id");
    let explained = ask(harness, id).await;
    assert_eq!(explained.status, 200, "{id}");
    let decision = explained.json()["decision"].clone();
    assert_eq!(decision["requestId"], id);
    assert_eq!(decision["status"], answer.status);
    decision
}

#[tokio::test]
async fn a_request_is_explained_by_the_configuration_that_decided_it() {
    let harness = Harness::start().await;
    let mut wire = harness.connect().await;
    let before = wire.get(USERS, &harness.world.secret).await;
    let mut application = harness.world.application.clone();
    application.rate_limit = Some(RateLimit::fast(1, 60_000, 1));
    harness.change(vec![Change::Application(Box::new(application))]).await;
    wire.get(USERS, &harness.world.secret).await;
    let refused = wire.get(USERS, &harness.world.secret).await;
    assert_eq!((before.status, refused.status), (200, 429));

    let (before, refused) = (decision(&harness, &before).await, decision(&harness, &refused).await);
    assert_eq!(before["revision"].as_u64().map(|it| it + 1), refused["revision"].as_u64());
    assert_eq!(before["rateLimit"]["level"], "plan");
    assert_eq!(before["upstream"], harness.upstream.url());
    assert_eq!(refused["rateLimit"]["level"], "application");
    assert_eq!(refused["cause"], "rate_limit_application");
    assert_eq!(refused.get("upstream"), None, "it was not asked");
    assert_eq!(refused["key"], "key_1");
}

#[tokio::test]
async fn what_is_refused_before_a_key_is_known_is_explained_too() {
    let harness = Harness::start().await;
    let unreadable = {
        let mut wire = harness.connect().await;
        wire.send("GET /v1/app_1/users HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n").await;
        wire.answer().await
    };
    let unreadable = decision(&harness, &unreadable).await;
    assert_eq!(
        (&unreadable["cause"], &unreadable["detail"]),
        (&"malformed".into(), &"field_name".into())
    );
    assert_eq!(unreadable.get("revision"), None);

    let unknown = crate::harness::key("key_9").1;
    let refused = harness.connect().await.get(USERS, &unknown).await;
    let refused = decision(&harness, &refused).await;
    assert_eq!(refused["cause"], "key_unknown");
    assert_eq!(refused["presentedKey"], format!("{}***", &unknown[..14]));
    assert!(!refused.to_string().contains(&unknown[..20]), "{refused}");
    assert!(refused["revision"].as_u64() > Some(0));
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_that_the_upstream_did() {
    let harness = Harness::with(|world| world.upstream().retries = 0).await;
    let answer = harness.connect().await.get("/v1/app_1/close", &harness.world.secret).await;
    assert_eq!(answer.status, 502);
    let decision = decision(&harness, &answer).await;
    assert_eq!(decision["cause"], "upstream_closed");
    assert_eq!(decision["upstream"], harness.upstream.url());
    assert_eq!(decision["attempts"], 1);
}

#[tokio::test]
async fn what_is_not_known_says_how_far_back_the_memory_reaches() {
    let harness = Harness::start().await;
    let answer = ask(&harness, "req_0123456789").await;
    assert_eq!(answer.status, 404);
    let since = answer.json()["since"]["refused"].as_str().expect("a time").to_owned();
    assert!(chrono::DateTime::parse_from_rfc3339(&since).is_ok(), "{since}");
    assert!(answer.json()["node"].as_str().expect("an id").starts_with("node_"));
    assert_eq!(ask(&harness, "nonsense").await.status, 400);
    let mut wire = Wire::to(harness.admin()).await;
    assert_eq!(wire.ask("POST", "/explain/req_1", "", "").await.status, 405);
}

#[tokio::test]
async fn nothing_is_kept_where_the_memory_is_switched_off() {
    let harness = Harness::with(|world| world.config.explain.max_bytes = 0).await;
    let answer = harness.connect().await.get(USERS, &harness.world.secret).await;
    let id = answer.header("x-authsome-request-id").expect("an id");
    let explained = ask(&harness, id).await;
    assert_eq!((explained.status, &explained.json()["since"]), (404, &Value::Null));
    assert_eq!(harness.metric("authsome_proxy_decisions_bytes").await, 0);
}
