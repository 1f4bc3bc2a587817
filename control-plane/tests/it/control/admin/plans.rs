use std::collections::BTreeSet;

use authsome_control_plane::workspaces::{Plan, VersionOf, subscription};
use authsome_shared::snapshot::{Change, RateLimit};
use serde_json::{Value, json};

use crate::support::{FakeProxy, TestApp};

const PATH: &str = "/control/v1/admin/plans";

/// The plan as it is, without its name: what can be put back.
async fn limits(app: &TestApp, plan: &str) -> Value {
    let admin = app.sign_up_admin(&format!("reader-of-{plan}")).await;
    let mut body = admin.get(&format!("{PATH}/{plan}")).await.json(200);
    for told in ["name", "version", "private", "note", "createdAt"] {
        body.as_object_mut().unwrap().remove(told);
    }
    body
}

#[tokio::test]
async fn the_plans_are_listed_with_what_they_include() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let list = admin.get(PATH).await.json(200);
    assert_eq!((&list["total"], &list["page"]), (&json!(3), &json!(1)));
    let data = list["data"].as_array().unwrap();
    let names: Vec<_> = data.iter().map(|plan| plan["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["enterprise", "free", "pro"]);
    assert_eq!(data[1]["rateLimit"], json!({ "requests": 10, "windowMs": 1000, "burst": 10 }));
    assert_eq!(data[1]["requestsPerMonth"], 100_000);
    assert_eq!(data[2]["activeUsers"]["tiers"].as_array().unwrap().len(), 3);
    assert_eq!(admin.get(&format!("{PATH}/free")).await.json(200), data[1]);
    admin.get(&format!("{PATH}/platinum")).await.error(404, "not_found");
}

#[tokio::test]
async fn a_changed_plan_holds_for_every_workspace_of_it() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let (one, two) = (admin.workspace("free").await, admin.workspace("free").await);
    admin.workspace("pro").await;
    let agreed = admin.workspace("free").await;
    let path = format!("/control/v1/admin/workspaces/{agreed}");
    admin.patch(&path, json!({ "limits": { "requestsPerMonth": 7 } })).await.is(200);
    let mut body = limits(&app, "free").await;
    body["rateLimit"] = json!({ "requests": 3, "windowMs": 500 });
    body["requestsPerMonth"] = json!(5);
    body["applications"] = json!(0);
    let mut stream = FakeProxy::new(&app).follow().await;
    let path = format!("{PATH}/free?existing=move_now");
    let answer = admin.put(&path, body.clone()).await.json(200);
    assert_eq!(answer["version"], 2);
    assert_eq!(answer["rateLimit"], json!({ "requests": 3, "windowMs": 500, "burst": 3 }));
    assert_eq!(answer, admin.get(&format!("{PATH}/free")).await.json(200));
    assert_eq!(app.run_due().await, 1);
    let (_, changes) = stream.delta().await;
    let mut told = BTreeSet::new();
    for change in changes {
        let Change::Workspace(wire) = change else { panic!("{change:?}") };
        assert_eq!(wire.rate_limit, RateLimit::fast(3, 500, 3));
        let expected = if wire.id.as_str() == agreed { 7 } else { 5 };
        assert_eq!(wire.quota, Some(expected));
        told.insert(wire.id.to_string());
    }
    assert_eq!(told, BTreeSet::from([one.clone(), two, agreed]));
    let applications = format!("/control/v1/workspaces/{one}/applications");
    let refused = admin.post(&applications, json!({ "name": "One too many" }));
    refused.await.error(402, "plan_limit_reached");
    // Whole snapshots say the same.
    let snapshot = FakeProxy::new(&app).snapshot().await;
    let holds = |change: &&Change| matches!(change, Change::Workspace(wire) if wire.rate_limit.window_ms == 500);
    assert_eq!(snapshot.changes.iter().filter(holds).count(), 3);
}

#[tokio::test]
async fn many_workspaces_are_moved_in_bounded_batches_but_for_those_with_a_version_of_their_own() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let mut all = BTreeSet::new();
    for _ in 0..5 {
        all.insert(owner.workspace("pro").await);
    }
    let private = owner.workspace("pro").await;
    let admin = app.sign_up_admin("admin").await;
    let body = limits(&app, "pro").await;
    let agreed = admin.put(&format!("{PATH}/pro?private=true&note=Agreed"), body.clone()).await;
    assert_eq!(agreed.json(200)["version"], 2);
    let path = format!("/control/v1/admin/workspaces/{private}");
    admin.patch(&path, json!({ "version": 2 })).await.is(200);
    admin.patch(&path, json!({ "version": 9 })).await.error(404, "not_found");
    let added = admin.put(&format!("{PATH}/pro"), body).await.json(200);
    assert_eq!((&added["version"], app.run_due().await), (&json!(3), 0), "they keep theirs");
    let to = VersionOf { plan: Plan::Pro, version: 3 };
    let mut told = BTreeSet::new();
    let mut after = None;
    let mut stream = FakeProxy::new(&app).follow().await;
    for expected in [2, 2, 1] {
        let mut tx = app.write().await;
        let at = Some(app.now());
        after = subscription::move_all(&mut tx, to, at, after.as_ref(), 2).await.unwrap();
        tx.commit().await.unwrap();
        let (_, changes) = stream.delta().await;
        assert_eq!(changes.len(), expected);
        for change in changes {
            let Change::Workspace(wire) = change else { panic!("{change:?}") };
            told.insert(wire.id.to_string());
        }
    }
    assert_eq!((after, told), (None, all), "what was agreed with one alone stays");
    assert_eq!(admin.get(&path).await.json(200)["planVersion"], 2);
    let before = app.revision().await;
    let mut tx = app.write().await;
    let none = VersionOf { plan: Plan::Free, version: 1 };
    let after = subscription::move_all(&mut tx, none, Some(app.now()), None, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(after, None);
    assert_eq!(app.revision().await, before, "a plan of nobody changes nothing");
}

#[tokio::test]
async fn impossible_plans_are_refused_and_change_nothing() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let good = limits(&app, "pro").await;
    let path = format!("{PATH}/pro");
    let before = admin.get(&path).await.json(200);
    for (pointer, value, field) in [
        ("/feeMinor", json!(-1), "feeMinor"),
        ("/feeMinor", json!(1.5), "feeMinor"),
        ("/applications", json!(-1), "applications"),
        ("/requestsPerMonth", json!(1_u64 << 60), "requestsPerMonth"),
        ("/rateLimit/requests", json!(0), "rateLimit.requests"),
        ("/rateLimit/windowMs", json!(0), "rateLimit.windowMs"),
        ("/api/perMinute", json!(0), "api.perMinute"),
        ("/activeUsers/included", json!(null), "activeUsers.included"),
        ("/activeUsers/tiers/0/upTo", json!(1), "activeUsers.tiers"),
        ("/activeUsers/tiers/0/unitMicros", json!(-1), "activeUsers.tiers"),
        ("/storageGb/tiers/0", json!({ "unitMicros": 1 }), "storageGb.tiers[0].upTo"),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        admin.put(&path, body).await.assert_invalid(field);
    }
    for field in ["feeMinor", "applications", "requestsPerMonth", "rateLimit", "storageGb", "api"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        admin.put(&path, body).await.assert_invalid(field);
    }
    assert_eq!(admin.get(&path).await.json(200), before);
    admin.put(&path, good).await.is(200);
    app.run_due().await;
}
