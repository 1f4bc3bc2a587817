//! Change of plan, by customers and by the platform's admins, and what it costs.

use authsome_control_plane::billing::invoice::StoredLine;
use authsome_control_plane::fetch_all;
use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{assert_adds_up, invoice, invoices, patient, set_users, subscriber, turn_to};
use crate::support::{Client, TestApp, text};

/// Seconds in the March in which every test begins.
const MARCH: i64 = 31 * 86_400;

/// `amount` times `seconds` of `of`, rounded half up.
fn share(amount: i64, seconds: i64, of: i64) -> i64 {
    (2 * amount * seconds + of) / (2 * of)
}

fn of_workspace(workspace: &WorkspaceId, rest: &str) -> String {
    format!("/control/v1/workspaces/{workspace}/{rest}")
}

async fn change(by: &Client, workspace: &WorkspaceId, plan: &str, when: &str) -> Value {
    let body = json!({ "plan": plan, "when": when });
    by.post(&of_workspace(workspace, "plan"), body).await.json(200)
}

async fn subscription(by: &Client, workspace: &WorkspaceId) -> Value {
    by.get(&of_workspace(workspace, "subscription")).await.json(200)
}

async fn applications(by: &Client, workspace: &WorkspaceId, count: usize) -> Vec<String> {
    let mut ids = vec![];
    for _ in 0..count {
        ids.push(text(&by.application(workspace.as_str(), json!({})).await["id"]));
    }
    ids
}

/// Plan, start and end of each segment, oldest first.
type Held = (String, DateTime<Utc>, Option<DateTime<Utc>>);

async fn held(app: &TestApp, workspace: &WorkspaceId) -> Vec<Held> {
    let mut tx = app.read().await;
    let select = "select plan, starts_at, ends_at from subscription_segments \
         where workspace_id = $1 order by starts_at";
    fetch_all!(tx, sqlx::query_as(select).bind(workspace)).unwrap()
}

/// The mails' subjects.
fn subjects(app: &TestApp) -> Vec<String> {
    let subject = |mail: &String| {
        let line = mail.lines().find_map(|line| line.strip_prefix("Subject: "));
        line.unwrap_or_default().to_owned()
    };
    app.mails().iter().map(subject).collect()
}

fn amounts(lines: &[StoredLine]) -> Vec<(&str, i64)> {
    lines.iter().map(|line| (line.item.as_str(), line.amount)).collect()
}

#[tokio::test]
async fn a_change_at_once_is_charged_by_the_second() {
    let app = patient(|_| {}).await;
    let (owner, workspace) = subscriber(&app, "free").await;
    set_users(&app, &workspace, "2026-03", 20_000).await;
    turn_to(&app, "2026-03-20T06:30:15Z");
    let answer = change(&owner, &workspace, "pro", "now").await;
    assert_eq!((&answer["plan"], &answer["plannedChange"]), (&json!("pro"), &json!(null)));
    assert_eq!(answer["nextInvoiceAt"], "2026-04-01T00:00:00Z");
    app.run_due().await;
    assert_eq!(subjects(&app), ["You are on the Pro plan now"]);
    turn_to(&app, "2026-04-03T00:00:00Z");
    app.bill().await;
    let (issued, lines) = invoice(&app, &workspace).await;
    let seconds = 11 * 86_400 + 17 * 3_600 + 29 * 60 + 45;
    let (fee, users) = (share(2_500, seconds, MARCH), share(20_000, seconds, MARCH));
    assert_eq!(amounts(&lines), [("fee", fee), ("mau", 0), ("mau", users)]);
    assert_eq!((issued.total, fee, users), (fee + users, 946, 7_567));
    app.leave_jobs();
}

#[tokio::test]
async fn a_change_for_the_end_of_the_month_holds_from_its_first_second_however_late_the_worker_is()
{
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let answer = change(&owner, &workspace, "free", "period_end").await;
    assert_eq!(
        answer["plannedChange"],
        json!({
            "plan": "free", "version": 1, "at": "2026-04-01T00:00:00Z", "plannedBy": "customer",
            "obstacle": null,
        })
    );
    assert_eq!(answer["plan"], "pro");
    turn_to(&app, "2026-04-09T10:00:00Z");
    app.bill().await;
    let boundary: DateTime<Utc> = "2026-04-01T00:00:00Z".parse().unwrap();
    let segments = held(&app, &workspace).await;
    assert_eq!((segments[0].2, segments[1].1), (Some(boundary), boundary));
    assert_eq!(subscription(&owner, &workspace).await["plannedChange"], json!(null));
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    let (march, _) = invoice(&app, &workspace).await;
    assert_eq!((march.period.as_str(), march.total), ("2026-03", 2_500), "April is free");
    app.run_due().await;
    let mails = subjects(&app);
    assert_eq!(mails[0], "You change to the Free plan on 1 April 2026");
    assert!(mails.contains(&"You are on the Free plan now".to_owned()), "{mails:?}");
}

#[tokio::test]
async fn what_is_asked_before_a_late_worker_comes_after_what_was_planned() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let (_, other) = (&owner, owner.workspace("pro").await.parse().unwrap());
    change(&owner, &workspace, "free", "period_end").await;
    // March is over, and nobody has closed it.
    turn_to(&app, "2026-04-04T12:00:00Z");
    change(&owner, &workspace, "pro", "now").await;
    // What is planned now is for the end of April.
    let planned = change(&owner, &other, "free", "period_end").await;
    assert_eq!(planned["plannedChange"]["at"], "2026-05-01T00:00:00Z");
    app.bill().await;
    assert_eq!(subscription(&owner, &other).await["plan"], "pro");
    turn_to(&app, "2026-06-02T00:00:00Z");
    app.bill().await;
    let totals = |of: Vec<authsome_control_plane::billing::invoice::Invoice>| -> Vec<_> {
        of.into_iter().map(|invoice| (invoice.period, invoice.total)).collect()
    };
    let april = share(2_500, 26 * 86_400 + 43_200, 30 * 86_400);
    let of = |period: &str, total| (period.to_owned(), total);
    assert_eq!(
        totals(invoices(&app, &workspace).await),
        [of("2026-03", 2_500), of("2026-04", april), of("2026-05", 2_500)]
    );
    assert_eq!(totals(invoices(&app, &other).await), [of("2026-03", 2_500), of("2026-04", 2_500)]);
}

#[tokio::test]
async fn a_plan_that_is_too_small_is_refused_at_once_and_told_of_for_later() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let ids = applications(&owner, &workspace, 4).await;
    let path = of_workspace(&workspace, "plan");
    let error = owner.post(&path, json!({ "plan": "free" })).await;
    let details = &error.error(402, "plan_limit_reached")["details"];
    assert_eq!(*details, json!({ "resource": "applications", "limit": 3, "plan": "free" }));
    assert_eq!(subscription(&owner, &workspace).await["plan"], "pro");
    let answer = change(&owner, &workspace, "free", "period_end").await;
    let obstacle = json!({ "resource": "applications", "count": 4, "limit": 3 });
    assert_eq!(answer["plannedChange"]["obstacle"], obstacle);

    turn_to(&app, "2026-04-01T00:00:00Z");
    app.bill().await;
    let stays = subscription(&owner, &workspace).await;
    assert_eq!((&stays["plan"], &stays["plannedChange"]), (&json!("pro"), &json!(null)));
    assert_eq!(held(&app, &workspace).await.len(), 1);
    app.run_due().await;
    let mail = app.mails().into_iter().find(|mail| mail.contains("You stay on the Pro plan"));
    assert!(mail.expect("a mail").contains("4 applications"));

    change(&owner, &workspace, "free", "period_end").await;
    owner.delete(&format!("/control/v1/applications/{}", ids[0])).await.is(204);
    assert_eq!(subscription(&owner, &workspace).await["plannedChange"]["obstacle"], json!(null));
    turn_to(&app, "2026-05-01T00:00:00Z");
    app.bill().await;
    assert_eq!(subscription(&owner, &workspace).await["plan"], "free");
}

#[tokio::test]
async fn a_planned_change_can_be_taken_back_and_only_the_operator_sets_enterprise() {
    let app = patient(|_| {}).await;
    let (owner, workspace) = subscriber(&app, "pro").await;
    let (path, planned) =
        (of_workspace(&workspace, "plan"), of_workspace(&workspace, "plan/change"));
    owner.post(&path, json!({ "plan": "enterprise" })).await.error(403, "forbidden");
    owner.post(&path, json!({ "plan": "pro" })).await.error(409, "invalid_state");
    owner.post(&path, json!({ "plan": "gold" })).await.assert_invalid("plan");
    owner.post(&path, json!({ "plan": "free", "when": "later" })).await.assert_invalid("when");
    owner.post(&path, json!({})).await.assert_invalid("plan");
    owner.delete(&planned).await.error(404, "not_found");

    change(&owner, &workspace, "free", "period_end").await;
    owner.delete(&planned).await.is(204);
    assert_eq!(subscription(&owner, &workspace).await["plannedChange"], json!(null));
    change(&owner, &workspace, "free", "period_end").await;
    // Asked again it is the same, and nobody is told twice.
    change(&owner, &workspace, "free", "period_end").await;
    let stays = change(&owner, &workspace, "pro", "now").await;
    assert_eq!(stays["plannedChange"], json!(null));
    app.run_due().await;
    let (plans, stays) =
        ("You change to the Free plan on 1 April 2026", "You stay on the Pro plan");
    assert_eq!(subjects(&app), [plans, stays, plans, stays]);

    let admin = app.sign_up_admin("admin").await;
    let terms = format!("/control/v1/admin/workspaces/{workspace}");
    admin.patch(&terms, json!({ "plan": "enterprise" })).await.is(200);
    owner.post(&path, json!({ "plan": "free" })).await.error(403, "forbidden");
    let log = owner.get(&of_workspace(&workspace, "audit?action=workspace.plan*")).await.json(200);
    assert_eq!(log["total"], 4);
    assert_eq!(log["data"][0]["action"], "workspace.plan_change_taken_back");
}

#[tokio::test]
async fn what_the_operator_plans_is_carried_out_whatever_there_is() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    applications(&owner, &workspace, 4).await;
    let admin = app.sign_up_admin("admin").await;
    let terms = format!("/control/v1/admin/workspaces/{workspace}");
    for bad in [
        json!({ "when": "period_end" }),
        json!({ "plan": "free", "when": "period_end", "limits": {} }),
    ] {
        admin.patch(&terms, bad).await.assert_invalid("when");
    }
    let later = json!({ "plan": "free", "when": "period_end" });
    let now = admin.patch(&terms, later.clone()).await.json(200);
    assert_eq!((&now["plan"], &now["planVersion"]), (&json!("pro"), &json!(1)));
    let planned = subscription(&owner, &workspace).await;
    assert_eq!(planned["plannedChange"]["plannedBy"], "operator");
    owner.delete(&of_workspace(&workspace, "plan/change")).await.error(409, "invalid_state");
    let path = of_workspace(&workspace, "plan");
    owner.post(&path, json!({ "plan": "pro" })).await.error(409, "invalid_state");
    // The admin takes it back by the plan that it has, and plans it again.
    admin.patch(&terms, json!({ "plan": "pro", "when": "period_end" })).await.is(200);
    assert_eq!(subscription(&owner, &workspace).await["plannedChange"], json!(null));
    admin.patch(&terms, later).await.is(200);
    turn_to(&app, "2026-04-02T00:00:00Z");
    app.bill().await;
    assert_eq!(subscription(&owner, &workspace).await["plan"], "free");
}

#[tokio::test]
async fn changes_by_two_people_at_once_leave_one_history_without_gaps() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "free").await;
    let clerk = app.sign_up("clerk").await;
    let role = authsome_control_plane::actor::Role::Billing;
    app.add_member(workspace.as_str(), &clerk, role).await;
    let path = of_workspace(&workspace, "plan");
    for round in 0..5 {
        app.advance(TimeDelta::seconds(1 + round));
        let answers = join_all((0..8).map(|n| {
            let caller = if n % 2 == 0 { &owner } else { &clerk };
            let plan = if n % 3 == 0 { "pro" } else { "free" };
            caller.post(&path, json!({ "plan": plan }))
        }));
        for answer in answers.await {
            assert!([200, 409].contains(&answer.status), "{answer}");
        }
        let segments = held(&app, &workspace).await;
        let (last, rest) = segments.split_last().unwrap();
        assert_eq!(
            (last.2, &last.0),
            (None, &text(&subscription(&owner, &workspace).await["plan"]))
        );
        for (one, next) in rest.iter().zip(&segments[1..]) {
            assert_eq!(one.2, Some(next.1), "{segments:?}");
        }
    }
}

/// The plan as it is, to be put back with changes.
async fn terms(admin: &Client, plan: &str) -> Value {
    let mut body = admin.get(&format!("/control/v1/admin/plans/{plan}")).await.json(200);
    for told in ["name", "version", "private", "note", "createdAt"] {
        body.as_object_mut().unwrap().remove(told);
    }
    body
}

#[tokio::test]
async fn a_new_price_is_for_new_subscriptions_until_others_are_moved() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, old) = subscriber(&app, "pro").await;
    let stays: WorkspaceId = owner.workspace("pro").await.parse().unwrap();
    let coming: WorkspaceId = owner.workspace("free").await.parse().unwrap();
    change(&owner, &coming, "pro", "period_end").await;
    let admin = app.sign_up_admin("admin").await;
    let versions = "/control/v1/admin/plans/pro/versions";
    let mut dearer = terms(&admin, "pro").await;
    dearer["feeMinor"] = json!(5_000);
    let path = "/control/v1/admin/plans/pro?note=Dearer";
    assert_eq!(admin.put(path, dearer).await.json(200)["version"], 2);
    let new: WorkspaceId = owner.workspace("pro").await.parse().unwrap();
    let list = admin.get(versions).await.json(200);
    let told: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| {
            (
                version["version"].clone(),
                version["current"].clone(),
                version["workspaces"].clone(),
                version["feeMinor"].clone(),
            )
        })
        .collect();
    let row = |version, current, workspaces, fee| {
        (json!(version), json!(current), json!(workspaces), json!(fee))
    };
    assert_eq!(told, [row(2, true, 1, 5_000), row(1, false, 2, 2_500)]);
    let first = admin.get(&format!("{versions}/1")).await.json(200);
    assert_eq!(first, list["data"][1]);
    assert_eq!(
        admin.get(&format!("{versions}?pageSize=1&page=2")).await.json(200)["data"][0],
        first
    );
    admin.get(&format!("{versions}/9")).await.error(404, "not_found");

    turn_to(&app, "2026-04-10T00:00:00Z");
    app.bill().await;
    let body = json!({ "workspaceIds": [old], "when": "period_end" });
    let moved = admin.post(&format!("{versions}/2/move"), body).await.json(202);
    assert_eq!(moved["workspaces"], 1);
    assert_eq!(subscription(&owner, &old).await["plannedChange"]["version"], 2);
    turn_to(&app, "2026-06-02T00:00:00Z");
    app.bill().await;
    let totals = async |of: &WorkspaceId| -> Vec<i64> {
        invoices(&app, of).await.into_iter().map(|invoice| invoice.total).collect()
    };
    assert_eq!(totals(&old).await, [2_500, 2_500, 5_000]);
    assert_eq!(totals(&stays).await, [2_500, 2_500, 2_500]);
    assert_eq!(totals(&new).await, [5_000, 5_000, 5_000]);
    assert_eq!(totals(&coming).await, [2_500, 2_500], "at the price that it was shown");

    turn_to(&app, "2026-06-16T00:00:00Z");
    let body = json!({ "all": true });
    let moved = admin.post(&format!("{versions}/2/move"), body).await.json(202);
    assert_eq!(moved["workspaces"], 2);
    app.run_due().await;
    turn_to(&app, "2026-07-02T00:00:00Z");
    app.bill().await;
    for (workspace, june) in [(&old, 5_000), (&stays, 3_750), (&coming, 3_750), (&new, 5_000)] {
        assert_eq!(totals(workspace).await.last(), Some(&june));
    }
}

#[tokio::test]
async fn moves_that_can_not_be_are_refused_whole() {
    let app = patient(|_| {}).await;
    let (owner, pro) = subscriber(&app, "pro").await;
    let free = owner.workspace("free").await;
    let admin = app.sign_up_admin("admin").await;
    let body = terms(&admin, "pro").await;
    admin.put("/control/v1/admin/plans/pro?private=true", body).await.is(200);
    let path = "/control/v1/admin/plans/pro/versions/2/move";
    admin.post(path, json!({ "all": true })).await.error(409, "invalid_state");
    for (bad, field) in [
        (json!({}), "workspaceIds"),
        (json!({ "all": true, "workspaceIds": [pro] }), "workspaceIds"),
        (json!({ "workspaceIds": [] }), "workspaceIds"),
        (json!({ "workspaceIds": [pro, free] }), "workspaceIds[1]"),
        (json!({ "workspaceIds": ["ws_none", pro] }), "workspaceIds[0]"),
        (json!({ "workspaceIds": [pro], "when": "soon" }), "when"),
    ] {
        admin.post(path, bad).await.assert_invalid(field);
    }
    let nowhere = "/control/v1/admin/plans/pro/versions/7/move";
    admin.post(nowhere, json!({ "workspaceIds": [pro] })).await.error(404, "not_found");
    assert_eq!(subscription(&owner, &pro).await["version"], 1);
    admin.post(path, json!({ "workspaceIds": [pro, pro] })).await.is(202);
    assert_eq!(subscription(&owner, &pro).await["version"], 2);
    app.run_due().await;
}

#[tokio::test]
async fn nobody_keeps_an_old_price_by_planning_and_taking_back() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, first) = subscriber(&app, "pro").await;
    let second: WorkspaceId = owner.workspace("pro").await.parse().unwrap();
    let third: WorkspaceId = owner.workspace("pro").await.parse().unwrap();
    applications(&owner, &third, 4).await;
    let admin = app.sign_up_admin("admin").await;
    let mut dearer = terms(&admin, "pro").await;
    dearer["feeMinor"] = json!(5_000);
    change(&owner, &first, "free", "period_end").await;
    change(&owner, &third, "free", "period_end").await;
    let path = "/control/v1/admin/plans/pro?existing=move_at_period_end";
    admin.put(path, dearer).await.is(200);
    app.run_due().await;
    change(&owner, &second, "free", "period_end").await;
    for workspace in [&first, &second] {
        let planned = subscription(&owner, workspace).await;
        assert_eq!(planned["plannedChange"]["plan"], "free");
        owner.delete(&of_workspace(workspace, "plan/change")).await.is(204);
        let planned = &subscription(&owner, workspace).await["plannedChange"];
        assert_eq!((&planned["plan"], &planned["version"]), (&json!("pro"), &json!(2)));
        assert_eq!(planned["plannedBy"], "operator");
        owner.delete(&of_workspace(workspace, "plan/change")).await.error(404, "not_found");
    }
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    // The third has too many applications for what it planned.
    for workspace in [&first, &second, &third] {
        let now = subscription(&owner, workspace).await;
        assert_eq!((&now["plan"], &now["version"]), (&json!("pro"), &json!(2)));
        let april = invoices(&app, workspace).await.pop().unwrap();
        assert_eq!((april.period.as_str(), april.total), ("2026-04", 5_000));
    }
}

#[tokio::test]
async fn a_preview_is_what_is_charged_afterwards_and_changes_nothing() {
    let app = patient(|config| {
        config.billing.trial_days = 10;
        config.billing.taxes = serde_json::from_value(json!([
            { "name": "VAT", "percent": "19" },
        ]))
        .unwrap();
    })
    .await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let mut cases: Vec<(WorkspaceId, &str, &str)> = vec![];
    for (from, to, when) in [
        ("free", "pro", "now"),
        ("free", "pro", "period_end"),
        ("pro", "free", "now"),
        ("pro", "free", "period_end"),
    ] {
        cases.push((owner.workspace(from).await.parse().unwrap(), to, when));
    }
    app.advance(TimeDelta::seconds(1_234_567));
    for (workspace, ..) in &cases {
        for month in ["2026-03", "2026-04"] {
            set_users(&app, workspace, month, 12_345).await;
        }
    }
    let before = app.number("select count(*) from subscription_segments").await;
    let entries = app.number("select count(*) from audit_entries").await;
    let mut previews = vec![];
    for (workspace, to, when) in &cases {
        let body = json!({ "plan": to, "when": when });
        let path = of_workspace(workspace, "plan/preview");
        previews.push(owner.post(&path, body).await.json(200));
    }
    assert_eq!(app.number("select count(*) from subscription_segments").await, before);
    assert_eq!(app.number("select count(*) from audit_entries").await, entries);
    assert_eq!(previews[0]["trialEndsAt"], json!(app.now() + TimeDelta::days(10)));
    assert_eq!(previews[3]["trialEndsAt"], json!(null));
    for (workspace, to, when) in &cases {
        change(&owner, workspace, to, when).await;
    }
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    for ((workspace, to, when), preview) in cases.iter().zip(&previews) {
        let issued = invoices(&app, workspace).await;
        for (month, period) in [("thisMonth", "2026-03"), ("nextMonth", "2026-04")] {
            assert_adds_up(&app, workspace, period).await;
            assert_eq!(preview[month]["period"], period);
            let bill = &preview[month]["after"];
            let total = &bill["total"];
            let invoice = issued.iter().find(|invoice| invoice.period == period);
            let Some(invoice) = invoice else {
                assert_eq!(*total, 0.0, "{to} {when} {period}");
                continue;
            };
            assert_eq!(*total, invoice.currency.major(invoice.total), "{to} {when} {period}");
            let mut tx = app.read().await;
            let store =
                authsome_control_plane::billing::invoice::store::lines(&mut tx, &invoice.id);
            let lines: Vec<_> = store
                .await
                .unwrap()
                .into_iter()
                .map(|line| {
                    json!([
                        line.item,
                        line.description,
                        line.starts_at,
                        line.ends_at,
                        invoice.currency.major(line.amount)
                    ])
                })
                .collect();
            let shown: Vec<_> = bill["lines"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| {
                    json!([
                        line["item"],
                        line["description"],
                        line["startsAt"],
                        line["endsAt"],
                        line["amount"]
                    ])
                })
                .collect();
            assert_eq!(lines, shown, "{to} {when} {period}");
        }
    }
    // What it would have been without.
    assert_eq!(previews[1]["thisMonth"]["before"], previews[1]["thisMonth"]["after"]);
    assert_eq!(previews[0]["nextMonth"]["before"]["total"], 0.0);
}

#[tokio::test]
async fn a_preview_tells_what_would_be_in_the_way() {
    let app = patient(|_| {}).await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    applications(&owner, &workspace, 5).await;
    let path = of_workspace(&workspace, "plan/preview");
    let preview = owner.post(&path, json!({ "plan": "free" })).await.json(200);
    let obstacle = json!({ "resource": "applications", "count": 5, "limit": 3 });
    assert_eq!((&preview["obstacle"], &preview["currency"]), (&obstacle, &json!("USD")));
    owner.post(&path, json!({ "plan": "pro" })).await.error(409, "invalid_state");
    owner.post(&path, json!({ "plan": "enterprise" })).await.error(403, "forbidden");
    change(&owner, &workspace, "free", "period_end").await;
    let back = owner.post(&path, json!({ "plan": "pro" })).await.json(200);
    assert_eq!(
        (&back["plan"], &back["nextMonth"]["after"]["total"]),
        (&json!("pro"), &json!(25.0))
    );
    // As things stand it would not be carried out.
    assert_eq!(back["nextMonth"]["before"]["total"], 25.0);
}
