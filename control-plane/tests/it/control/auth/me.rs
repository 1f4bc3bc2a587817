use authsome_control_plane::execute;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::TestApp;

const PATH: &str = "/control/v1/auth/me";

#[tokio::test]
async fn the_account_is_shown_without_its_password() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let me = ada.get(PATH).await.json(200);
    assert_eq!(
        me,
        json!({
            "id": ada.id(), "email": "ada@example.com", "name": "ada", "emailVerified": false,
            "platformAdmin": false,
            "createdAt": "2026-03-10T12:00:00Z",
        })
    );
}

#[tokio::test]
async fn access_tokens_expire() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.advance(TimeDelta::seconds(899));
    ada.get(PATH).await.is(200);
    app.advance(TimeDelta::seconds(1));
    let refused = ada.get(PATH).await;
    refused.error(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn tokens_survive_a_restart() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let ada_after = ada.at(&app.reopen().await);
    assert_eq!(ada_after.get(PATH).await.json(200)["id"], ada.id());
    let refresh = json!({ "refreshToken": ada.refresh_token });
    ada_after.post("/control/v1/auth/refresh", refresh).await.is(200);
}

#[tokio::test]
async fn replicas_that_start_on_a_new_database_at_once_agree() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let mut tx = app.write().await;
    for sql in ["delete from signing_keys", "delete from revisions", "delete from platform"] {
        execute!(tx, sqlx::query(sql)).unwrap();
    }
    tx.commit().await.unwrap();
    let replicas = join_all((0..4).map(|_| app.reopen())).await;
    let body = json!({ "email": "ada@example.com", "password": "analytical", "name": "Ada" });
    let mut ada = replicas[0].clone();
    ada.be(&replicas[0].post("/control/v1/auth/register", body).await.json(201));
    for replica in &replicas {
        ada.at(replica).get(PATH).await.is(200);
    }
    assert_eq!(app.number("select count(*) from signing_keys").await, 1);
    assert_eq!(app.number("select revision from platform").await, 1);
}

#[tokio::test]
async fn tampered_and_foreign_tokens_are_refused() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let other_platform = TestApp::new().await;
    let stranger = other_platform.sign_up("ada").await;
    let token = ada.token.clone().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let unsigned = {
        use base64::Engine;
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        format!("{}.{}.", engine.encode(r#"{"alg":"none","typ":"JWT"}"#), parts[1])
    };
    for bad in [
        String::new(),
        "nonsense".into(),
        format!("{}.{}.{}", parts[0], parts[1], "A".repeat(parts[2].len())),
        format!("{}x.{}.{}", parts[0], parts[1], parts[2]),
        unsigned,
        stranger.token.unwrap(),
        app.app.node_token.expose().clone(),
    ] {
        let mut eve = app.anonymous();
        eve.token = Some(bad);
        eve.get(PATH).await.error(401, "unauthorized");
    }
    app.anonymous().get(PATH).await.error(401, "unauthorized");
}
