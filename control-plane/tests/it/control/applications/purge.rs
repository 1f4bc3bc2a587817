use chrono::TimeDelta;
use serde_json::json;

use crate::support::{TestApp, text};

#[tokio::test]
async fn an_application_is_purged_after_seven_days() {
    let app = TestApp::new().await;
    let mut owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = owner.application(&workspace, json!({})).await;
    app.run_due().await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    owner.delete(&path).await.is(204);
    app.advance(TimeDelta::days(7) - TimeDelta::seconds(1));
    let refresh = json!({ "refreshToken": owner.refresh_token });
    owner.be(&owner.post("/control/v1/auth/refresh", refresh).await.json(200));
    app.housekeeping().await;
    owner.get(&path).await.is(200);
    app.advance(TimeDelta::seconds(1));
    app.housekeeping().await;
    owner.get(&path).await.error(404, "not_found");
    owner.post(&format!("{path}/restore"), json!({})).await.error(404, "not_found");
    assert_eq!(app.number("select count(*) from keys").await, 0);
    // Its slug is free again.
    let again = owner.application(&workspace, json!({})).await;
    assert_eq!(again["slug"], "production");
    app.run_due().await;
}
