use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Client, Response, TestApp};

const PATH: &str = "/control/v1/auth/refresh";

async fn refresh(client: &Client, token: &str) -> Response {
    client.post(PATH, json!({ "refreshToken": token })).await
}

#[tokio::test]
async fn a_refresh_token_gives_a_new_pair() {
    let app = TestApp::new().await;
    let mut ada = app.sign_up("ada").await;
    app.advance(TimeDelta::minutes(16));
    ada.get("/control/v1/auth/me").await.error(401, "unauthorized");
    let before = ada.refresh_token.clone();
    let answer = refresh(&app.anonymous(), &before).await.json(200);
    ada.be(&answer);
    assert_ne!(ada.refresh_token, before);
    assert_eq!(ada.get("/control/v1/auth/me").await.json(200)["id"], answer["user"]["id"]);
    refresh(&app.anonymous(), &ada.refresh_token).await.is(200);
}

#[tokio::test]
async fn revoked_refresh_family_dies() {
    let app = TestApp::new().await;
    let mut ada = app.sign_up("ada").await;
    let stolen = ada.refresh_token.clone();
    ada.be(&refresh(&ada, &stolen).await.json(200));
    ada.get("/control/v1/auth/me").await.is(200);
    refresh(&app.anonymous(), &stolen).await.error(401, "unauthorized");
    refresh(&ada, &ada.refresh_token).await.error(401, "unauthorized");
    ada.get("/control/v1/auth/me").await.error(401, "unauthorized");
}

#[tokio::test]
async fn of_a_hundred_parallel_refreshes_one_wins_and_the_session_ends() {
    let app = TestApp::new().await;
    let mut ada = app.sign_up("ada").await;
    let anonymous = app.anonymous();
    let answers = join_all((0..100).map(|_| refresh(&anonymous, &ada.refresh_token))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(200), count(401)), (1, 99));
    // A token shown twice was stolen from one of the two: neither keeps the session.
    let won = answers.iter().find(|answer| answer.status == 200).unwrap().json(200);
    ada.be(&won);
    ada.get("/control/v1/auth/me").await.error(401, "unauthorized");
    refresh(&ada, &ada.refresh_token).await.error(401, "unauthorized");
    assert_eq!(app.number("select count(*) from sessions where revoked_at is null").await, 0);
}

#[tokio::test]
async fn refresh_tokens_expire() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.advance(TimeDelta::days(30));
    refresh(&ada, &ada.refresh_token).await.error(401, "unauthorized");
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from sessions").await, 0);
    assert_eq!(app.number("select count(*) from refresh_tokens").await, 0);
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_is_refreshed_and_keeps_few_tokens() {
    let app = TestApp::new().await;
    let mut ada = app.sign_up("ada").await;
    for _ in 0..6 {
        app.advance(TimeDelta::days(20));
        app.housekeeping().await;
        ada.be(&refresh(&ada, &ada.refresh_token).await.json(200));
    }
    assert_eq!(app.number("select count(*) from sessions").await, 1);
    assert_eq!(app.number("select count(*) from refresh_tokens").await, 2);
}

#[tokio::test]
async fn nonsense_is_refused() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    for token in ["", "rt_nonsense", "\u{0}", ada.token.as_deref().unwrap()] {
        refresh(&ada, token).await.error(401, "unauthorized");
    }
    ada.post(PATH, json!({})).await.assert_invalid("refreshToken");
    refresh(&ada, &ada.refresh_token).await.is(200);
}
