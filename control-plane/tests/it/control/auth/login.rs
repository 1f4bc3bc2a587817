use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, TestApp, fields};

const PATH: &str = "/control/v1/auth/login";

fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

#[tokio::test]
async fn the_right_password_signs_in() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let answer =
        app.anonymous().post(PATH, credentials(" ADA@example.com", PASSWORD)).await.json(200);
    assert_eq!(fields(&answer), ["expiresIn", "refreshToken", "token", "user"]);
    assert_eq!(answer["user"]["id"], ada.id());
}

#[tokio::test]
async fn unknown_account_and_wrong_password_look_alike() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let body = |response: Response| {
        let mut error = response.error(401, "unauthorized");
        error.as_object_mut().unwrap().remove("requestId");
        error
    };
    let anybody = app.anonymous();
    let wrong = body(anybody.post(PATH, credentials("ada@example.com", "wrong password")).await);
    for email in ["bob@example.com", "", "no address", "a\u{0}b@example.com", &"x".repeat(5_000)] {
        assert_eq!(
            body(anybody.post(PATH, credentials(email, PASSWORD)).await),
            wrong,
            "{email:?}"
        );
    }
}

#[tokio::test]
async fn parallel_guessing_does_not_beat_the_lockout() {
    let app = TestApp::with(|config| {
        config.identity.logins_per_minute = 1_000;
        config.identity.max_failed_logins = 5;
    })
    .await;
    app.sign_up("ada").await;
    let anybody = app.anonymous();
    let guesses = (0..100).map(|n| {
        let anybody = anybody.clone();
        async move {
            anybody
                .post(PATH, credentials("ada@example.com", &format!("guess {n:03}")))
                .await
                .status
        }
    });
    let statuses = join_all(guesses).await;
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(401), count(429)), (5, 95));

    let right = credentials("ada@example.com", PASSWORD);
    let refused = anybody.post(PATH, right.clone()).await;
    refused.error(429, "rate_limit_exceeded");
    assert_eq!(refused.header("retry-after"), Some("900"));
    app.advance(TimeDelta::seconds(899));
    anybody.post(PATH, right.clone()).await.is(429);
    app.advance(TimeDelta::seconds(1));
    anybody.post(PATH, right).await.is(200);
}

#[tokio::test]
async fn a_sign_in_clears_the_count() {
    let app = TestApp::with(|config| config.identity.max_failed_logins = 2).await;
    app.sign_up("ada").await;
    let anybody = app.anonymous();
    for _ in 0..2 {
        anybody.post(PATH, credentials("ada@example.com", "wrong password")).await.is(401);
        anybody.post(PATH, credentials("ada@example.com", PASSWORD)).await.is(200);
    }
}

#[tokio::test]
async fn an_address_tries_only_so_often() {
    let app = TestApp::with(|config| config.identity.logins_per_minute = 2).await;
    let eve = app.anonymous();
    for _ in 0..2 {
        eve.post(PATH, credentials("a@example.com", "x")).await.is(401);
    }
    let refused = eve.post(PATH, credentials("b@example.com", "x")).await;
    refused.error(429, "rate_limit_exceeded");
    assert!(refused.header("retry-after").is_some());
    app.anonymous().post(PATH, credentials("b@example.com", "x")).await.is(401);
}
