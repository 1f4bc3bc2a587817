use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn lists_narrow_by_environment_and_status() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/applications");
    let mut made = vec![];
    for (name, environment) in
        [("one", "production"), ("two", "staging"), ("three", "production"), ("gone", "production")]
    {
        let body = json!({ "name": name, "environment": environment });
        made.push(text(&owner.post(&path, body).await.json(202)["id"]));
    }
    app.run_due().await;
    owner.delete(&format!("/control/v1/applications/{}", made[3])).await.is(204);
    let body = json!({ "name": "four", "environment": "staging" });
    owner.post(&path, body).await.is(202);

    for (query, expected) in [
        ("", &["one", "two", "three", "four"][..]),
        ("?environment=production", &["one", "three"]),
        ("?status=active", &["one", "two", "three"]),
        ("?status=provisioning", &["four"]),
        ("?status=deleted", &["gone"]),
        ("?status=suspended", &[]),
        ("?environment=staging&status=active", &["two"]),
        ("?page=2&pageSize=3", &["four"]),
    ] {
        let answer = owner.get(&format!("{path}{query}")).await.json(200);
        let data = answer["data"].as_array().unwrap();
        let names: Vec<_> = data.iter().map(|a| a["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{query}");
        assert!(data.iter().all(|a| a["publicKey"].is_string() && a["apiUrl"].is_string()));
        assert!(data.iter().all(|a| a.get("secretKey").is_none()));
        if !query.contains("page") {
            assert_eq!(answer["total"], expected.len(), "{query}");
        }
    }
    owner.get(&format!("{path}?status=asleep")).await.assert_invalid("status");
    owner.get(&format!("{path}?environment=moon")).await.assert_invalid("environment");
    app.run_due().await;
}
