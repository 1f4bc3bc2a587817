use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, Response, TestApp, fields, text};

const TOTP: &str = "/control/v1/auth/totp";
const CONFIRM: &str = "/control/v1/auth/totp/confirm";
const DISABLE: &str = "/control/v1/auth/totp/disable";
const CODES: &str = "/control/v1/auth/totp/recovery-codes";
const LOGIN: &str = "/control/v1/auth/login";
const FINISH: &str = "/control/v1/auth/login/totp";

/// Somebody with two-factor sign-in: the enrolment, and the recovery codes. A step has passed since.
async fn guarded(app: &TestApp, name: &str) -> (Client, Value, Vec<String>) {
    let client = app.sign_up(name).await;
    let enrolment = client.post(TOTP, json!({})).await.json(201);
    let code = app.code(&enrolment);
    let answer = client.post(CONFIRM, json!({ "code": code })).await.json(200);
    let codes: Vec<String> = answer["recoveryCodes"].as_array().unwrap().iter().map(text).collect();
    app.advance(TimeDelta::seconds(30));
    (client, enrolment, codes)
}

/// The first factor's answer: the token for the second.
async fn first(client: &Client, email: &str) -> String {
    let answer = client.post(LOGIN, json!({ "email": email, "password": PASSWORD })).await;
    let error = answer.error(401, "mfa_required");
    assert_eq!(error["details"]["methods"], json!(["totp", "recovery_code"]));
    assert_eq!(error["details"]["expiresIn"], 600);
    text(&error["details"]["mfaToken"])
}

async fn second(client: &Client, token: &str, code: &str) -> Response {
    client.post(FINISH, json!({ "mfaToken": token, "code": code })).await
}

#[tokio::test]
async fn signing_in_takes_a_code_once_it_is_confirmed() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let enrolment = ada.post(TOTP, json!({})).await.json(201);
    assert_eq!(fields(&enrolment), ["otpauthUri", "secret"]);
    assert!(text(&enrolment["otpauthUri"]).contains(&text(&enrolment["secret"])));
    // Not confirmed, it does not count.
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    ada.post(LOGIN, login).await.is(200);
    assert_eq!(ada.get(TOTP).await.json(200)["enabled"], false);
    ada.post(CONFIRM, json!({ "code": "000" })).await.assert_invalid("code");
    let confirmed = ada.post(CONFIRM, json!({ "code": app.code(&enrolment) })).await.json(200);
    assert_eq!(confirmed["recoveryCodes"].as_array().unwrap().len(), 10);
    let standing = ada.get(TOTP).await.json(200);
    assert_eq!(
        standing,
        json!({ "enabled": true, "enabledAt": "2026-03-10T12:00:00Z", "recoveryCodesLeft": 10 })
    );
    app.advance(TimeDelta::seconds(30));
    let anybody = app.anonymous();
    let token = first(&anybody, "ada@example.com").await;
    second(&anybody, &token, "000000").await.error(401, "unauthorized");
    let signed_in = second(&anybody, &token, &app.code(&enrolment)).await.json(200);
    assert_eq!(fields(&signed_in), ["expiresIn", "refreshToken", "token", "user"]);
    let mut again = app.anonymous();
    again.be(&signed_in);
    again.get("/control/v1/auth/me").await.is(200);
    app.run_due().await;
    assert!(app.mails().last().unwrap().contains("Two-factor sign-in was turned on"));
}

#[tokio::test]
async fn a_code_counts_once() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, enrolment, _) = guarded(&app, "ada").await;
    let anybody = app.anonymous();
    let tokens = join_all((0..10).map(|_| first(&anybody, "ada@example.com"))).await;
    let code = app.code(&enrolment);
    let answers = join_all(tokens.iter().take(8).map(|token| second(&anybody, token, &code))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(401)), (1, 7));
    // Nor does an earlier one from then on; the next does.
    app.advance(TimeDelta::seconds(30));
    second(&anybody, &tokens[8], &code).await.is(401);
    second(&anybody, &tokens[8], &app.code(&enrolment)).await.is(200);
    // Its token is spent.
    app.advance(TimeDelta::seconds(30));
    second(&anybody, &tokens[8], &app.code(&enrolment)).await.is(401);
}

#[tokio::test]
async fn a_clock_may_be_a_step_off() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, enrolment, _) = guarded(&app, "ada").await;
    app.advance(TimeDelta::minutes(5));
    let anybody = app.anonymous();
    let at = |seconds| app.code_at(&enrolment, TimeDelta::seconds(seconds));
    for (seconds, status) in [(-60, 401), (60, 401), (-30, 200), (0, 200), (30, 200)] {
        let token = first(&anybody, "ada@example.com").await;
        assert_eq!(second(&anybody, &token, &at(seconds)).await.status, status, "{seconds}");
    }
}

#[tokio::test]
async fn a_sign_in_waits_ten_minutes_for_its_code() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, enrolment, _) = guarded(&app, "ada").await;
    let anybody = app.anonymous();
    let token = first(&anybody, "ada@example.com").await;
    app.advance(TimeDelta::minutes(10));
    second(&anybody, &token, &app.code(&enrolment)).await.error(401, "unauthorized");
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from mfa_challenges").await, 0);
}

#[tokio::test]
async fn a_recovery_code_signs_in_once_however_it_is_typed() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (ada, _, codes) = guarded(&app, "ada").await;
    let (eve, _, _) = guarded(&app, "eve").await;
    let anybody = app.anonymous();
    let token = first(&anybody, "ada@example.com").await;
    let typed = format!(" {} ", codes[0].replace('-', " ").to_uppercase());
    // Nobody else's.
    let hers = first(&anybody, &eve.email()).await;
    second(&anybody, &hers, &typed).await.is(401);
    second(&anybody, &token, &typed).await.is(200);
    let token = first(&anybody, "ada@example.com").await;
    second(&anybody, &token, &codes[0]).await.is(401);
    second(&anybody, &token, &codes[1]).await.is(200);
    assert_eq!(ada.get(TOTP).await.json(200)["recoveryCodesLeft"], 8);
    app.run_due().await;
    assert!(app.mails().iter().any(|mail| mail.contains("A recovery code was used")));
    let dump = app.dump().await;
    for code in &codes {
        assert!(!dump.contains(code) && !dump.contains(&code.replace('-', "")), "stored in clear");
    }
}

#[tokio::test]
async fn recovery_codes_are_replaced_as_a_whole() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (ada, enrolment, codes) = guarded(&app, "ada").await;
    ada.post(CODES, json!({ "code": "000000" })).await.assert_invalid("code");
    let answer = ada.post(CODES, json!({ "code": app.code(&enrolment) })).await.json(200);
    let anybody = app.anonymous();
    let token = first(&anybody, "ada@example.com").await;
    second(&anybody, &token, &codes[0]).await.is(401);
    second(&anybody, &token, &text(&answer["recoveryCodes"][0])).await.is(200);
}

#[tokio::test]
async fn turning_it_off_takes_the_password_and_a_code() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (ada, enrolment, codes) = guarded(&app, "ada").await;
    let code = app.code(&enrolment);
    ada.post(DISABLE, json!({ "code": code })).await.assert_invalid("password");
    let body = |password: &str, code: &str| json!({ "password": password, "code": code });
    ada.post(DISABLE, body("wrong", &code)).await.assert_invalid("password");
    ada.post(DISABLE, body(PASSWORD, "000000")).await.assert_invalid("code");
    ada.post(TOTP, json!({})).await.error(409, "invalid_state");
    ada.post(CONFIRM, json!({ "code": code })).await.error(409, "invalid_state");
    ada.post(DISABLE, body(PASSWORD, &codes[3])).await.is(204);
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.anonymous().post(LOGIN, login).await.is(200);
    ada.post(DISABLE, body(PASSWORD, &code)).await.error(409, "invalid_state");
    app.run_due().await;
    assert!(app.mails().last().unwrap().contains("Two-factor sign-in was turned off"));
    assert_eq!(app.number("select count(*) from recovery_codes").await, 0);
}

#[tokio::test]
async fn a_key_that_was_not_confirmed_is_replaced() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let ada = app.sign_up("ada").await;
    ada.post(CONFIRM, json!({ "code": "000000" })).await.error(409, "invalid_state");
    let old = ada.post(TOTP, json!({})).await.json(201);
    let new = ada.post(TOTP, json!({})).await.json(201);
    assert_ne!(old["secret"], new["secret"]);
    ada.post(CONFIRM, json!({ "code": app.code(&old) })).await.assert_invalid("code");
    ada.post(CONFIRM, json!({ "code": app.code(&new) })).await.is(200);
    let dump = app.dump().await;
    assert!(!dump.contains(&text(&new["secret"])), "sealed under the master key");
}

/// The codes that a thousand parallel guesses are.
async fn guess(app: &TestApp, code: impl Fn(usize) -> String) -> (usize, usize) {
    let anybody = app.anonymous();
    // Several sign-ins, so that a limit on one alone would not do.
    let tokens = join_all((0..10).map(|_| first(&anybody, "ada@example.com"))).await;
    let guesses = (0..1_000).map(|n| {
        let (anybody, token, code) = (anybody.clone(), tokens[n % 10].clone(), code(n));
        async move { second(&anybody, &token, &code).await.status }
    });
    let statuses = join_all(guesses).await;
    let count = |status| statuses.iter().filter(|it| **it == status).count();
    (count(401), count(429))
}

#[tokio::test]
async fn of_a_thousand_parallel_guesses_of_a_code_ten_are_looked_at() {
    let app = TestApp::with(|config| {
        config.identity.logins_per_minute = 10_000;
        config.identity.anonymous_requests_per_minute = 10_000;
    })
    .await;
    app.leave_jobs();
    let (ada, enrolment, _) = guarded(&app, "ada").await;
    let now = app.code(&enrolment);
    let next = [app.code_at(&enrolment, TimeDelta::seconds(30)), now];
    let wrong = |n: usize| {
        let code = format!("{n:06}");
        if next.contains(&code) { "999999".to_owned() } else { code }
    };
    assert_eq!(guess(&app, wrong).await, (10, 990));
    // The right one is not looked at either, until the window ends; who is signed in stays so.
    let anybody = app.anonymous();
    let token = first(&anybody, "ada@example.com").await;
    let refused = second(&anybody, &token, &app.code(&enrolment)).await;
    refused.error(429, "rate_limit_exceeded");
    ada.get("/control/v1/auth/me").await.is(200);
    app.advance(TimeDelta::seconds(900));
    let token = first(&anybody, "ada@example.com").await;
    second(&anybody, &token, &app.code(&enrolment)).await.is(200);
}

#[tokio::test]
async fn of_a_thousand_parallel_guesses_of_a_recovery_code_ten_are_looked_at() {
    let app = TestApp::with(|config| {
        config.identity.logins_per_minute = 10_000;
        config.identity.anonymous_requests_per_minute = 10_000;
    })
    .await;
    app.leave_jobs();
    guarded(&app, "ada").await;
    assert_eq!(guess(&app, |n| format!("aaaa-bbbb-cccc-{n:04}")).await, (10, 990));
}
