//! What holds for every operation. That each answer has a request id and each error the envelope is
//! asserted by the tests' client, for every answer of the whole suite.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::json;

use super::openapi::operations;
use crate::support::TestApp;

const REGISTER: &str = "/control/v1/auth/register";

#[tokio::test]
async fn request_ids_do_not_repeat() {
    let app = TestApp::new().await;
    let anybody = app.anonymous();
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        let answer = anybody.get("/health").await;
        assert!(ids.insert(answer.header("x-authsome-request-id").unwrap().to_owned()));
    }
}

#[tokio::test]
async fn malformed_bodies_are_told_apart() {
    let app = TestApp::with(|config| config.identity.registrations_per_minute = 1000).await;
    let anybody = app.anonymous();
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for (body, field, reason) in [
        ("", "body", "invalid_json"),
        ("{", "body", "invalid_json"),
        ("{\"email\":", "body", "invalid_json"),
        ("nonsense", "body", "invalid_json"),
        ("{} {}", "email", "missing_field"),
        ("\"text\"", "body", "invalid_type"),
        ("null", "body", "invalid_type"),
        ("[]", "body", "invalid_type"),
        ("[\"a@example.com\", \"correct horse\", \"A\"]", "body", "invalid_type"),
        (" [", "body", "invalid_json"),
        ("{\"email\": \"a\\ud800\"}", "body", "invalid_json"),
        ("{\"email\": 1}", "email", "invalid_type"),
        ("{\"email\": null}", "email", "invalid_type"),
        ("{\"e-mail\": \"x\"}", "e-mail", "unknown_field"),
        ("{\"email\": \"a\", \"email\": \"b\"}", "email", "duplicate_field"),
    ] {
        let answer =
            anybody.send_text(Method::POST, REGISTER, "application/json", body.to_owned()).await;
        let error = answer.error(400, "invalid_request");
        let details = (&error["details"]["field"], &error["details"]["reason"]);
        assert_eq!(details, (&json!(field), &json!(reason)), "{body}: {error}");
    }
    for body in [deep.into_bytes(), vec![0xff, 0xfe], b"{\"email\": \"\xff\"}".to_vec()] {
        let answer = anybody.send_text(Method::POST, REGISTER, "application/json", body).await;
        answer.error(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_413() {
    let app = TestApp::new().await;
    let anybody = app.anonymous();
    let body = |size: usize| format!("{{\"email\":\"{}\"}}", "x".repeat(size - 12));
    let fits = body(1024 * 1024);
    assert_eq!(fits.len(), 1024 * 1024);
    anybody.send_text(Method::POST, REGISTER, "application/json", fits).await.is(400);
    let over = body(1024 * 1024 + 1);
    let answer = anybody.send_text(Method::POST, REGISTER, "application/json", over).await;
    answer.error(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_415() {
    let app = TestApp::with(|config| config.identity.registrations_per_minute = 1000).await;
    let anybody = app.anonymous();
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let answer = anybody.send_text(Method::POST, REGISTER, wrong, "{}").await;
        answer.error(415, "unsupported_media_type");
    }
    let request = anybody.request(Method::POST, REGISTER).body("{}".into()).unwrap();
    anybody.send(request).await.error(415, "unsupported_media_type");
    for right in ["application/json; charset=utf-8", "Application/JSON", "application/merge+json"] {
        anybody.send_text(Method::POST, REGISTER, right, "{}").await.is(400);
    }
}

#[tokio::test]
async fn unknown_paths_are_404() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for path in
        ["/", "/control", "/control/v1", "/control/v1/nothing", "/control/v2/workspaces", "/v1/x"]
    {
        owner.get(path).await.error(404, "not_found");
        owner.post(path, json!({})).await.error(404, "not_found");
    }
    owner.get("/control/v1/workspaces/").await.error(404, "not_found");
    owner.get("//control/v1/workspaces").await.error(404, "not_found");
}

#[tokio::test]
async fn a_method_that_is_not_there_is_405_with_allow() {
    // There are more paths than calls in a minute.
    let app = TestApp::with(|config| config.api.limits = false).await;
    let owner = app.sign_up("owner").await;
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations() {
        methods.entry(path).or_default().insert(method);
    }
    for (path, allowed) in methods {
        // So many calls in one minute are refused.
        app.advance(TimeDelta::seconds(2));
        let path = path.replace(['{', '}'], "");
        // `PROPFIND` is of no operation.
        let absent = Method::from_bytes(b"PROPFIND").unwrap();
        let answer = owner.send_json(absent, &path, &json!({})).await;
        answer.error(405, "method_not_allowed");
        let allow: BTreeSet<String> =
            answer.header("allow").unwrap().split(',').map(|m| m.trim().to_owned()).collect();
        let missing: Vec<_> = allowed.difference(&allow).collect();
        assert!(missing.is_empty(), "{path} allows {allow:?}, not {missing:?}");
        assert!(!allow.contains("PROPFIND"));
    }
}

#[tokio::test]
async fn credentials_come_before_everything_else() {
    let app = TestApp::new().await;
    let anybody = app.anonymous();
    for (path, method, operation) in operations() {
        if operation["security"].is_null() {
            continue;
        }
        let path = path.replace(['{', '}'], "");
        let method: Method = method.parse().unwrap();
        anybody.send_text(method, &path, "text/plain", "nonsense").await.error(401, "unauthorized");
    }
}

#[tokio::test]
async fn the_scheme_of_the_token_matters() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let token = ada.token.clone().unwrap();
    for (header, status) in [
        (format!("Bearer {token}"), 200),
        (format!("bearer {token}"), 200),
        (format!("Bearer  {token} "), 200),
        (token.clone(), 401),
        (format!("Basic {token}"), 401),
        ("Bearer".into(), 401),
        ("Bearer ".into(), 401),
        ("Bearer é".into(), 401),
    ] {
        let request = axum::http::Request::get("/control/v1/auth/me")
            .header("authorization", &header)
            .body(axum::body::Body::empty())
            .unwrap();
        assert_eq!(ada.send(request).await.status, status, "{header}");
    }
}
