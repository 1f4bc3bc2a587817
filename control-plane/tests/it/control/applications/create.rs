use authsome_shared::api_key::{self, KeyMode, KeyType};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{TestApp, fields, text};

#[tokio::test]
async fn creating_answers_202_with_both_keys() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}/applications");
    let config = json!({ "mode": "saas", "session": { "timeout": "7d" } });
    let body = json!({
        "name": "Production", "slug": "production", "environment": "production",
        "region": "eu-west-1", "config": config,
    });
    let answer = owner.post(&path, body).await.json(202);
    assert_eq!(
        fields(&answer),
        [
            "apiUrl",
            "config",
            "createdAt",
            "dashboardUrl",
            "environment",
            "id",
            "name",
            "publicKey",
            "region",
            "secretKey",
            "slug",
            "status",
            "updatedAt",
            "workspaceId",
        ]
    );
    let id = text(&answer["id"]);
    assert!(id.starts_with("app_"));
    assert_eq!(answer["workspaceId"], workspace);
    assert_eq!(answer["status"], "provisioning");
    assert_eq!(answer["region"], "eu-west-1");
    assert_eq!(answer["config"], config);
    assert_eq!(answer["apiUrl"], format!("https://api.example.com/v1/{id}"));
    let parse = |name: &str| api_key::parse(answer[name].as_str().unwrap());
    assert_eq!(parse("publicKey"), Some((KeyType::Public, KeyMode::Live)));
    assert_eq!(parse("secretKey"), Some((KeyType::Secret, KeyMode::Live)));

    // Its first keys are keys like any other.
    let keys = owner.get(&format!("/control/v1/applications/{id}/keys")).await.json(200);
    assert_eq!(keys["total"], 2);
    assert_eq!(keys["data"][0]["key"], answer["publicKey"]);
    assert_eq!(keys["data"][1]["scopes"], json!(["*"]));
    app.run_due().await;
}

#[tokio::test]
async fn test_environments_have_test_keys() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}/applications", owner.workspace("pro").await);
    for environment in ["staging", "development"] {
        let body = json!({ "name": "A", "environment": environment });
        let answer = owner.post(&path, body).await.json(202);
        assert!(answer["publicKey"].as_str().unwrap().starts_with("pk_test_"));
        assert!(answer["secretKey"].as_str().unwrap().starts_with("sk_test_"));
    }
}

#[tokio::test]
async fn slugs_are_made_and_are_unique_in_a_workspace() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let path = |workspace: &str| format!("/control/v1/workspaces/{workspace}/applications");
    let (one, two) = (owner.workspace("pro").await, owner.workspace("pro").await);
    for (workspace, slug) in [(&one, "my-api"), (&one, "my-api-2"), (&two, "my-api")] {
        let answer = owner.post(&path(workspace), json!({ "name": "My API" })).await.json(202);
        assert_eq!(answer["slug"], slug);
    }
    let taken = json!({ "name": "B", "slug": "my-api" });
    owner.post(&path(&one), taken).await.error(409, "already_exists");
}

#[tokio::test]
async fn parallel_creations_get_slugs_of_their_own() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let made = join_all((0..8).map(|_| owner.application(&workspace, json!({})))).await;
    let mut slugs: Vec<String> = made.iter().map(|made| text(&made["slug"])).collect();
    slugs.sort();
    slugs.dedup();
    assert_eq!(slugs.len(), 8);
}

#[tokio::test]
async fn the_fourth_application_on_free_is_402() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let path = format!("/control/v1/workspaces/{workspace}/applications");
    // In parallel too: the last place is given once.
    let create = |n| owner.post(&path, json!({ "name": format!("A{n}") }));
    let answers = join_all((0..6).map(create)).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(202), count(402)), (3, 3));
    let error = owner.post(&path, json!({ "name": "B" })).await.error(402, "plan_limit_reached");
    assert_eq!(error["details"]["limit"], 3);
    assert_eq!(error["details"]["plan"], "free");
    // A deleted one makes room.
    let list = owner.get(&path).await.json(200);
    let id = text(&list["data"][0]["id"]);
    owner.delete(&format!("/control/v1/applications/{id}")).await.is(204);
    owner.post(&path, json!({ "name": "B" })).await.is(202);
    owner.post(&format!("/control/v1/applications/{id}/restore"), json!({})).await.is(402);
}

#[tokio::test]
async fn refusals_name_the_field() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}/applications", owner.workspace("pro").await);
    let config = |config: serde_json::Value| json!({ "name": "A", "config": config });
    let urls = |url: &str| config(json!({ "upstream": { "urls": [url] } }));
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": " " }), "name"),
        (json!({ "name": "A", "slug": "A b" }), "slug"),
        (json!({ "name": "A", "environment": "moon" }), "environment"),
        (json!({ "name": "A", "region": "Mars One" }), "region"),
        (json!({ "name": "A", "config": 1 }), "config"),
        (json!({ "name": "A", "status": "active" }), "status"),
        (config(json!({ "colour": "red" })), "config.colour"),
        (config(json!({ "session": { "timeout": "soon" } })), "config.session.timeout"),
        (config(json!({ "session": { "time": "7d" } })), "config.session.time"),
        (config(json!({ "mode": "magic" })), "config.mode"),
        (config(json!({ "upstream": {} })), "config.upstream.urls"),
        (urls("ftp://example.com"), "config.upstream.urls[0]"),
        (urls("http://example.com/\u{0}"), "config.upstream.urls[0]"),
        (urls("http://exam\nple.com/"), "config.upstream.urls[0]"),
        (urls(" http://example.com"), "config.upstream.urls[0]"),
        (config(json!({ "rateLimit": { "requests": 0 } })), "config.rateLimit.requests"),
        (config(json!({ "routes": [{ "match": "nonsense" }] })), "config.routes[0].match"),
        (config(json!({ "routes": [{ "match": "GET /\u{0}" }] })), "config.routes[0].match"),
        (config(json!({ "endUser": { "header": "\u{0}" } })), "config.endUser.header"),
    ] {
        owner.post(&path, body).await.assert_invalid(field);
    }
}
