//! The plans' limits on the control plane's API.

use authsome_control_plane::actor::Role;
use authsome_control_plane::{execute, worker};
use axum::http::Method;
use chrono::{DurationRound, TimeDelta};
use serde_json::json;

use crate::support::{Client, TestApp};

/// How many of `count` requests are admitted.
async fn admitted(client: &Client, path: &str, count: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..count {
        let answer = client.get(path).await;
        match answer.status {
            200 => admitted += 1,
            _ => assert_eq!(answer.error(429, "rate_limit_exceeded")["retryAfter"], 60),
        }
    }
    admitted
}

#[tokio::test]
async fn a_plan_allows_exactly_so_many_requests_a_minute() {
    for (plan, limit) in [("free", 100), ("pro", 1_000)] {
        let app = TestApp::new().await;
        let owner = app.sign_up("owner").await;
        let workspace = owner.workspace(plan).await;
        let path = format!("/control/v1/workspaces/{workspace}");
        assert_eq!(admitted(&owner, &path, limit + 50).await, limit);
        app.advance(TimeDelta::minutes(1));
        assert_eq!(admitted(&owner, &path, 1).await, 1);
    }
}

#[tokio::test]
async fn every_answer_says_how_the_caller_stands() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    app.advance(TimeDelta::seconds(20));
    let answer = owner.get(&path).await;
    let reset = (app.now() + TimeDelta::seconds(40)).timestamp().to_string();
    for (name, value) in [
        ("x-ratelimit-limit", "100"),
        ("x-ratelimit-remaining", "99"),
        ("x-ratelimit-reset", reset.as_str()),
        ("ratelimit-policy", "\"minute\";q=100;w=60, \"day\";q=10000;w=86400"),
        ("ratelimit", "\"minute\";r=99;t=40, \"day\";r=9999;t=43180"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let missing = owner.get(&format!("{path}/nothing")).await;
    missing.error(404, "not_found");
    let invalid = owner.patch(&path, json!({ "name": "" })).await;
    invalid.error(400, "invalid_request");
    assert_eq!(invalid.header("x-ratelimit-remaining"), Some("98"));

    assert_eq!(admitted_until_refused(&owner, &path).await, 98);
    let refused = owner.get(&path).await;
    let error = refused.error(429, "rate_limit_exceeded");
    assert_eq!(error["details"], json!({ "limit": 100, "window": "minute" }));
    assert_eq!(error["retryAfter"], 40);
    assert_eq!(refused.header("retry-after"), Some("40"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
}

async fn admitted_until_refused(client: &Client, path: &str) -> usize {
    let mut admitted = 0;
    while client.get(path).await.status == 200 {
        admitted += 1;
    }
    admitted
}

#[tokio::test]
async fn a_day_has_its_limit_too() {
    let app = TestApp::with(|config| config.identity.access_token_seconds = 1_000_000).await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    // What it has used before.
    let mut tx = app.write().await;
    let insert = "insert into api_counts (subject, kind, window_start, requests) \
         values ($1, 'day', $2, 9850)";
    let midnight = app.now().duration_trunc(TimeDelta::days(1)).unwrap();
    execute!(tx, sqlx::query(insert).bind(&workspace).bind(midnight)).unwrap();
    tx.commit().await.unwrap();
    let mut admitted = 0;
    for _ in 0..3 {
        admitted += admitted_until_refused(&owner, &path).await;
        app.advance(TimeDelta::minutes(1));
    }
    assert_eq!(admitted, 150);
    let error = owner.get(&path).await.error(429, "rate_limit_exceeded");
    assert_eq!(error["details"], json!({ "limit": 10_000, "window": "day" }));
    app.advance(TimeDelta::hours(12));
    owner.get(&path).await.is(200);
}

#[tokio::test]
async fn members_share_their_workspaces_limit_and_strangers_use_none_of_it() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let member = app.sign_up("member").await;
    let stranger = app.sign_up("stranger").await;
    let workspace = owner.workspace("free").await;
    app.add_member(&workspace, &member, Role::Viewer).await;
    let path = format!("/control/v1/workspaces/{workspace}");
    for _ in 0..100 {
        stranger.get(&path).await.error(404, "not_found");
    }
    stranger.get(&path).await.error(429, "rate_limit_exceeded");
    assert_eq!(admitted(&owner, &path, 60).await, 60);
    assert_eq!(admitted(&member, &path, 60).await, 40);
    // Elsewhere each has their own.
    member.get("/control/v1/workspaces").await.is(200);
}

#[tokio::test]
async fn an_applications_routes_count_for_its_workspace() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let created = owner.application(&workspace, json!({})).await;
    let path = format!("/control/v1/applications/{}/keys", created["id"].as_str().unwrap());
    assert_eq!(admitted(&owner, &path, 120).await, 99);
    owner.get(&format!("/control/v1/workspaces/{workspace}")).await.is(429);
}

#[tokio::test]
async fn replicas_count_together_and_a_restart_forgets_nothing() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    assert_eq!(admitted(&owner, &path, 70).await, 70);
    worker::save_counts(&app.app).await.unwrap();
    let other = owner.at(&app.reopen().await);
    assert_eq!(admitted(&other, &path, 50).await, 30);
}

#[tokio::test]
async fn callers_without_a_token_are_counted_by_address() {
    let app = TestApp::with(|config| config.identity.anonymous_requests_per_minute = 20).await;
    let nobody = app.anonymous();
    for _ in 0..20 {
        nobody.get("/control/v1/workspaces").await.error(401, "unauthorized");
    }
    nobody.get("/control/v1/workspaces").await.error(429, "rate_limit_exceeded");
    app.anonymous().get("/control/v1/workspaces").await.error(401, "unauthorized");
    // The description and the probes are free.
    nobody.get("/control/v1/openapi.json").await.is(200);
    nobody.get("/health").await.is(200);
    let request = nobody.request(Method::OPTIONS, "/control/v1/workspaces");
    nobody.send(request.body(axum::body::Body::empty()).unwrap()).await.is(200);
}
