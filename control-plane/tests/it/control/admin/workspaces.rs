use authsome_shared::id::EpochId;
use authsome_shared::snapshot::{Change, RateLimit, Workspace, WorkspaceStatus};
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{FakeProxy, Record, TestApp, fields, text};

const PATH: &str = "/control/v1/admin/workspaces";

fn one(changes: Vec<Change>) -> Workspace {
    match <[Change; 1]>::try_from(changes) {
        Ok([Change::Workspace(wire)]) => wire,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn workspaces_are_found_by_what_is_known_of_them() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let acme = ada.workspace("pro").await;
    let body = json!({ "name": "50% Off", "slug": "fifty" });
    let fifty = text(&bob.post("/control/v1/workspaces", body).await.json(201)["id"]);
    let gone = bob.workspace("free").await;
    bob.delete(&format!("/control/v1/workspaces/{gone}")).await.is(204);
    let found = async |query: &str| {
        let list = admin.get(&format!("{PATH}{query}")).await.json(200);
        let data = list["data"].as_array().unwrap().clone();
        data.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = [acme.clone(), fifty.clone(), gone.clone()];
    assert_eq!(found("").await, all);
    assert_eq!(found("?search=ACME").await, [acme.clone(), gone.clone()]);
    assert_eq!(found("?search=acme-corporation-2").await, [gone.as_str()]);
    assert_eq!(found("?search=0%25").await, [fifty.as_str()]);
    assert_eq!(found("?search=ada@example.com").await, [acme.as_str()]);
    assert_eq!(found(&format!("?search={}", bob.id())).await, [fifty.clone(), gone.clone()]);
    assert_eq!(found(&format!("?search={acme}")).await, [acme.as_str()]);
    assert_eq!(found("?plan=pro").await, [acme.as_str()]);
    assert_eq!(found("?status=deleted").await, [gone.as_str()]);
    assert_eq!(found("?plan=free&status=active&search=bob").await, [fifty.as_str()]);
    assert_eq!(found("?page=2&pageSize=1").await, [fifty]);
    assert!(found("?search=nothing").await.is_empty());
    admin.get(&format!("{PATH}?plan=platinum")).await.assert_invalid("plan");
    admin.get(&format!("{PATH}?search=%00")).await.assert_invalid("search");
    let seen = admin.get(&format!("{PATH}?search={acme}")).await.json(200)["data"][0].clone();
    assert_eq!(seen["ownerEmail"], "ada@example.com");
    assert_eq!(seen["limits"], json!({}));
    // Seeing it is not being in it.
    admin.get(&format!("/control/v1/workspaces/{acme}")).await.error(404, "not_found");
}

#[tokio::test]
async fn one_is_shown_with_counts_and_this_months_usage() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = owner.application(&workspace, json!({})).await;
    let key = text(&owner.key(application["id"].as_str().unwrap()).await["id"]);
    let gone = text(&owner.application(&workspace, json!({})).await["id"]);
    owner.delete(&format!("/control/v1/applications/{gone}")).await.is(204);
    app.run_due().await;
    let mut records = Record::of(&app, &application, &key).times(3);
    records[0].user = Some("u1".into());
    records[1].status = 502;
    FakeProxy::new(&app).apply(&EpochId::new(), 1, &records).await;
    let seen = admin.get(&format!("{PATH}/{workspace}")).await.json(200);
    assert_eq!(seen["counts"], json!({ "members": 1, "applications": 1, "keys": 3 }));
    assert_eq!(
        seen["usage"],
        json!({ "period": "2026-03", "requests": 3, "errors": 1, "activeUsers": 1 })
    );
    assert_eq!(
        seen["effectiveLimits"],
        json!({
            "rateLimit": { "requests": 100, "windowMs": 1000, "burst": 100 },
            "requestsPerMonth": null, "applications": null, "activeUsers": 10_000,
        })
    );
    admin.get(&format!("{PATH}/ws_none")).await.error(404, "not_found");
}

#[tokio::test]
async fn plan_and_limits_of_its_own_reach_the_proxies_with_the_answer() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await;
    let path = format!("{PATH}/{workspace}");
    let mut stream = FakeProxy::new(&app).follow().await;

    let answer = admin.patch(&path, json!({ "plan": "enterprise" })).await.json(200);
    assert_eq!(answer["plan"], "enterprise");
    let wire = one(stream.delta().await.1);
    assert_eq!((wire.rate_limit.requests, wire.quota), (1000, None));

    let limits = json!({
        "rateLimit": { "requests": 7, "windowMs": 2000 },
        "requestsPerMonth": 99, "applications": 1, "activeUsers": 12,
    });
    let answer = admin.patch(&path, json!({ "limits": limits })).await.json(200);
    let held = json!({
        "rateLimit": { "requests": 7, "windowMs": 2000, "burst": 7 },
        "requestsPerMonth": 99, "applications": 1, "activeUsers": 12,
    });
    assert_eq!((&answer["limits"], &answer["effectiveLimits"]), (&held, &held));
    assert_eq!(answer, admin.get(&path).await.json(200));
    let wire = one(stream.delta().await.1);
    assert_eq!((wire.rate_limit, wire.quota), (RateLimit::fast(7, 2000, 7), Some(99)));
    owner.application(&workspace, json!({})).await;
    let applications = format!("/control/v1/workspaces/{workspace}/applications");
    let refused = owner.post(&applications, json!({ "name": "B" })).await;
    assert_eq!(refused.error(402, "plan_limit_reached")["details"]["limit"], 1);
    let usage = owner.get(&format!("/control/v1/workspaces/{workspace}/usage")).await.json(200);
    assert_eq!(usage["usage"]["apiRequests"]["included"], 99);
    assert_eq!(usage["usage"]["mau"]["included"], 12);

    // A whole snapshot says the same, and another plan keeps what is agreed.
    let snapshot = FakeProxy::new(&app).snapshot().await;
    let holds =
        |change: &Change| matches!(change, Change::Workspace(wire) if wire.quota == Some(99));
    assert!(snapshot.changes.iter().any(holds));
    let answer = admin.patch(&path, json!({ "plan": "free" })).await.json(200);
    assert_eq!(answer["effectiveLimits"], held);
    // `null` is unlimited; what is left out follows the plan again.
    let answer = admin.patch(&path, json!({ "limits": { "applications": null } })).await.json(200);
    assert_eq!(answer["effectiveLimits"]["applications"], json!(null));
    assert_eq!(answer["effectiveLimits"]["requestsPerMonth"], 100_000);
    assert_eq!(fields(&answer["limits"]), ["applications"]);
    owner.post(&applications, json!({ "name": "B" })).await.is(202);
    let answer = admin.patch(&path, json!({ "limits": {} })).await.json(200);
    assert_eq!(answer["effectiveLimits"]["applications"], 3);
    app.run_due().await;
}

#[tokio::test]
async fn impossible_terms_are_refused_and_change_nothing() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let workspace = admin.workspace("free").await;
    let path = format!("{PATH}/{workspace}");
    let before = admin.get(&path).await.json(200);
    for (body, field) in [
        (json!({ "plan": "platinum" }), "plan"),
        (json!({ "status": "active" }), "status"),
        (json!({ "limits": [] }), "limits"),
        (json!({ "limits": { "colour": 1 } }), "limits.colour"),
        (json!({ "limits": { "applications": -1 } }), "limits.applications"),
        (json!({ "limits": { "activeUsers": null } }), "limits.activeUsers"),
        (json!({ "limits": { "rateLimit": null } }), "limits.rateLimit"),
        (json!({ "limits": { "rateLimit": { "requests": 0 } } }), "limits.rateLimit.requests"),
        (json!({ "limits": { "requestsPerMonth": 1_u64 << 60 } }), "limits.requestsPerMonth"),
    ] {
        admin.patch(&path, body).await.assert_invalid(field);
    }
    assert_eq!(admin.get(&path).await.json(200), before);
}

#[tokio::test]
async fn a_suspended_workspace_is_refused_by_the_proxies_until_let_go() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("{PATH}/{workspace}");
    let mut stream = FakeProxy::new(&app).follow().await;
    let body = json!({ "reason": " Unusual traffic " });
    let answer = admin.post(&format!("{path}/suspend"), body.clone()).await.json(200);
    assert_eq!(answer["status"], "suspended");
    assert_eq!(answer["suspendedReason"], "Unusual traffic");
    assert_eq!(one(stream.delta().await.1).status, WorkspaceStatus::Suspended);
    let seen = owner.get(&format!("/control/v1/workspaces/{workspace}")).await.json(200);
    assert_eq!(
        (&seen["status"], &seen["suspendedReason"]),
        (&json!("suspended"), &json!("Unusual traffic"))
    );
    admin.post(&format!("{path}/suspend"), body).await.error(409, "invalid_state");
    let answer = admin.post(&format!("{path}/unsuspend"), json!({})).await.json(200);
    assert_eq!((&answer["status"], answer.get("suspendedReason")), (&json!("active"), None));
    assert_eq!(one(stream.delta().await.1).status, WorkspaceStatus::Active);
    admin.post(&format!("{path}/unsuspend"), json!({})).await.error(409, "invalid_state");
    for reason in [json!(""), json!(" "), json!("a\u{0}"), json!("x".repeat(501)), json!(1)] {
        let body = json!({ "reason": reason });
        admin.post(&format!("{path}/suspend"), body).await.assert_invalid("reason");
    }
    admin.post(&format!("{path}/suspend"), json!({})).await.assert_invalid("reason");
}

#[tokio::test]
async fn nobody_ends_a_suspension_by_deleting_and_restoring() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("{PATH}/{workspace}");
    let own = format!("/control/v1/workspaces/{workspace}");
    admin.post(&format!("{path}/suspend"), json!({ "reason": "Why" })).await.is(200);
    owner.delete(&own).await.is(204);
    admin
        .post(&format!("{path}/suspend"), json!({ "reason": "Why" }))
        .await
        .error(409, "invalid_state");
    admin.post(&format!("{path}/unsuspend"), json!({})).await.error(409, "invalid_state");
    app.advance(TimeDelta::minutes(1));
    let mut stream = FakeProxy::new(&app).follow().await;
    let answer = owner.post(&format!("{own}/restore"), json!({})).await.json(200);
    assert_eq!(
        (&answer["status"], &answer["suspendedReason"]),
        (&json!("suspended"), &json!("Why"))
    );
    assert_eq!(one(stream.delta().await.1).status, WorkspaceStatus::Suspended);
    assert_eq!(
        admin.post(&format!("{path}/unsuspend"), json!({})).await.json(200)["status"],
        "active"
    );
}
