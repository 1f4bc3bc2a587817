//! `platform.admins` in the settings.

use authsome_control_plane::app::App;
use authsome_control_plane::identity::admin;

use serde_json::json;

use crate::support::{Client, TestApp};

/// Restarts with these addresses in the settings.
async fn restart(app: &TestApp, addresses: &[&str]) -> Vec<String> {
    let mut config = app.app.config.clone();
    config.platform.admins = addresses.iter().map(|&address| address.to_owned()).collect();
    App::open(config, app.clock.clone()).await.unwrap();
    admins(app).await
}

async fn admins(app: &TestApp) -> Vec<String> {
    let mut tx = app.read().await;
    admin::all(&mut tx).await.unwrap().into_iter().map(|account| account.email).collect()
}

async fn is_admin(client: &Client) -> bool {
    client.get("/control/v1/auth/me").await.json(200)["platformAdmin"].as_bool().unwrap()
}

#[tokio::test]
async fn an_existing_account_is_granted_at_the_start_that_first_names_it() {
    let app = TestApp::new().await;
    let ops = app.sign_up("ops").await;
    app.sign_up("other").await;
    assert_eq!(restart(&app, &["ops@example.com"]).await, ["ops@example.com"]);
    assert!(is_admin(&ops).await);
    assert_eq!(restart(&app, &[]).await, ["ops@example.com"], "not taken back by leaving it out");
}

/// Anybody can register with an address that is not theirs.
#[tokio::test]
async fn who_registers_a_listed_address_is_no_admin_until_it_is_proved() {
    let app = TestApp::with(|config| config.platform.admins = vec!["ops@example.com".into()]).await;
    let squatter = app.sign_up("ops").await;
    assert!(!is_admin(&squatter).await);
    assert!(restart(&app, &["ops@example.com"]).await.is_empty(), "nor by a restart");

    // Its owner follows the link that the platform sends.
    squatter.post("/control/v1/auth/email/verification", json!({})).await.is(202);
    app.run_due().await;
    let verify = json!({ "token": app.mail_token("Verify your e-mail address") });
    app.anonymous().post("/control/v1/auth/email/verify", verify).await.is(200);
    assert!(!is_admin(&squatter).await, "the squatter still knows the password");

    let forgot = json!({ "email": "ops@example.com" });
    app.anonymous().post("/control/v1/auth/password/forgot", forgot).await.is(202);
    app.run_due().await;
    let password = "the owner's own password";
    let reset = json!({ "token": app.mail_token("Set a new password"), "password": password });
    app.anonymous().post("/control/v1/auth/password/reset", reset).await.is(204);
    squatter.get("/control/v1/auth/me").await.error(401, "unauthorized");
    let login = json!({ "email": "ops@example.com", "password": password });
    let owner = app.anonymous().post("/control/v1/auth/login", login).await.json(200);
    assert_eq!(owner["user"]["platformAdmin"], true);
    app.run_due().await;
}

#[tokio::test]
async fn what_was_taken_back_is_not_given_again() {
    let app = TestApp::new().await;
    app.sign_up("ops").await;
    let listed = ["ops@example.com".to_owned()];
    restart(&app, &["ops@example.com"]).await;
    let mut tx = app.write().await;
    assert!(admin::set(&mut tx, " Ops@example.com", false, "cli").await.unwrap());
    assert!(!admin::verified(&mut tx, &listed, "ops@example.com").await.unwrap());
    assert!(!admin::set(&mut tx, "nobody@example.com", true, "cli").await.unwrap());
    tx.commit().await.unwrap();
    assert!(restart(&app, &["ops@example.com"]).await.is_empty());
}
