//! Coupons, from the admin who makes one to the invoice that it takes something off.

use authsome_shared::id::WorkspaceId;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    assert_adds_up, invoice, invoices, note_late, patient, set_users, subscriber, turn_to,
};
use crate::support::{Client, TestApp, text};

const COUPONS: &str = "/control/v1/admin/coupons";

fn of_workspace(workspace: &WorkspaceId) -> String {
    format!("/control/v1/workspaces/{workspace}/coupons")
}

/// An admin who has made these coupons.
async fn admin_with(app: &TestApp, coupons: &[Value]) -> Client {
    let admin = app.sign_up_admin("admin").await;
    for coupon in coupons {
        admin.post(COUPONS, coupon.clone()).await.is(201);
    }
    admin
}

async fn redeem(by: &Client, workspace: &WorkspaceId, code: &str) -> Value {
    by.post(&of_workspace(workspace), json!({ "code": code })).await.json(201)
}

async fn totals(app: &TestApp, workspace: &WorkspaceId) -> Vec<(i64, i64)> {
    let invoices = invoices(app, workspace).await;
    invoices.into_iter().map(|invoice| (invoice.discount, invoice.total)).collect()
}

#[tokio::test]
async fn a_coupon_takes_its_part_off_so_many_months_from_this_one_on() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let half = json!({ "code": "half-off", "percentOff": 12.3456, "months": 2 });
    let five = json!({ "code": "FIVE", "amountOff": 5.5 });
    let admin = admin_with(&app, &[half, five]).await;
    let redeemed = redeem(&owner, &workspace, " Half-Off ").await;
    assert_eq!(
        redeemed,
        json!({
            "code": "HALF-OFF", "percentOff": 12.3456, "amountOff": null, "currency": "USD",
            "months": 2, "plans": null, "redeemedAt": "2026-03-10T12:00:00Z",
            "firstPeriod": "2026-03", "endPeriod": "2026-05", "removedAt": null,
        })
    );
    turn_to(&app, "2026-03-11T00:00:00Z");
    redeem(&owner, &workspace, "five").await;
    let list = owner.get(&of_workspace(&workspace)).await.json(200);
    assert_eq!((&list["total"], &list["data"][1]), (&json!(2), &redeemed));
    let path = format!("{}?pageSize=1&page=2", of_workspace(&workspace));
    assert_eq!(owner.get(&path).await.json(200)["data"], json!([redeemed]));
    let subscription =
        owner.get(&format!("/control/v1/workspaces/{workspace}/subscription")).await.json(200);
    assert_eq!(subscription["coupons"][0], redeemed);
    assert_eq!(admin.get(&format!("{COUPONS}/five")).await.json(200)["redemptions"], 1);
    let usage = format!("/control/v1/workspaces/{workspace}/usage");
    assert_eq!(owner.get(&usage).await.json(200)["estimatedCost"], 16.41);

    turn_to(&app, "2026-06-02T00:00:00Z");
    app.bill().await;
    // 12.3456 % of $25.00 are $3.09, and $5.50.
    assert_eq!(totals(&app, &workspace).await, [(859, 1_641), (859, 1_641), (550, 1_950)]);
    for period in ["2026-03", "2026-04", "2026-05"] {
        assert_adds_up(&app, &workspace, period).await;
    }
}

#[tokio::test]
async fn a_coupon_for_certain_plans_takes_off_what_they_cost_alone() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "free").await;
    let pro = json!({ "code": "PRO", "percentOff": 100, "plans": ["pro", "pro"] });
    let admin = admin_with(&app, &[pro]).await;
    let coupon = admin.get(&format!("{COUPONS}/PRO")).await.json(200);
    assert_eq!(coupon["plans"], json!(["pro"]));
    let path = of_workspace(&workspace);
    owner.post(&path, json!({ "code": "PRO" })).await.error(409, "invalid_state");
    let plan = format!("/control/v1/workspaces/{workspace}/plan");
    // Whoever is about to come to it may.
    owner.post(&plan, json!({ "plan": "pro", "when": "period_end" })).await.is(200);
    redeem(&owner, &workspace, "PRO").await;
    turn_to(&app, "2026-04-16T00:00:00Z");
    app.bill().await;
    let dear = json!({
        "feeMinor": 10_000, "applications": null, "requestsPerMonth": null, "api": null,
        "rateLimit": { "requests": 1 },
        "activeUsers": { "included": 0, "tiers": [] }, "storageGb": { "included": 0, "tiers": [] },
    });
    admin.put("/control/v1/admin/plans/enterprise", dear).await.is(200);
    let terms = format!("/control/v1/admin/workspaces/{workspace}");
    admin.patch(&terms, json!({ "plan": "enterprise" })).await.is(200);
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    // Half of April on each.
    let (april, _) = invoice(&app, &workspace).await;
    assert_eq!((april.subtotal, april.discount, april.total), (6_250, 1_250, 5_000));
    assert_adds_up(&app, &workspace, "2026-04").await;
}

#[tokio::test]
async fn a_month_keeps_the_discount_that_it_had() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let half = json!({ "code": "HALF", "percentOff": 50 });
    let admin = admin_with(&app, &[half]).await;
    redeem(&owner, &workspace, "HALF").await;
    turn_to(&app, "2026-04-05T00:00:00Z");
    app.bill().await;
    let path = format!("/control/v1/admin/workspaces/{workspace}/coupons/half");
    admin.delete(&path).await.is(204);
    admin.delete(&path).await.error(404, "not_found");
    let list = owner.get(&of_workspace(&workspace)).await.json(200);
    assert_eq!(list["data"][0]["endPeriod"], "2026-04");
    assert_eq!(list["data"][0]["removedAt"], "2026-04-05T00:00:00Z");
    // What is found of March later is half price still; April is not.
    set_users(&app, &workspace, "2026-03", 10_100).await;
    note_late(&app, &workspace, "2026-03").await;
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    assert_eq!(totals(&app, &workspace).await, [(1_250, 1_250), (0, 2_500 + 200 - 100)]);
    assert_adds_up(&app, &workspace, "2026-03").await;
    assert_adds_up(&app, &workspace, "2026-04").await;
    let again = owner.post(&of_workspace(&workspace), json!({ "code": "HALF" })).await;
    again.error(409, "already_exists");
}

#[tokio::test]
async fn a_coupon_that_can_not_be_redeemed_says_why() {
    let app = patient(|_| {}).await;
    let (owner, workspace) = subscriber(&app, "pro").await;
    let coupon = |code: &str| json!({ "code": code, "percentOff": 10 });
    let mut expiring = coupon("SOON");
    expiring["redeemBy"] = json!("2026-03-11T00:00:00Z");
    let mut single = coupon("ONE");
    single["maxRedemptions"] = json!(1);
    let admin = admin_with(&app, &[coupon("TWICE"), expiring, single, coupon("GONE")]).await;
    let path = of_workspace(&workspace);
    let ask = |code: &str| owner.post(&path, json!({ "code": code }));
    ask("NONE").await.error(404, "not_found");
    ask("").await.error(404, "not_found");
    owner.post(&path, json!({})).await.assert_invalid("code");
    redeem(&owner, &workspace, "TWICE").await;
    ask("twice").await.error(409, "already_exists");
    let other: WorkspaceId = owner.workspace("pro").await.parse().unwrap();
    redeem(&owner, &other, "ONE").await;
    let error = ask("ONE").await.error(409, "invalid_state");
    assert!(text(&error["message"]).contains("as often as it may be"));
    redeem(&owner, &other, "GONE").await;
    for _ in 0..2 {
        admin.delete(&format!("{COUPONS}/gone")).await.is(204);
    }
    ask("GONE").await.error(404, "not_found");
    let told = admin.get(&format!("{COUPONS}/GONE")).await.json(200);
    assert_eq!(told["disabledAt"], "2026-03-10T12:00:00Z");
    turn_to(&app, "2026-03-11T00:00:01Z");
    let error = ask("SOON").await.error(409, "invalid_state");
    assert!(text(&error["message"]).contains("expired"));
    // What was redeemed before it was disabled holds.
    turn_to(&app, "2026-04-02T00:00:00Z");
    app.bill().await;
    assert_eq!(totals(&app, &other).await, [(250 + 225, 2_025)]);
    assert_eq!(totals(&app, &workspace).await, [(250, 2_250)]);
    app.leave_jobs();
}

#[tokio::test]
async fn impossible_coupons_are_refused() {
    let app = patient(|_| {}).await;
    let admin = admin_with(&app, &[json!({ "code": "THERE", "percentOff": 1 })]).await;
    for (bad, field) in [
        (json!({ "percentOff": 1 }), "code"),
        (json!({ "code": "A B", "percentOff": 1 }), "code"),
        (json!({ "code": "", "percentOff": 1 }), "code"),
        (json!({ "code": "A" }), "percentOff"),
        (json!({ "code": "A", "percentOff": 1, "amountOff": 1 }), "percentOff"),
        (json!({ "code": "A", "percentOff": 0 }), "percentOff"),
        (json!({ "code": "A", "percentOff": -1 }), "percentOff"),
        (json!({ "code": "A", "percentOff": 100.0001 }), "percentOff"),
        (json!({ "code": "A", "percentOff": 0.00001 }), "percentOff"),
        (json!({ "code": "A", "amountOff": 0 }), "amountOff"),
        (json!({ "code": "A", "amountOff": 1.005 }), "amountOff"),
        (json!({ "code": "A", "amountOff": -5 }), "amountOff"),
        (json!({ "code": "A", "amountOff": 1e300 }), "amountOff"),
        (json!({ "code": "A", "percentOff": 1, "months": 0 }), "months"),
        (json!({ "code": "A", "percentOff": 1, "months": 121 }), "months"),
        (json!({ "code": "A", "percentOff": 1, "maxRedemptions": 0 }), "maxRedemptions"),
        (json!({ "code": "A", "percentOff": 1, "redeemBy": "2026-03-10T12:00:00Z" }), "redeemBy"),
        (json!({ "code": "A", "percentOff": 1, "plans": ["gold"] }), "plans[0]"),
    ] {
        admin.post(COUPONS, bad.clone()).await.assert_invalid(field);
    }
    let there = json!({ "code": "there", "percentOff": 2 });
    admin.post(COUPONS, there).await.error(409, "already_exists");
    let exact = json!({ "code": "EXACT", "percentOff": 0.0001 });
    assert_eq!(admin.post(COUPONS, exact).await.json(201)["percentOff"], 0.0001);
    let list = admin.get(&format!("{COUPONS}?pageSize=1")).await.json(200);
    assert_eq!((&list["total"], list["data"].as_array().unwrap().len()), (&json!(2), 1));
    admin.get(&format!("{COUPONS}/NONE")).await.error(404, "not_found");
    admin.delete(&format!("{COUPONS}/NONE")).await.error(404, "not_found");
}

#[tokio::test]
async fn of_a_hundred_who_redeem_at_once_exactly_so_many_do() {
    let app = patient(|_| {}).await;
    let few = json!({ "code": "FEW", "percentOff": 10, "maxRedemptions": 37 });
    let admin = admin_with(&app, &[few]).await;
    let mut all = vec![];
    for n in 0..10 {
        let owner = app.sign_up(&format!("owner-{n}")).await;
        for _ in 0..10 {
            let workspace: WorkspaceId = owner.workspace("pro").await.parse().unwrap();
            all.push((owner.clone(), workspace));
        }
    }
    let answers = join_all(all.iter().map(async |(owner, workspace)| {
        loop {
            let body = json!({ "code": "FEW" });
            let answer = owner.post(&of_workspace(workspace), body).await;
            // Nobody has a connection to spare: it says so, and nothing was done.
            if answer.status != 503 {
                return answer;
            }
        }
    }));
    let mut redeemed = 0;
    for answer in answers.await {
        match answer.status {
            201 => redeemed += 1,
            _ => drop(answer.error(409, "invalid_state")),
        }
    }
    assert_eq!(redeemed, 37);
    assert_eq!(app.number("select count(*) from redeemed_coupons").await, 37);
    assert_eq!(admin.get(&format!("{COUPONS}/FEW")).await.json(200)["redemptions"], 37);
}
