use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{TestApp, fields};

const PATH: &str = "/control/v1/auth/register";

#[tokio::test]
async fn registering_signs_in() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let body = json!({ "email": " Ada@Example.com ", "password": "analytical", "name": " Ada " });
    let answer = app.anonymous().post(PATH, body).await.json(201);
    assert_eq!(fields(&answer), ["expiresIn", "refreshToken", "token", "user"]);
    assert_eq!(answer["expiresIn"], 900);
    assert_eq!(answer["user"]["email"], "ada@example.com");
    assert_eq!(answer["user"]["name"], "Ada");
    assert_eq!(answer["user"]["platformAdmin"], false);
    assert_eq!(answer["user"]["createdAt"], "2026-03-10T12:00:00Z");
    assert!(answer["user"]["id"].as_str().unwrap().starts_with("usr_"));
    let mut ada = app.anonymous();
    ada.be(&answer);
    ada.get("/control/v1/workspaces").await.is(200);
}

#[tokio::test]
async fn refusals_name_the_field() {
    let app = TestApp::with(|config| config.identity.registrations_per_minute = 100).await;
    let anybody = app.anonymous();
    let good = json!({ "email": "ada@example.com", "password": "analytical", "name": "Ada" });
    for (field, value) in [
        ("email", json!("nowhere")),
        ("email", json!("a@b\r\nBcc: c@d")),
        ("email", json!("a\u{0}@example.com")),
        ("email", json!(format!("{}@example.com", "a".repeat(300)))),
        ("email", json!(7)),
        ("password", json!("seven77")),
        ("password", json!("x".repeat(257))),
        ("name", json!("")),
        ("name", json!("   ")),
        ("name", json!("a\u{0}b")),
        ("name", json!("n".repeat(201))),
        ("role", json!("admin")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        anybody.post(PATH, body).await.assert_invalid(field);
    }
    for field in ["email", "password", "name"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        anybody.post(PATH, body).await.assert_invalid(field);
    }
    let error = anybody
        .post(PATH, json!({ "email": "x", "password": "x", "name": "" }))
        .await
        .error(400, "invalid_request");
    assert_eq!(error["details"]["errors"].as_array().unwrap().len(), 3, "all faults at once");
}

#[tokio::test]
async fn an_address_has_one_account() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let body = json!({ "email": "ADA@example.com", "password": "different", "name": "Eve" });
    app.anonymous().post(PATH, body).await.error(409, "already_exists");
}

#[tokio::test]
async fn of_parallel_registrations_of_an_address_one_counts() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let anybody = app.anonymous();
    let body = json!({ "email": "ada@example.com", "password": "analytical", "name": "Ada" });
    let answers = join_all((0..6).map(|_| anybody.post(PATH, body.clone()))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(409)), (1, 5));
}

#[tokio::test]
async fn an_address_registers_only_so_often() {
    let app = TestApp::with(|config| config.identity.registrations_per_minute = 3).await;
    app.leave_jobs();
    let eve = app.anonymous();
    // Invalid ones count too, and are cheaper here.
    for _ in 0..3 {
        eve.post(PATH, json!({})).await.is(400);
    }
    // What the body's fault is does not matter before the address is judged.
    let body = json!({ "email": "eve@example.com", "password": "analytical", "name": "Eve" });
    let mut refused = None;
    for _ in 0..4 {
        let answer = eve.post(PATH, body.clone()).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the fourth is too many");
    let error = refused.error(429, "rate_limit_exceeded");
    assert_eq!(error["retryAfter"], 60);
    assert_eq!(refused.header("retry-after"), Some("60"));
    app.sign_up("somebody-elsewhere").await;
    app.advance(TimeDelta::seconds(60));
    let body = json!({ "email": "late@example.com", "password": "analytical", "name": "Eve" });
    eve.post(PATH, body).await.is(201);
}
