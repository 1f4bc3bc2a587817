//! The end of a month.

use std::collections::BTreeSet;

use authsome_control_plane::app::App;
use authsome_control_plane::billing::invoice::Status;
use authsome_control_plane::worker;
use chrono::TimeDelta;
use serde_json::json;

use super::{events, invoice, invoices, pay, set_users, subscriber, turn_to};
use crate::support::TestApp;

#[tokio::test]
async fn a_month_of_150_000_users_on_pro_is_invoiced_at_2_575_dollars() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    set_users(&app, &workspace, "2026-03", 150_000).await;
    turn_to(&app, "2026-03-31T23:59:59Z");
    assert_eq!(app.bill().await, 0, "the month is not over");

    turn_to(&app, "2026-04-01T00:00:00Z");
    app.bill().await;
    let (draft, _) = invoice(&app, &workspace).await;
    assert_eq!((draft.status, draft.number), (Status::Draft, None));
    assert_eq!(events(&app).await, [] as [&str; 0], "a draft is nobody's business");

    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (issued, lines) = invoice(&app, &workspace).await;
    assert_eq!((issued.status, issued.number.as_deref()), (Status::Pending, Some("INV-000001")));
    assert_eq!(
        (issued.period.as_str(), issued.total, issued.amount_due),
        ("2026-03", 257_500, 257_500)
    );
    assert_eq!(issued.due_at, Some("2026-04-08T01:00:00Z".parse().unwrap()));
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount).collect();
    assert_eq!(amounts, [2_500, 0, 180_000, 75_000]);
    assert_eq!(events(&app).await, ["invoice.created"]);

    let paid = pay(&app, &issued).await;
    assert_eq!((paid.status, paid.paid_at), (Status::Paid, Some(app.now())));
    pay(&app, &issued).await;
    assert_eq!(events(&app).await, ["invoice.created", "invoice.paid"], "paid twice is paid once");
}

#[tokio::test]
async fn a_free_month_has_no_invoice_and_takes_no_number() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, free) = subscriber(&app, "free").await;
    let pro = owner.workspace("pro").await.parse().unwrap();
    set_users(&app, &free, "2026-03", 90_000).await;
    turn_to(&app, "2026-05-01T02:00:00Z");
    app.bill().await;
    assert!(invoices(&app, &free).await.is_empty());
    let numbers: Vec<_> =
        invoices(&app, &pro).await.into_iter().map(|i| (i.period, i.number.unwrap())).collect();
    let expected = [("2026-03", "INV-000001"), ("2026-04", "INV-000002")];
    assert_eq!(numbers, expected.map(|(p, n)| (p.to_owned(), n.to_owned())));
}

#[tokio::test]
async fn an_outage_of_months_is_made_up_for_month_by_month() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    set_users(&app, &workspace, "2026-06", 10_100).await;
    turn_to(&app, "2027-02-15T00:00:00Z");
    app.bill().await;
    let all = invoices(&app, &workspace).await;
    let periods: Vec<&str> = all.iter().map(|i| i.period.as_str()).collect();
    assert_eq!(periods.len(), 11, "{periods:?}");
    assert_eq!((periods[0], periods[10]), ("2026-03", "2027-01"));
    for invoice in &all {
        let expected = if invoice.period == "2026-06" { 2_700 } else { 2_500 };
        assert_eq!(invoice.total, expected, "{}", invoice.period);
        assert_eq!(invoice.due_at, Some(app.now() + TimeDelta::days(7)), "from when it was issued");
    }
    assert_eq!(app.bill().await, 0, "nothing is left");
}

#[tokio::test]
async fn many_runs_at_once_invoice_each_month_once_and_leave_no_gap() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let mut workspaces = BTreeSet::new();
    for _ in 0..20 {
        workspaces.insert(owner.workspace("pro").await);
    }
    turn_to(&app, "2026-05-01T01:00:00Z");
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(App::open(app.app.config.clone(), app.clock.clone()).await.unwrap());
    }
    let runs = replicas.iter().map(worker::run_billing);
    for ran in futures_util::future::join_all(runs).await {
        ran.unwrap();
    }
    let mut numbers = BTreeSet::new();
    for workspace in workspaces {
        let all = invoices(&app, &workspace.parse().unwrap()).await;
        let periods: Vec<&str> = all.iter().map(|i| i.period.as_str()).collect();
        assert_eq!(periods, ["2026-03", "2026-04"]);
        numbers.extend(all.into_iter().map(|i| i.number.unwrap()));
    }
    let expected: BTreeSet<String> = (1..=40).map(|n| format!("INV-{n:06}")).collect();
    assert_eq!(numbers, expected);
    assert_eq!(app.number("select count(*) from events where type = 'invoice.created'").await, 40);
}

#[tokio::test]
async fn what_is_deleted_is_charged_for_the_time_it_was_there() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    turn_to(&app, "2026-04-16T00:00:00Z");
    owner.be_again().await.delete(&format!("/control/v1/workspaces/{workspace}")).await.is(204);
    turn_to(&app, "2026-07-01T02:00:00Z");
    app.bill().await;
    let all = invoices(&app, &workspace).await;
    let totals: Vec<(&str, i64)> = all.iter().map(|i| (i.period.as_str(), i.total)).collect();
    assert_eq!(totals, [("2026-03", 2_500), ("2026-04", 1_250)], "half of April");
}

#[tokio::test]
async fn what_is_restored_is_charged_from_its_restoration_on() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    turn_to(&app, "2026-04-16T00:00:00Z");
    owner.be_again().await.delete(&path).await.is(204);
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    turn_to(&app, "2026-05-11T00:00:00Z");
    owner.be_again().await.post(&format!("{path}/restore"), json!({})).await.is(200);
    turn_to(&app, "2026-07-01T02:00:00Z");
    app.bill().await;
    let all = invoices(&app, &workspace).await;
    let totals: Vec<(&str, i64)> = all.iter().map(|i| (i.period.as_str(), i.total)).collect();
    let may = 2_500 * 21 / 31;
    assert_eq!(
        totals,
        [("2026-03", 2_500), ("2026-04", 1_250), ("2026-05", may + 1), ("2026-06", 2_500)],
        "1,693.5 cents are rounded up"
    );
}

#[tokio::test]
async fn a_change_of_plan_is_charged_by_the_second() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let (owner, workspace) = subscriber(&app, "pro").await;
    let path = format!("/control/v1/admin/workspaces/{workspace}");
    set_users(&app, &workspace, "2026-04", 20_000).await;
    // A third of April on pro, then free, then pro again for the last day.
    turn_to(&app, "2026-04-11T00:00:00Z");
    app.bill().await;
    admin.be_again().await.patch(&path, json!({ "plan": "free" })).await.is(200);
    turn_to(&app, "2026-04-30T00:00:00Z");
    admin.be_again().await.patch(&path, json!({ "plan": "pro" })).await.is(200);
    let usage = format!("/control/v1/workspaces/{workspace}/usage");
    let estimate = owner.be_again().await.get(&usage).await.json(200);
    turn_to(&app, "2026-05-01T01:00:00Z");
    app.bill().await;
    let all = invoices(&app, &workspace).await;
    // 11 of 30 days: of $25.00 and of 10,000 users at $0.02.
    assert_eq!(all[1].total, 917 + 7_333);
    assert_eq!(estimate["estimatedCost"], 82.50, "told before");
    let mut tx = app.read().await;
    let lines = authsome_control_plane::billing::invoice::store::lines(&mut tx, &all[1].id);
    let lines = lines.await.unwrap();
    let fees: Vec<(i64, Option<i64>, Option<i64>)> = lines
        .iter()
        .filter(|line| line.item == "fee")
        .map(|line| (line.amount, line.share_of, line.share_in))
        .collect();
    let month = Some(30 * 86_400);
    assert_eq!(fees, [(833, Some(10 * 86_400), month), (84, Some(86_400), month)]);
}

#[tokio::test]
async fn a_new_price_leaves_those_who_have_the_old_one_until_they_are_moved() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let (owner, old) = subscriber(&app, "pro").await;
    let plan = "/control/v1/admin/plans/pro";
    let mut dearer = admin.get(plan).await.json(200);
    for told in ["name", "version", "private", "note", "createdAt"] {
        dearer.as_object_mut().unwrap().remove(told);
    }
    dearer["feeMinor"] = json!(4_000);
    admin.put(plan, dearer.clone()).await.is(200);
    app.run_due().await;
    let new = owner.workspace("pro").await.parse().unwrap();
    turn_to(&app, "2026-04-05T00:00:00Z");
    app.bill().await;
    dearer["feeMinor"] = json!(5_000);
    let admin = admin.be_again().await;
    admin.put(&format!("{plan}?existing=move_at_period_end"), dearer).await.is(200);
    app.run_due().await;
    turn_to(&app, "2026-06-05T00:00:00Z");
    app.bill().await;
    let totals = async |workspace| -> Vec<i64> {
        invoices(&app, workspace).await.iter().map(|i| i.total).collect()
    };
    assert_eq!(totals(&old).await, [2_500, 2_500, 5_000]);
    assert_eq!(totals(&new).await, [4_000, 4_000, 5_000]);
}

#[tokio::test]
async fn taxes_and_whole_currencies_are_on_the_invoice() {
    let app = TestApp::with(|config| {
        config.billing.currency = "JPY".parse().unwrap();
        config.billing.taxes = vec![authsome_control_plane::config::TaxRate {
            name: "Consumption tax".into(),
            percent: "10".into(),
            country: String::new(),
        }];
    })
    .await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (invoice, lines) = invoice(&app, &workspace).await;
    assert_eq!((invoice.subtotal, invoice.tax, invoice.total), (2_500, 250, 2_750));
    assert_eq!(invoice.currency.format(invoice.total), "¥2,750");
    assert_eq!(lines.last().unwrap().description, "Consumption tax 10 %");
    assert_eq!(lines.iter().map(|line| line.amount).sum::<i64>(), invoice.total);
}

#[tokio::test]
async fn the_first_month_is_prorated_where_the_operator_says_so() {
    let app = TestApp::with(|config| config.billing.prorate_first_month = true).await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    set_users(&app, &workspace, "2026-03", 20_000).await;
    turn_to(&app, "2026-05-01T01:00:00Z");
    app.bill().await;
    let totals: Vec<i64> = invoices(&app, &workspace).await.iter().map(|i| i.total).collect();
    // 21.5 of 31 days of the fee; users are users.
    assert_eq!(totals, [1_734 + 20_000, 2_500]);
}

#[tokio::test]
async fn a_meter_is_on_the_invoice_by_the_operators_name_for_it() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let meter = json!({
        "name": "gpu_hours", "label": "GPU time", "unit": "GPU hour", "aggregation": "sum",
    });
    admin.post("/control/v1/admin/meters", meter).await.is(201);
    let plan = "/control/v1/admin/plans/pro";
    let mut priced = admin.get(plan).await.json(200);
    for told in ["name", "version", "private", "note", "createdAt"] {
        priced.as_object_mut().unwrap().remove(told);
    }
    priced["meters"] = json!({ "gpu_hours": {
        "included": 1, "tiers": [{ "upTo": null, "unitMicros": 1_250_000 }],
    } });
    admin.put(plan, priced).await.is(200);
    let (_, workspace) = subscriber(&app, "pro").await;
    let events = json!({ "events": [
        { "id": "one", "workspaceId": workspace, "value": "2.5" },
        { "id": "one", "workspaceId": workspace, "value": "2.5" },
    ] });
    admin.post("/control/v1/ingest/meters/gpu_hours/events", events).await.is(200);
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (issued, lines) = invoice(&app, &workspace).await;
    let said: Vec<(&str, i64)> = lines
        .iter()
        .filter(|line| line.item == "meter:gpu_hours")
        .map(|line| (line.description.as_str(), line.amount))
        .collect();
    // An hour is included; an hour and a half at $1.25 are $1.875.
    assert_eq!(said, [("GPU time, included", 0), ("GPU time", 188)]);
    assert_eq!(issued.total, 2_688);
}
