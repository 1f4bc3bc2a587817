use authsome_shared::snapshot::Change;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, text};

#[tokio::test]
async fn configuration_is_merged_at_every_depth() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let config = json!({
        "session": { "timeout": "7d" },
        "rateLimit": { "requests": 10, "burst": 20 },
        "quota": { "requests": 1000 },
        "routes": [{ "match": "GET /a", "public": true }],
    });
    let application = owner.application(&owner.workspace("pro").await, config).await;
    app.run_due().await;
    app.advance(TimeDelta::minutes(10));
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let mut stream = FakeProxy::new(&app).follow().await;

    let change = json!({
        "name": "Production (Updated)",
        "config": {
            "session": { "timeout": "14d" }, "rateLimit": { "burst": null }, "quota": null,
            "routes": [{ "match": "GET /b" }],
        },
    });
    let answer = owner.patch(&path, change).await.json(200);
    assert_eq!(answer["name"], "Production (Updated)");
    assert_eq!(answer["updatedAt"], "2026-03-10T12:10:00Z");
    assert_eq!(
        answer["config"],
        json!({
            "session": { "timeout": "14d" }, "rateLimit": { "requests": 10 },
            "routes": [{ "match": "GET /b" }],
        })
    );
    let seen = owner.get(&path).await.json(200);
    for (name, value) in answer.as_object().unwrap() {
        assert_eq!(&seen[name], value, "{name}");
    }

    let (_, changes) = stream.delta().await;
    let [Change::Application(wire)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(wire.quota, None);
    assert_eq!(wire.rate_limit.map(|limit| (limit.requests, limit.burst)), Some((10, 10)));
    assert_eq!(wire.routes.len(), 1);
}

#[tokio::test]
async fn refusals_name_the_field_and_change_nothing() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let (before, revision) = (owner.get(&path).await.json(200), app.revision().await);
    for (body, field) in [
        (json!({ "config": { "upstream": { "url": "x" } } }), "config.upstream.url"),
        (json!({ "config": { "rateLimit": { "burst": 5 } } }), "config.rateLimit.requests"),
        (json!({ "name": "B", "config": { "colour": 1 } }), "config.colour"),
        (json!({ "name": "" }), "name"),
        (json!({ "slug": "other" }), "slug"),
        (json!({ "status": "active" }), "status"),
    ] {
        owner.patch(&path, body).await.assert_invalid(field);
    }
    assert_eq!(owner.get(&path).await.json(200), before);
    assert_eq!(app.revision().await, revision);
}

#[tokio::test]
async fn parallel_changes_lose_nothing() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let changes = || {
        [
            json!({ "session": { "timeout": "1d" } }),
            json!({ "region": "eu-west-1" }),
            json!({ "quota": { "requests": 5 } }),
            json!({ "rateLimit": { "requests": 5 } }),
            json!({ "maxBodyBytes": 5 }),
            json!({ "keys": { "accept": ["x-api-key"] } }),
        ]
    };
    for _ in 0..4 {
        let set = changes().map(|config| owner.patch(&path, json!({ "config": config })));
        for answer in join_all(set).await {
            answer.is(200);
        }
        let config = owner.get(&path).await.json(200)["config"].clone();
        assert_eq!(config.as_object().unwrap().len(), 6, "{config}");
        let names = ["session", "region", "quota", "rateLimit", "maxBodyBytes", "keys"];
        let gone: serde_json::Map<_, _> =
            names.into_iter().map(|name| (name.to_owned(), json!(null))).collect();
        owner.patch(&path, json!({ "config": gone })).await.is(200);
    }
}

#[tokio::test]
async fn a_change_while_provisioning_does_not_undo_it() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    for _ in 0..5 {
        let application = owner.application(&workspace, json!({})).await;
        let path = format!("/control/v1/applications/{}", text(&application["id"]));
        let renames = (0..4).map(|n| owner.patch(&path, json!({ "name": format!("N{n}") })));
        let (answers, _) = tokio::join!(join_all(renames), app.run_due());
        for answer in answers {
            answer.is(200);
        }
        assert_eq!(owner.get(&path).await.json(200)["status"], "active");
    }
}
