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
    let metrics = anybody.get("/metrics").await;
    metrics.is(200);
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("\nauthsome_control_database_up 0\n"), "{metrics}");
    let answer = anybody.get("/ready").await;
    answer.error(503, "service_unavailable");
    assert!(answer.header("retry-after").is_some());
    user.get("/control/v1/workspaces").await.error(503, "service_unavailable");
}

#[tokio::test]
async fn the_metrics_are_those_that_the_document_lists() {
    const DOCUMENT: &str = include_str!("../../../docs/metrics.md");
    let app = TestApp::new().await;
    let anybody = app.anonymous();
    anybody.get("/health").await.is(200);
    let metrics = anybody.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let listed: Vec<(&str, &str)> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `authsome_control_"))
        .map(|row| row.split('|').map(str::trim))
        .map(|mut row| (row.next().unwrap().trim_end_matches('`'), row.next().unwrap()))
        .collect();
    assert!(listed.len() >= 5, "{listed:?}");
    for (name, kind) in &listed {
        let line = format!("# TYPE authsome_control_{name} {kind}");
        assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    }
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE authsome_")) {
        let name = line.split(' ').nth(2).unwrap().strip_prefix("authsome_control_").unwrap();
        assert!(listed.iter().any(|(it, _)| *it == name), "{name} is not in docs/metrics.md");
    }
    for line in ["authsome_control_database_up 1", "authsome_control_proxies_connected 0"] {
        assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    }
}
