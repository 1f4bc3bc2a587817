//! `/control/v1/workspaces/{workspaceId}/usage`.

mod breakdown;
mod export;
mod items;

use authsome_control_plane::execute;
use authsome_shared::id::EpochId;
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use crate::support::{FakeProxy, Record, TestApp, text};

/// Makes `count` distinct end users of an application in a month.
async fn add_users(app: &TestApp, application: &Value, period: &str, count: u32) {
    let mut tx = app.write().await;
    // One statement: by doubling, since a hundred thousand inserts take too long.
    execute!(
        tx,
        sqlx::query(
            "insert into usage_users (application_id, period, end_user, workspace_id, last_seen_at) \
             with recursive numbers (n) as \
               (select 1 union all select n + 1 from numbers where n < cast($4 as bigint)) \
             select $1, $2, 'user-' || cast(n as text), $3, $5 from numbers"
        )
        .bind(text(&application["id"]))
        .bind(period)
        .bind(text(&application["workspaceId"]))
        .bind(i64::from(count))
        .bind(app.now())
    )
    .unwrap();
    // As applying a batch keeps it.
    execute!(
        tx,
        sqlx::query(
            "insert into usage_active_users (workspace_id, period, users) \
             select workspace_id, period, count(distinct end_user) from usage_users \
             where workspace_id = $1 and period = $2 group by workspace_id, period \
             on conflict (workspace_id, period) do update set users = excluded.users"
        )
        .bind(text(&application["workspaceId"]))
        .bind(period)
    )
    .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_unused_month_is_all_zeros() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for (plan, cost, users, requests, applications, storage) in [
        ("free", 0.0, 10_000, json!(100_000), json!(3), 5),
        ("pro", 25.0, 10_000, json!(null), json!(null), 10),
    ] {
        let workspace = owner.workspace(plan).await;
        let path = format!("/control/v1/workspaces/{workspace}/usage");
        let answer = owner.get(&path).await.json(200);
        assert_eq!(
            answer,
            json!({
                "period": "2026-03", "workspaceId": workspace, "plan": plan,
                "usage": {
                    "mau": { "current": 0, "included": users, "overage": 0, "cost": 0.0 },
                    "applications": { "count": 0, "limit": applications },
                    "storage": {
                        "bytes": 0, "gb": 0.0, "gbMonths": 0.0, "included": storage,
                        "overage": 0.0, "cost": 0.0,
                    },
                    "apiRequests": {
                        "count": 0, "included": requests, "overage": 0, "cost": 0.0, "errors": 0,
                    },
                    "bandwidth": {
                        "bytesIn": 0, "bytesOut": 0, "gb": 0.0, "included": null, "overage": 0.0,
                        "cost": 0.0,
                    },
                    "meters": [],
                },
                "costs": {
                    "fee": cost, "usage": 0.0, "adjustments": 0.0, "discount": 0.0, "tax": 0.0,
                    "total": cost,
                },
                "estimatedCost": cost, "currency": "USD",
                "billingDate": "2026-04-01T00:00:00Z",
            })
        );
    }
}

#[tokio::test]
async fn requests_count_in_units_in_the_month_of_their_time() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let key = text(&owner.key(&text(&application["id"])).await["id"]);
    let one = Record::of(&app, &application, &key);
    let at = |text: &str| text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_millis();
    let records = [
        one.with(|r| r.units = 5),
        one.with(|r| r.status = 500),
        one.with(|r| r.status = 404),
        one.with(|r| r.at = at("2026-02-28T23:59:59.999Z")),
        one.with(|r| r.at = at("2026-03-01T00:00:00Z")),
    ];
    FakeProxy::new(&app).apply(&EpochId::new(), 1, &records).await;
    let path = format!("/control/v1/workspaces/{}/usage", text(&application["workspaceId"]));
    let march = owner.get(&path).await.json(200);
    assert_eq!(march["usage"]["apiRequests"]["count"], 8);
    assert_eq!(march["usage"]["apiRequests"]["errors"], 1);
    assert_eq!(
        march["usage"]["bandwidth"],
        json!({
            "bytesIn": 40, "bytesOut": 400, "gb": 0.0, "included": null, "overage": 0.0, "cost": 0.0,
        })
    );
    assert_eq!(march["usage"]["applications"]["count"], 1);
    let february = owner.get(&format!("{path}?period=2026-02")).await.json(200);
    assert_eq!(february["period"], "2026-02");
    assert_eq!(february["usage"]["apiRequests"]["count"], 1);
    assert_eq!(february["billingDate"], "2026-03-01T00:00:00Z");
    app.advance(TimeDelta::minutes(10));
    assert_eq!(owner.get(&format!("{path}?period=2026-03")).await.json(200), march);
}

#[tokio::test]
async fn active_users_are_priced_by_graduated_tiers() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for (users, overage, cost) in
        [(10_000, 0, 0.0), (10_001, 1, 0.02), (10_012, 12, 0.24), (150_000, 140_000, 2_550.0)]
    {
        let application = owner.application(&owner.workspace("pro").await, json!({})).await;
        app.run_due().await;
        let path = format!("/control/v1/workspaces/{}/usage", text(&application["workspaceId"]));
        add_users(&app, &application, "2026-03", users).await;
        let answer = owner.get(&path).await.json(200);
        let expected =
            json!({ "current": users, "included": 10_000, "overage": overage, "cost": cost });
        assert_eq!(answer["usage"]["mau"], expected, "{users}");
        assert_eq!(answer["estimatedCost"], 25.0 + cost, "{users}");
        let before = owner.get(&format!("{path}?period=2026-02")).await.json(200);
        assert_eq!(before["estimatedCost"], 0.0, "before it was made");
    }
}

#[tokio::test]
async fn a_user_of_two_applications_counts_once_in_the_workspace() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let (one, two) = (
        owner.application(&workspace, json!({})).await,
        owner.application(&workspace, json!({})).await,
    );
    app.run_due().await;
    add_users(&app, &one, "2026-03", 10).await;
    add_users(&app, &two, "2026-03", 15).await;
    let foreign = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    add_users(&app, &foreign, "2026-03", 40).await;
    let answer = owner.get(&format!("/control/v1/workspaces/{workspace}/usage")).await.json(200);
    assert_eq!(answer["usage"]["mau"]["current"], 15);
}

#[tokio::test]
async fn what_is_no_month_is_refused() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}/usage", owner.workspace("pro").await);
    for period in ["2026", "2026-13", "2026-00", "2026-3", "03-2026", "2026-03-01", "", "now"] {
        owner.get(&format!("{path}?period={period}")).await.assert_invalid("period");
    }
    for period in ["2020-01", "2027-12", "9999-12"] {
        owner.get(&format!("{path}?period={period}")).await.is(200);
    }
}
