//! Mail by a real server, and what its links do.

use authsome_e2e::control_plane::ControlPlane;
use authsome_e2e::smtp::{MailServer, link, token};
use serde_json::json;

const DASHBOARD: &str = "https://dashboard.example.com";

async fn start(server: &MailServer) -> ControlPlane {
    ControlPlane::start(vec![
        ("MAIL__SMTP_URL".into(), server.url()),
        ("MAIL__FROM".into(), "AuthSome <hello@authsome.example>".into()),
        ("PLATFORM__DASHBOARD_URL".into(), DASHBOARD.into()),
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_mails_prove_an_address_and_set_a_new_password() {
    let Some(server) = MailServer::start().await else { return };
    let control = start(&server).await;
    let anybody = control.anonymous();
    let email = "ada@example.com";
    let body = json!({ "email": email, "password": "the old one", "name": "Ada" });
    let registered = anybody.post("/control/v1/auth/register", body).await.expect(201);
    let mut ada = control.anonymous();
    ada.be(&registered);

    let mail = server.mail(email, "Verify your e-mail address").await;
    assert!(mail.contains("From: AuthSome <hello@authsome.example>"), "{mail}");
    assert!(link(&mail).starts_with(&format!("{DASHBOARD}/verify-email?token=")), "{mail}");
    let verify = "/control/v1/auth/email/verify";
    let verified = anybody.post(verify, json!({ "token": token(&mail) })).await.expect(200);
    assert_eq!(verified.body["emailVerified"], true);
    anybody.post(verify, json!({ "token": token(&mail) })).await.expect(400);

    let forgot = "/control/v1/auth/password/forgot";
    anybody.post(forgot, json!({ "email": email })).await.expect(202);
    let mail = server.mail(email, "Set a new password").await;
    assert!(link(&mail).starts_with(&format!("{DASHBOARD}/reset-password?token=")), "{mail}");
    let reset = "/control/v1/auth/password/reset";
    let body = json!({ "token": token(&mail), "password": "the new one" });
    anybody.post(reset, body.clone()).await.expect(204);
    anybody.post(reset, body).await.expect(400);
    ada.get("/control/v1/auth/me").await.expect(401);
    let login = "/control/v1/auth/login";
    anybody.post(login, json!({ "email": email, "password": "the old one" })).await.expect(401);
    anybody.post(login, json!({ "email": email, "password": "the new one" })).await.expect(200);
    server.mail(email, "Your password was changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_waits_for_a_server_that_is_down_and_over_a_restart() {
    let Some(mut server) = MailServer::start().await else { return };
    let mut control = start(&server).await;
    let email = "bob@example.com";
    let body = json!({ "email": email, "password": "the old one", "name": "Bob" });
    control.anonymous().post("/control/v1/auth/register", body).await.expect(201);
    server.mail(email, "Verify your e-mail address").await;
    server.stop();
    let forgot = "/control/v1/auth/password/forgot";
    control.anonymous().post(forgot, json!({ "email": email })).await.expect(202);
    // A job in the hands of a process that is killed comes only when its claim runs out.
    control.restart_gently().await;
    assert!(server.start_again().await);
    let mail = server.mail(email, "Set a new password").await;
    let body = json!({ "token": token(&mail), "password": "the new one" });
    control.anonymous().post("/control/v1/auth/password/reset", body).await.expect(204);
}
