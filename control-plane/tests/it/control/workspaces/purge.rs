use std::collections::BTreeSet;

use authsome_shared::id::EpochId;
use authsome_shared::snapshot::Change;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{FakeProxy, Record, TestApp, text};

#[tokio::test]
async fn a_workspace_is_purged_after_thirty_days_and_usage_stays() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let kept = owner.workspace("pro").await;
    let application = owner.application(&workspace, json!({})).await;
    owner.application(&kept, json!({})).await;
    let key = text(&owner.key(application["id"].as_str().unwrap()).await["id"]);
    app.run_due().await;
    let proxy = FakeProxy::new(&app);
    let records = Record::of(&app, &application, &key).times(3);
    proxy.apply(&EpochId::new(), 1, &records).await;
    owner.delete(&format!("/control/v1/workspaces/{workspace}")).await.is(204);

    app.advance(TimeDelta::days(30) - TimeDelta::seconds(1));
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from workspaces").await, 2);
    let mut stream = proxy.follow().await;
    app.advance(TimeDelta::seconds(1));
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from workspaces").await, 2, "its month is not closed");
    app.bill().await;
    app.leave_jobs();
    app.housekeeping().await;
    app.housekeeping().await;

    assert_eq!(app.number("select count(*) from workspaces").await, 1);
    assert_eq!(app.number("select count(*) from applications").await, 1);
    assert_eq!(app.number("select count(*) from keys").await, 2);
    assert_eq!(app.number("select count(*) from members").await, 1);
    assert_eq!(app.number("select count(*) from usage_totals").await, 3);

    // Proxies are told to forget every part of it.
    let application = text(&application["id"]);
    let mut removed = BTreeSet::new();
    while !removed.contains(&workspace) {
        for change in stream.delta().await.1 {
            removed.insert(match change {
                Change::RemoveWorkspace(id) => id.to_string(),
                Change::RemoveApplication(id) => id.to_string(),
                Change::RemoveKey(id) => id.to_string(),
                other => panic!("{other:?}"),
            });
        }
    }
    assert!(removed.contains(&application) && removed.contains(&key), "{removed:?}");
    assert_eq!(removed.len(), 5, "one workspace, one application, three keys: {removed:?}");
}
