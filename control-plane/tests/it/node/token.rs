use axum::http::Method;
use serde_json::json;

use crate::support::TestApp;

#[tokio::test]
async fn nothing_is_told_without_the_node_token() {
    let app = TestApp::new().await;
    let user = app.sign_up_admin("admin").await;
    let mut wrong = app.anonymous();
    wrong.token = Some("wrong".into());
    for client in [app.anonymous(), user, wrong] {
        for (method, path) in [
            (Method::GET, "/node/v1/snapshot"),
            (Method::GET, "/node/v1/stream?node=node_1&revision=0"),
            (Method::POST, "/node/v1/ack"),
            (Method::POST, "/node/v1/usage"),
        ] {
            client.send_json(method, path, &json!({})).await.error(401, "unauthorized");
        }
    }
}

#[tokio::test]
async fn the_token_is_the_data_directorys_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let app = TestApp::new().await;
    let path = app.app.config.server.data_dir.join("node.token");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), *app.app.node_token.expose());
    for name in ["node.token", "master.key"] {
        let metadata = std::fs::metadata(app.app.config.server.data_dir.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let mut node = app.reopen().await;
    node.token = Some(app.app.node_token.expose().clone());
    node.get("/node/v1/snapshot").await.is(200);
}
