use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, TestApp, fields, text};

const PATH: &str = "/control/v1/auth/sessions";

/// The same person in another session, with a client of a name.
async fn elsewhere(app: &TestApp, user: &Client, agent: &str) -> Client {
    let mut other = app.anonymous();
    let body = json!({ "email": user.email(), "password": PASSWORD });
    let request = other
        .request(Method::POST, "/control/v1/auth/login")
        .header("content-type", "application/json")
        .header("user-agent", agent);
    let answer = other.send(request.body(body.to_string().into()).unwrap()).await.json(200);
    other.be(&answer);
    other
}

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|session| text(&session["id"])).collect()
}

#[tokio::test]
async fn sessions_are_listed_with_where_they_are_from() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.advance(TimeDelta::minutes(1));
    let phone = elsewhere(&app, &ada, "Phone/1.0").await;
    let list = ada.get(PATH).await.json(200);
    assert_eq!(fields(&list), ["data", "page", "pageSize", "total"]);
    assert_eq!(list["total"], 2);
    let (newest, oldest) = (&list["data"][0], &list["data"][1]);
    assert_eq!(newest["userAgent"], "Phone/1.0");
    assert_eq!(newest["address"], phone.address.ip().to_string());
    assert_eq!(newest["method"], "password");
    assert_eq!((&newest["current"], &oldest["current"]), (&json!(false), &json!(true)));
    assert_eq!(newest["createdAt"], "2026-03-10T12:01:00Z");
    assert_eq!(oldest["userAgent"], Value::Null);
    let second = ada.get(&format!("{PATH}?page=2&pageSize=1")).await.json(200);
    assert_eq!(ids(&second), [text(&oldest["id"])]);
}

#[tokio::test]
async fn a_session_that_is_used_is_seen() {
    let app = TestApp::new().await;
    let mut ada = app.sign_up("ada").await;
    app.advance(TimeDelta::minutes(5));
    ada.get("/control/v1/auth/me").await.is(200);
    app.note_seen().await;
    app.note_seen().await;
    let list = ada.get(PATH).await.json(200);
    assert_eq!(list["data"][0]["lastSeenAt"], "2026-03-10T12:05:00Z");
    app.advance(TimeDelta::minutes(5));
    let refresh = json!({ "refreshToken": ada.refresh_token });
    ada.be(&ada.post("/control/v1/auth/refresh", refresh).await.json(200));
    let list = ada.get(PATH).await.json(200);
    assert_eq!(list["data"][0]["lastSeenAt"], "2026-03-10T12:10:00Z");
}

#[tokio::test]
async fn an_ended_session_is_refused_at_once() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let phone = elsewhere(&app, &ada, "Phone").await;
    let id = text(&phone.get(PATH).await.json(200)["data"][0]["id"]);
    let path = format!("{PATH}/{id}");
    // Nobody else's.
    app.sign_up("eve").await.delete(&path).await.error(404, "not_found");
    phone.get("/control/v1/auth/me").await.is(200);
    ada.delete(&path).await.is(204);
    phone.get("/control/v1/auth/me").await.error(401, "unauthorized");
    let refresh = json!({ "refreshToken": phone.refresh_token });
    phone.post("/control/v1/auth/refresh", refresh).await.error(401, "unauthorized");
    ada.delete(&path).await.error(404, "not_found");
    assert_eq!(ada.get(PATH).await.json(200)["total"], 1);
}

#[tokio::test]
async fn all_others_can_be_ended() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let eve = app.sign_up("eve").await;
    let others = [elsewhere(&app, &ada, "A").await, elsewhere(&app, &ada, "B").await];
    ada.delete(PATH).await.is(204);
    for other in &others {
        other.get("/control/v1/auth/me").await.is(401);
    }
    let list = ada.get(PATH).await.json(200);
    assert_eq!((&list["total"], &list["data"][0]["current"]), (&json!(1), &json!(true)));
    eve.get("/control/v1/auth/me").await.is(200);
    ada.delete(PATH).await.is(204);
}

#[tokio::test]
async fn sessions_that_have_expired_are_not_listed() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.advance(TimeDelta::days(29));
    let later = elsewhere(&app, &ada, "Later").await;
    assert_eq!(later.get(PATH).await.json(200)["total"], 2);
    app.advance(TimeDelta::days(1));
    let later = elsewhere(&app, &later, "Again").await;
    assert_eq!(later.get(PATH).await.json(200)["total"], 2);
}
