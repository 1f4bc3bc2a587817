use chrono::TimeDelta;
use serde_json::json;

use crate::support::{Client, PASSWORD, TestApp};

const VERIFY: &str = "/control/v1/auth/email/verify";
const AGAIN: &str = "/control/v1/auth/email/verification";
const CHANGE: &str = "/control/v1/auth/email/change";
const ME: &str = "/control/v1/auth/me";
const PROOF: &str = "Verify your e-mail address";

async fn verified(client: &Client) -> bool {
    client.get(ME).await.json(200)["emailVerified"] == json!(true)
}

#[tokio::test]
async fn registering_sends_a_link_that_proves_the_address() {
    let app = TestApp::new().await;
    let mut ada = app.anonymous();
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "name": "Ada" });
    ada.be(&ada.post("/control/v1/auth/register", body).await.json(201));
    assert!(!verified(&ada).await, "usable at once, and not proved");
    app.run_due().await;
    let token = app.mail_token(PROOF);
    let answer = app.anonymous().post(VERIFY, json!({ "token": token })).await.json(200);
    assert_eq!((&answer["id"], &answer["emailVerified"]), (&json!(ada.id()), &json!(true)));
    assert!(verified(&ada).await);
    app.anonymous().post(VERIFY, json!({ "token": token })).await.assert_invalid("token");
    ada.post(AGAIN, json!({})).await.error(409, "invalid_state");
}

#[tokio::test]
async fn the_mail_can_be_sent_again_but_not_for_ever() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let ada = app.sign_up("ada").await;
    for _ in 0..5 {
        ada.post(AGAIN, json!({})).await.is(202);
    }
    ada.post(AGAIN, json!({})).await.error(429, "rate_limit_exceeded");
    app.run_due().await;
    let token = app.mail_token(PROOF);
    app.advance(TimeDelta::hours(72));
    app.anonymous().post(VERIFY, json!({ "token": token })).await.assert_invalid("token");
    let mut ada = ada;
    let refresh = json!({ "refreshToken": ada.refresh_token });
    ada.be(&ada.post("/control/v1/auth/refresh", refresh).await.json(200));
    ada.post(AGAIN, json!({})).await.is(202);
    app.run_due().await;
    let token = app.mail_token(PROOF);
    app.anonymous().post(VERIFY, json!({ "token": token })).await.is(200);
}

#[tokio::test]
async fn a_new_address_counts_once_it_is_confirmed_and_the_old_one_is_told() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let body = json!({ "email": " Ada@New.example ", "password": PASSWORD });
    ada.post(CHANGE, body).await.is(202);
    app.run_due().await;
    assert_eq!(ada.get(ME).await.json(200)["email"], "ada@example.com");
    let mails = app.mails();
    let to = |address: &str, subject: &str| {
        let header = format!("To: {address}");
        mails.iter().filter(|m| m.contains(&header) && m.contains(subject)).count()
    };
    assert_eq!(to("ada@new.example", "Confirm your new e-mail address"), 1);
    assert_eq!(to("ada@example.com", "Your e-mail address is about to change"), 1);
    let token = app.mail_token("Confirm your new e-mail address");
    let answer = app.anonymous().post(VERIFY, json!({ "token": token })).await.json(200);
    assert_eq!(answer["email"], "ada@new.example");
    assert_eq!(answer["emailVerified"], true);
    app.run_due().await;
    assert!(app.mails().last().unwrap().contains("To: ada@example.com"), "told at the old one");
    let login = |email: &str| json!({ "email": email, "password": PASSWORD });
    let anybody = app.anonymous();
    anybody.post("/control/v1/auth/login", login("ada@new.example")).await.is(200);
    anybody.post("/control/v1/auth/login", login("ada@example.com")).await.is(401);
}

#[tokio::test]
async fn a_change_takes_the_password_and_a_free_address() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.sign_up("bob").await;
    for (body, field) in [
        (json!({ "email": "new@example.com" }), "password"),
        (json!({ "email": "new@example.com", "password": "wrong" }), "password"),
        (json!({ "email": "nowhere", "password": PASSWORD }), "email"),
    ] {
        ada.post(CHANGE, body).await.assert_invalid(field);
    }
    let taken = json!({ "email": "bob@example.com", "password": PASSWORD });
    ada.post(CHANGE, taken).await.error(409, "already_exists");
}

#[tokio::test]
async fn an_address_that_was_taken_in_the_meantime_stays_its_owners() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    ada.post(CHANGE, json!({ "email": "bob@example.com", "password": PASSWORD })).await.is(202);
    app.run_due().await;
    let token = app.mail_token("Confirm your new e-mail address");
    app.sign_up("bob").await;
    let answer = app.anonymous().post(VERIFY, json!({ "token": token })).await;
    answer.error(409, "already_exists");
    assert_eq!(ada.get(ME).await.json(200)["email"], "ada@example.com");
}

#[tokio::test]
async fn a_second_change_takes_the_first_ones_link_back() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let change = |email: &str| json!({ "email": email, "password": PASSWORD });
    ada.post(CHANGE, change("one@example.com")).await.is(202);
    app.run_due().await;
    let first = app.mail_token("Confirm your new e-mail address");
    ada.post(CHANGE, change("two@example.com")).await.is(202);
    app.run_due().await;
    app.anonymous().post(VERIFY, json!({ "token": first })).await.assert_invalid("token");
}

#[tokio::test]
async fn links_to_an_old_address_are_good_for_nothing() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let ada = app.sign_up("ada").await;
    ada.post(AGAIN, json!({})).await.is(202);
    let forgot = json!({ "email": "ada@example.com" });
    app.anonymous().post("/control/v1/auth/password/forgot", forgot).await.is(202);
    ada.post(CHANGE, json!({ "email": "new@example.com", "password": PASSWORD })).await.is(202);
    app.run_due().await;
    let (proof, reset) = (app.mail_token(PROOF), app.mail_token("Set a new password"));
    let token = app.mail_token("Confirm your new e-mail address");
    app.anonymous().post(VERIFY, json!({ "token": token })).await.is(200);
    app.anonymous().post(VERIFY, json!({ "token": proof })).await.assert_invalid("token");
    let body = json!({ "token": reset, "password": "another password" });
    app.anonymous().post("/control/v1/auth/password/reset", body).await.assert_invalid("token");
}

#[tokio::test]
async fn a_name_can_be_changed() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    assert_eq!(ada.patch(ME, json!({ "name": " Ada King " })).await.json(200)["name"], "Ada King");
    assert_eq!(ada.patch(ME, json!({})).await.json(200)["name"], "Ada King");
    ada.patch(ME, json!({ "name": "" })).await.assert_invalid("name");
    ada.patch(ME, json!({ "email": "x@y.z" })).await.assert_invalid("email");
}
