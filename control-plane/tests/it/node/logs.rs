use authsome_shared::id::LogId;
use authsome_shared::log::{Level, LogBatch, LogLine, MAX_BATCH_LINES, MAX_MESSAGE};
use serde_json::{Value, json};

use crate::support::{FakeProxy, TestApp, text};

fn line(app: &TestApp, application: &str) -> LogLine {
    let Value::Object(fields) = json!({ "status": 502 }) else { unreachable!() };
    LogLine {
        application: application.parse().unwrap(),
        at: app.now().timestamp_micros(),
        level: Level::Error,
        message: "GET /users answered 502".into(),
        fields,
    }
}

fn batch(proxy: &FakeProxy, lines: Vec<LogLine>) -> LogBatch {
    LogBatch { id: LogId::new(), node: proxy.id.clone(), lines }
}

#[tokio::test]
async fn a_batch_that_comes_again_adds_nothing_and_strangers_are_left_out() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let id = text(&application["id"]);
    let proxy = FakeProxy::new(&app);
    let lines = vec![line(&app, &id), line(&app, "app_gone"), line(&app, &id)];
    let batch = batch(&proxy, lines);
    for _ in 0..3 {
        proxy.log(&batch).await.is(204);
    }
    let path = format!("/control/v1/applications/{id}/logs?level=error");
    let logs = owner.get(&path).await.json(200);
    assert_eq!(logs["total"], 2);
    let expected = json!({
        "timestamp": "2026-03-10T12:00:00Z", "level": "error",
        "message": "GET /users answered 502", "fields": { "status": 502 },
    });
    assert_eq!(logs["logs"][0], expected);
    let stray = "select count(*) from application_logs where application_id = 'app_gone'";
    assert_eq!(app.number(stray).await, 0);
}

#[tokio::test]
async fn what_no_proxy_writes_is_refused_or_cut() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let id = text(&application["id"]);
    let proxy = FakeProxy::new(&app);
    let of = |change: &dyn Fn(&mut LogLine)| {
        let mut line = line(&app, &id);
        change(&mut line);
        batch(&proxy, vec![line])
    };
    let refused = [
        of(&|line| line.at = i64::MAX),
        of(&|line| drop(line.fields.insert("a".into(), json!("b\u{0}c")))),
        of(&|line| drop(line.fields.insert("a".into(), json!("x".repeat(10_000))))),
    ];
    for bad in refused {
        proxy.log(&bad).await.assert_invalid("lines[0]");
    }
    let many = batch(&proxy, vec![line(&app, &id); MAX_BATCH_LINES + 1]);
    proxy.log(&many).await.assert_invalid("lines");
    proxy.client.post("/node/v1/logs", json!({})).await.assert_invalid("body");
    app.anonymous().post("/node/v1/logs", json!({})).await.is(401);
    let long = of(&|line| line.message = format!("a\u{0}{}", "é".repeat(5_000)));
    proxy.log(&long).await.is(204);
    proxy.log(&batch(&proxy, vec![])).await.is(204);
    let path = format!("/control/v1/applications/{id}/logs?level=error");
    let logs = owner.get(&path).await.json(200);
    assert_eq!(logs["total"], 1);
    assert_eq!(text(&logs["logs"][0]["message"]).chars().count(), MAX_MESSAGE);
}
