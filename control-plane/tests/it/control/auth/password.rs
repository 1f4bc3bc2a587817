use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, Response, TestApp};

const FORGOT: &str = "/control/v1/auth/password/forgot";
const RESET: &str = "/control/v1/auth/password/reset";
const CHANGE: &str = "/control/v1/auth/password/change";
const LOGIN: &str = "/control/v1/auth/login";
const NEW: &str = "a new long password";

async fn login(client: &Client, email: &str, password: &str) -> Response {
    client.post(LOGIN, json!({ "email": email, "password": password })).await
}

/// The token of a mail that was asked for.
async fn forgot(app: &TestApp, email: &str) -> String {
    app.anonymous().post(FORGOT, json!({ "email": email })).await.is(202);
    app.run_due().await;
    app.mail_token("Set a new password")
}

fn reset(token: &str) -> Value {
    json!({ "token": token, "password": NEW })
}

#[tokio::test]
async fn a_mails_link_sets_a_new_password_once_and_ends_every_session() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let token = forgot(&app, " ADA@example.com ").await;
    let anybody = app.anonymous();
    anybody.post(RESET, reset(&token)).await.is(204);
    ada.get("/control/v1/auth/me").await.is(401);
    login(&anybody, "ada@example.com", PASSWORD).await.is(401);
    let signed_in = login(&anybody, "ada@example.com", NEW).await.json(200);
    assert_eq!(signed_in["user"]["emailVerified"], true, "whoever reads the mail owns the address");
    anybody.post(RESET, reset(&token)).await.assert_invalid("token");
    app.run_due().await;
    assert!(app.mails().last().unwrap().contains("Your password was changed"));
}

#[tokio::test]
async fn a_link_works_for_an_hour() {
    let app = TestApp::new().await;
    app.leave_jobs();
    app.sign_up("ada").await;
    let token = forgot(&app, "ada@example.com").await;
    app.advance(TimeDelta::minutes(60));
    app.anonymous().post(RESET, reset(&token)).await.assert_invalid("token");
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from mail_tokens").await, 0);
    let token = forgot(&app, "ada@example.com").await;
    app.advance(TimeDelta::seconds(3599));
    app.anonymous().post(RESET, reset(&token)).await.is(204);
}

#[tokio::test]
async fn of_parallel_uses_of_a_link_one_counts() {
    let app = TestApp::new().await;
    app.leave_jobs();
    app.sign_up("ada").await;
    let token = forgot(&app, "ada@example.com").await;
    let anybody = app.anonymous();
    let answers = join_all((0..10).map(|_| anybody.post(RESET, reset(&token)))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(204), count(400)), (1, 9));
}

#[tokio::test]
async fn known_and_unknown_addresses_are_answered_alike() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let ask = async |email: &str| {
        let jobs = app.number("select count(*) from jobs").await;
        let answer = app.anonymous().post(FORGOT, json!({ "email": email })).await;
        (answer.status, answer.body, app.number("select count(*) from jobs").await - jobs)
    };
    assert_eq!(ask("ada@example.com").await, ask("nobody@example.com").await);
    app.run_due().await;
    assert_eq!(app.mails().len(), 1, "only an account gets mail");
    app.anonymous().post(FORGOT, json!({ "email": "no address" })).await.assert_invalid("email");
}

#[tokio::test]
async fn an_address_is_not_flooded_with_mail_and_nobody_learns_of_it() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    for _ in 0..12 {
        app.anonymous().post(FORGOT, json!({ "email": "ada@example.com" })).await.is(202);
    }
    app.run_due().await;
    assert_eq!(app.mails().len(), 5);
    app.advance(TimeDelta::minutes(15));
    forgot(&app, "ada@example.com").await;
    assert_eq!(app.mails().len(), 6);
}

#[tokio::test]
async fn of_a_thousand_parallel_guesses_of_a_link_few_are_looked_at() {
    let app = TestApp::with(|config| config.identity.anonymous_requests_per_minute = 10_000).await;
    let eve = app.anonymous();
    let guesses = (0..1_000).map(|n| {
        let eve = eve.clone();
        async move { eve.post(RESET, reset(&format!("mt_{n}"))).await.status }
    });
    let statuses = join_all(guesses).await;
    let count = |status| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((count(400), count(429)), (20, 980));
}

#[tokio::test]
async fn a_reset_frees_an_account_that_was_locked_by_guesses() {
    let app = TestApp::with(|config| config.identity.max_failed_logins = 2).await;
    app.leave_jobs();
    app.sign_up("ada").await;
    let eve = app.anonymous();
    for _ in 0..3 {
        login(&eve, "ada@example.com", "guess").await;
    }
    let elsewhere = app.anonymous();
    login(&elsewhere, "ada@example.com", PASSWORD).await.is(429);
    let token = forgot(&app, "ada@example.com").await;
    elsewhere.post(RESET, reset(&token)).await.is(204);
    login(&elsewhere, "ada@example.com", NEW).await.is(200);
}

#[tokio::test]
async fn what_was_put_into_an_account_before_its_address_was_proved_is_gone_after_a_reset() {
    let app = TestApp::new().await;
    app.leave_jobs();
    // Somebody registers Ada's address, and lays a trap: a second factor of their own.
    let eve = app.sign_up("ada").await;
    let secret = eve.post("/control/v1/auth/totp", json!({})).await.json(201);
    let code = app.code(&secret);
    eve.post("/control/v1/auth/totp/confirm", json!({ "code": code })).await.is(200);
    let token = forgot(&app, "ada@example.com").await;
    let ada = app.anonymous();
    ada.post(RESET, reset(&token)).await.is(204);
    login(&ada, "ada@example.com", NEW).await.is(200);
}

#[tokio::test]
async fn changing_it_takes_the_old_one_and_ends_the_other_sessions() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let mut other = app.anonymous();
    other.be(&login(&other, "ada@example.com", PASSWORD).await.json(200));
    let body = |old: &str, new: &str| json!({ "currentPassword": old, "newPassword": new });
    ada.post(CHANGE, body("wrong", NEW)).await.assert_invalid("currentPassword");
    ada.post(CHANGE, body(PASSWORD, "short")).await.assert_invalid("newPassword");
    other.get("/control/v1/auth/me").await.is(200);
    ada.post(CHANGE, body(PASSWORD, NEW)).await.is(204);
    ada.get("/control/v1/auth/me").await.is(200);
    other.get("/control/v1/auth/me").await.is(401);
    login(&other, "ada@example.com", PASSWORD).await.is(401);
    login(&other, "ada@example.com", NEW).await.is(200);
    app.run_due().await;
    assert!(app.mails().last().unwrap().contains("Your password was changed"));
}

#[tokio::test]
async fn a_change_spends_the_links_that_were_sent_before() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let ada = app.sign_up("ada").await;
    let token = forgot(&app, "ada@example.com").await;
    ada.post(CHANGE, json!({ "currentPassword": PASSWORD, "newPassword": NEW })).await.is(204);
    app.anonymous().post(RESET, reset(&token)).await.assert_invalid("token");
}

#[tokio::test]
async fn a_stolen_session_does_not_guess_the_password() {
    let app = TestApp::with(|config| config.identity.max_failed_logins = 5).await;
    let ada = app.sign_up("ada").await;
    let guesses = (0..60).map(|n| {
        let ada = ada.clone();
        let body = json!({ "currentPassword": format!("guess {n}"), "newPassword": NEW });
        async move { ada.post(CHANGE, body).await.status }
    });
    let statuses = join_all(guesses).await;
    let count = |status| statuses.iter().filter(|it| **it == status).count();
    assert_eq!((count(400), count(429)), (5, 55));
    // That does not keep the owner from signing in.
    login(&app.anonymous(), "ada@example.com", PASSWORD).await.is(200);
}
