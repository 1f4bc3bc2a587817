use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn resources_are_the_operators_unless_the_owner_says_otherwise() {
    let app = TestApp::with(|config| {
        config.applications.resources.cpu_limit = "4".into();
        config.egress.allow = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    })
    .await;
    let owner = app.sign_up("owner").await;
    let urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"];
    let config = json!({ "upstream": { "urls": urls } });
    app.leave_jobs();
    let application = owner.application(&owner.workspace("pro").await, config).await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let resources = async || owner.get(&path).await.json(200)["resources"].clone();
    let expected = json!({
        "cpuLimit": "4", "memoryLimit": "2Gi", "storageLimit": "10Gi", "replicas": 2,
    });
    assert_eq!(resources().await, expected);
    let own = json!({ "memoryLimit": "512Mi", "replicas": 7 });
    owner.patch(&path, json!({ "config": { "resources": own } })).await.is(200);
    let expected = json!({
        "cpuLimit": "4", "memoryLimit": "512Mi", "storageLimit": "10Gi", "replicas": 7,
    });
    assert_eq!(resources().await, expected);
    let bad = json!({ "config": { "resources": { "cpuLimit": "a lot" } } });
    owner.patch(&path, bad).await.assert_invalid("config.resources.cpuLimit");
}
