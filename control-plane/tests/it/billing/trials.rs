//! Trials: time that is free of charge.

use authsome_shared::id::WorkspaceId;
use serde_json::{Value, json};

use super::{invoice, invoices, patient, set_users, subscriber, turn_to};
use crate::support::{Client, TestApp};

fn of_admin(workspace: &WorkspaceId) -> String {
    format!("/control/v1/admin/workspaces/{workspace}/trial")
}

async fn ends_at(by: &Client, workspace: &WorkspaceId) -> Value {
    let path = format!("/control/v1/workspaces/{workspace}/subscription");
    by.get(&path).await.json(200)["trialEndsAt"].clone()
}

async fn totals(app: &TestApp, workspace: &WorkspaceId) -> Vec<(String, i64)> {
    let invoices = invoices(app, workspace).await;
    invoices.into_iter().map(|invoice| (invoice.period, invoice.total)).collect()
}

fn of(period: &str, total: i64) -> (String, i64) {
    (period.to_owned(), total)
}

fn told(app: &TestApp) -> usize {
    app.mails().iter().filter(|mail| mail.contains("Your trial ends on")).count()
}

#[tokio::test]
async fn a_trial_is_free_and_what_comes_after_is_charged() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let admin = app.sign_up_admin("admin").await;
    for month in ["2026-03", "2026-04", "2026-05"] {
        set_users(&app, &workspace, month, 10_100).await;
    }
    turn_to(&app, "2026-03-10T12:00:01Z");
    let body = json!({ "until": "2026-04-16T00:00:00Z" });
    let answer = admin.post(&of_admin(&workspace), body).await.json(200);
    assert_eq!(answer["trialEndsAt"], "2026-04-16T00:00:00Z");
    turn_to(&app, "2026-06-02T00:00:00Z");
    app.bill().await;
    assert_eq!(ends_at(&owner, &workspace).await, json!(null));
    // Of March what was before the trial: the month in which it was made is charged from its start.
    let (seconds, march) = (9 * 86_400 + 43_201, 31 * 86_400);
    let share = |amount: i64| (2 * amount * seconds + march) / (2 * march);
    assert_eq!(
        totals(&app, &workspace).await,
        [of("2026-03", share(2_500) + share(200)), of("2026-04", 1_350), of("2026-05", 2_700)]
    );
}

#[tokio::test]
async fn a_whole_month_of_trial_has_no_invoice() {
    let app = patient(|config| config.billing.trial_days = 22).await;
    app.leave_jobs();
    turn_to(&app, "2026-03-10T00:00:00Z");
    let (owner, workspace) = subscriber(&app, "pro").await;
    assert_eq!(ends_at(&owner, &workspace).await, "2026-04-01T00:00:00Z");
    set_users(&app, &workspace, "2026-03", 50_000).await;
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    assert_eq!(totals(&app, &workspace).await, [of("2026-04", 2_500)]);
}

#[tokio::test]
async fn the_first_plan_that_costs_something_begins_with_a_trial_once() {
    let app = patient(|config| config.billing.trial_days = 14).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "free").await;
    assert_eq!(ends_at(&owner, &workspace).await, json!(null));
    let plan = format!("/control/v1/workspaces/{workspace}/plan");
    let change = async |to: &str, when: &str| {
        owner.post(&plan, json!({ "plan": to, "when": when })).await.json(200)
    };
    // At the end of the month it begins then.
    change("pro", "period_end").await;
    assert_eq!(ends_at(&owner, &workspace).await, json!(null));
    turn_to(&app, "2026-04-03T00:00:00Z");
    app.bill().await;
    assert_eq!(ends_at(&owner, &workspace).await, "2026-04-15T00:00:00Z");
    turn_to(&app, "2026-04-20T00:00:00Z");
    change("free", "now").await;
    turn_to(&app, "2026-04-21T00:00:00Z");
    assert_eq!(change("pro", "now").await["trialEndsAt"], json!(null));
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    let (april, _) = invoice(&app, &workspace).await;
    // The 15th to the 20th, and from the 21st on: 15 days of 30.
    assert_eq!((april.period.as_str(), april.total), ("2026-04", 1_250));
}

#[tokio::test]
async fn whoever_has_paid_before_is_not_given_a_trial() {
    let app = patient(|config| config.billing.trial_days = 14).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "free").await;
    let admin = app.sign_up_admin("admin").await;
    let terms = format!("/control/v1/admin/workspaces/{workspace}");
    for plan in ["pro", "free"] {
        admin.patch(&terms, json!({ "plan": plan })).await.is(200);
        app.advance(chrono::TimeDelta::hours(1));
    }
    let plan = format!("/control/v1/workspaces/{workspace}/plan");
    let answer = owner.post(&plan, json!({ "plan": "pro" })).await.json(200);
    assert_eq!(answer["trialEndsAt"], json!(null));
}

#[tokio::test]
async fn the_end_is_told_of_three_days_before_and_once() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let admin = app.sign_up_admin("admin").await;
    admin.post(&of_admin(&workspace), json!({ "days": 14 })).await.is(200);
    assert_eq!(ends_at(&owner, &workspace).await, "2026-03-24T12:00:00Z");
    for (at, mails) in [
        ("2026-03-21T11:59:59Z", 0),
        ("2026-03-21T12:00:00Z", 1),
        ("2026-03-22T12:00:00Z", 1),
        ("2026-03-25T00:00:00Z", 1),
    ] {
        turn_to(&app, at);
        app.bill().await;
        app.bill().await;
        app.run_due().await;
        assert_eq!(told(&app), mails, "{at}");
    }
    // Another end is another mail.
    admin.post(&of_admin(&workspace), json!({ "until": "2026-03-27T00:00:00Z" })).await.is(200);
    app.bill().await;
    app.run_due().await;
    assert_eq!(told(&app), 2);
}

#[tokio::test]
async fn a_trial_can_be_ended_and_impossible_ones_are_refused() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let admin = app.sign_up_admin("admin").await;
    let path = of_admin(&workspace);
    for (bad, field) in [
        (json!({}), "until"),
        (json!({ "days": 1, "until": "2026-04-01T00:00:00Z" }), "until"),
        (json!({ "days": 0 }), "days"),
        (json!({ "days": 731 }), "days"),
        (json!({ "until": "2026-03-10T12:00:00Z" }), "until"),
        (json!({ "until": "2030-01-01T00:00:00Z" }), "until"),
    ] {
        admin.post(&path, bad).await.assert_invalid(field);
    }
    admin.delete(&path).await.error(404, "not_found");
    turn_to(&app, "2026-04-01T00:00:00Z");
    admin.post(&path, json!({ "days": 30 })).await.is(200);
    turn_to(&app, "2026-04-16T00:00:00Z");
    admin.delete(&path).await.is(204);
    admin.delete(&path).await.error(404, "not_found");
    assert_eq!(ends_at(&owner, &workspace).await, json!(null));
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    assert_eq!(totals(&app, &workspace).await, [of("2026-03", 2_500), of("2026-04", 1_250)]);
    owner.delete(&format!("/control/v1/workspaces/{workspace}")).await.is(204);
    admin.post(&path, json!({ "days": 30 })).await.error(409, "invalid_state");
}
