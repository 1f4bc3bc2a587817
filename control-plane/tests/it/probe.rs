//! `/health`, `/ready`, `/metrics`.

use crate::support::TestApp;

#[tokio::test]
async fn probes_answer_without_credentials() {
    let app = TestApp::new().await;
    let anybody = app.anonymous();
    assert_eq!(anybody.get("/health").await.json(200)["status"], "ok");
    let ready = anybody.get("/ready").await.json(200);
    assert_eq!((&ready["status"], ready["revision"].as_i64()), (&"ready".into(), Some(1)));
    let metrics = anybody.get("/metrics").await;
    metrics.is(200);
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains("authsome_control_request_seconds"), "{text}");
}

#[tokio::test]
async fn without_its_database_it_is_not_ready() {
    let app = TestApp::new().await;
    let user = app.sign_up("user").await;
    app.app.db.close().await;
    let anybody = app.anonymous();
    anybody.get("/health").await.is(200);
    let answer = anybody.get("/ready").await;
    answer.error(503, "service_unavailable");
    assert!(answer.header("retry-after").is_some());
    user.get("/control/v1/workspaces").await.error(503, "service_unavailable");
}
