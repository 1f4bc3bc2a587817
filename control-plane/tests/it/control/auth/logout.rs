use serde_json::json;

use crate::support::{PASSWORD, TestApp};

#[tokio::test]
async fn signing_out_holds_at_once() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let mut elsewhere = app.anonymous();
    let credentials = json!({ "email": ada.email(), "password": PASSWORD });
    elsewhere.be(&elsewhere.post("/control/v1/auth/login", credentials).await.json(200));

    ada.post("/control/v1/auth/logout", json!({})).await.is(204);
    ada.get("/control/v1/auth/me").await.error(401, "unauthorized");
    ada.post("/control/v1/auth/logout", json!({})).await.error(401, "unauthorized");
    let refresh = json!({ "refreshToken": ada.refresh_token });
    ada.post("/control/v1/auth/refresh", refresh).await.error(401, "unauthorized");
    elsewhere.get("/control/v1/auth/me").await.is(200);
}
