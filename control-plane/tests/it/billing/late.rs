//! Usage that is counted after its month has ended.

use authsome_control_plane::billing::credit;
use authsome_control_plane::billing::invoice::Status;

use super::{invoice, invoices, note_late, pay, set_users, subscriber, turn_to};
use crate::support::TestApp;

#[tokio::test]
async fn what_comes_while_the_invoice_is_a_draft_is_on_it() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    turn_to(&app, "2026-04-01T00:00:00Z");
    app.bill().await;
    set_users(&app, &workspace, "2026-03", 10_500).await;
    note_late(&app, &workspace, "2026-03").await;
    app.bill().await;
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (issued, _) = invoice(&app, &workspace).await;
    assert_eq!((issued.status, issued.total), (Status::Pending, 3_500));
    assert_eq!(app.number("select count(*) from late_usage").await, 0);
    assert_eq!(app.number("select count(*) from pending_items").await, 0);
}

#[tokio::test]
async fn what_comes_later_is_on_the_next_invoice_once() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    set_users(&app, &workspace, "2026-03", 10_100).await;
    turn_to(&app, "2026-04-02T00:00:00Z");
    app.bill().await;
    for (users, notes) in [(10_150, 1), (10_150, 1), (10_400, 2)] {
        set_users(&app, &workspace, "2026-03", users).await;
        for _ in 0..notes {
            note_late(&app, &workspace, "2026-03").await;
            app.bill().await;
        }
    }
    turn_to(&app, "2026-06-02T00:00:00Z");
    app.bill().await;
    let all = invoices(&app, &workspace).await;
    let totals: Vec<i64> = all.iter().map(|i| i.total).collect();
    assert_eq!(totals, [2_700, 2_500 + 600, 2_500]);
    let mut tx = app.read().await;
    let lines = authsome_control_plane::billing::invoice::store::lines(&mut tx, &all[1].id);
    let late: Vec<(String, i64)> = lines
        .await
        .unwrap()
        .into_iter()
        .filter(|line| line.item == "mau")
        .map(|line| (line.description, line.amount))
        .collect();
    let what = "Late usage of 2026-03: Monthly active users".to_owned();
    assert_eq!(late, [(what.clone(), 100), (what, 500)]);
}

#[tokio::test]
async fn what_turns_out_to_be_less_is_credited() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    set_users(&app, &workspace, "2026-03", 10_500).await;
    turn_to(&app, "2026-04-02T00:00:00Z");
    app.bill().await;
    let (issued, _) = invoice(&app, &workspace).await;
    assert_eq!(pay(&app, &issued).await.total, 3_500);
    set_users(&app, &workspace, "2026-03", 10_200).await;
    note_late(&app, &workspace, "2026-03").await;
    app.bill().await;
    let mut tx = app.read().await;
    let notes = credit::of_invoice(&mut tx, &issued.id).await.unwrap();
    assert_eq!((notes.len(), notes[0].amount, notes[0].to_balance), (1, 600, 600));
    assert_eq!(credit::balance(&mut tx, &workspace).await.unwrap(), 600);
    drop(tx);
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    assert_eq!(invoices(&app, &workspace).await[1].amount_due, 1_900);
}

#[tokio::test]
async fn a_month_without_an_invoice_is_charged_with_the_next() {
    let app = TestApp::with(|config| config.billing.draft_minutes = 0).await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let plan = "/control/v1/admin/plans/enterprise";
    let mut body = admin.get(plan).await.json(200);
    for told in ["name", "version", "private", "note", "createdAt"] {
        body.as_object_mut().unwrap().remove(told);
    }
    body["activeUsers"]["tiers"] = serde_json::json!([{ "upTo": null, "unitMicros": 10_000 }]);
    admin.put(plan, body).await.is(200);
    let workspace = admin.workspace("enterprise").await.parse().unwrap();
    turn_to(&app, "2026-04-02T00:00:00Z");
    app.bill().await;
    assert!(invoices(&app, &workspace).await.is_empty());
    set_users(&app, &workspace, "2026-03", 300).await;
    note_late(&app, &workspace, "2026-03").await;
    turn_to(&app, "2026-05-02T00:00:00Z");
    app.bill().await;
    let (issued, _) = invoice(&app, &workspace).await;
    assert_eq!((issued.period.as_str(), issued.total), ("2026-04", 300));
}
