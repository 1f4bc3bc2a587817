//! A month, added up again: it adds up, and whatever is changed behind the platform's back is named.

use authsome_control_plane::billing::reconciliation;
use authsome_control_plane::execute;
use authsome_control_plane::period::Period;
use authsome_shared::id::{EpochId, WorkspaceId};
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{invoice, note_late, pay, turn_to};
use crate::support::{Client, FakeProxy, Record, TestApp, text};

/// What differs in March.
async fn differences(app: &TestApp, workspace: &WorkspaceId) -> Vec<String> {
    let period = Period::parse("2026-03").unwrap();
    let reports = reconciliation::of_platform(&app.app, period, Some(workspace)).await.unwrap();
    assert_eq!(reports.len(), 1);
    reports[0].differences.iter().map(|difference| difference.what.clone()).collect()
}

/// A workspace with a paid invoice for some requests of two users.
async fn month(app: &TestApp) -> (Client, WorkspaceId) {
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let key = text(&owner.key(&text(&application["id"])).await["id"]);
    let one = Record::of(app, &application, &key);
    let records = ["ada", "bob", "ada"].map(|user| one.with(|r| r.user = Some(user.into())));
    FakeProxy::new(app).apply(&EpochId::new(), 1, &records).await;
    let workspace: WorkspaceId = text(&application["workspaceId"]).parse().unwrap();
    turn_to(app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (issued, _) = invoice(app, &workspace).await;
    pay(app, &issued).await;
    (owner.be_again().await, workspace)
}

#[tokio::test]
async fn a_month_adds_up_from_the_ledger_to_the_paid_invoice() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, workspace) = month(&app).await;
    let path = format!("/control/v1/workspaces/{workspace}/usage/reconciliation");
    let told = owner.get(&format!("{path}?period=2026-03")).await.json(200);
    assert_eq!((&told["consistent"], &told["differences"]), (&json!(true), &json!([])));
    assert_eq!(told["activeUsers"], json!({ "total": 2, "counted": 2 }));
    assert_eq!(told["invoice"]["status"], "paid");
    assert_eq!(
        (&told["invoice"]["amount"], &told["invoice"]["number"]),
        (&json!(25.0), &json!("INV-000001"))
    );
    let fee = &told["items"].as_array().unwrap().iter().find(|item| item["item"] == "fee").unwrap();
    assert_eq!(
        **fee,
        json!({ "item": "fee", "price": 25.0, "charged": 25.0, "invoiced": 25.0, "adjusted": 0.0 })
    );
    // The running month has no invoice, and adds up all the same.
    let told = owner.get(&path).await.json(200);
    assert_eq!((&told["consistent"], &told["invoice"]), (&json!(true), &json!(null)));
    let mut tx = app.read().await;
    let settings = &app.app.config.billing;
    assert_eq!(reconciliation::numbers(&mut tx, settings).await.unwrap(), []);
}

#[tokio::test]
async fn whatever_is_changed_behind_the_platforms_back_is_named() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = month(&app).await;
    assert_eq!(differences(&app, &workspace).await, [] as [&str; 0]);
    for (change, undo, expected) in [
        (
            "update usage_totals set units = units + 1 where subject like 'app%'",
            "update usage_totals set units = units - 1 where subject like 'app%'",
            vec!["requests.applications"],
        ),
        (
            "update usage_totals set units = units + 1 where subject like 'ws%'",
            "update usage_totals set units = units - 1 where subject like 'ws%'",
            vec!["requests.applications", "requests.keys", "requests.minutes", "requests.quantity"],
        ),
        (
            "update usage_active_users set users = users + 10000",
            "update usage_active_users set users = users - 10000",
            vec!["mau.counted", "mau.price", "mau.quantity"],
        ),
        (
            "update invoice_lines set amount = amount - 100 where item = 'fee'",
            "update invoice_lines set amount = amount + 100 where item = 'fee'",
            vec!["fee.invoiced", "invoice.subtotal", "invoice.total"],
        ),
        (
            "update invoices set total = total - 1",
            "update invoices set total = total + 1",
            vec!["invoice.total", "invoice.due"],
        ),
        (
            "update invoices set credited = credited + 1, amount_due = amount_due - 1",
            "update invoices set credited = credited - 1, amount_due = amount_due + 1",
            vec!["invoice.credited"],
        ),
    ] {
        let run = async |sql: &'static str| {
            let mut tx = app.write().await;
            execute!(tx, sqlx::query(AssertSqlSafe(sql))).unwrap();
            tx.commit().await.unwrap();
        };
        run(change).await;
        assert_eq!(differences(&app, &workspace).await, expected, "{change}");
        run(undo).await;
        assert_eq!(differences(&app, &workspace).await, [] as [&str; 0], "{undo}");
    }
    let mut tx = app.write().await;
    execute!(tx, sqlx::query("update number_series set last = 7")).unwrap();
    let settings = &app.app.config.billing;
    let gaps = reconciliation::numbers(&mut tx, settings).await.unwrap();
    assert_eq!((gaps[0].stated, gaps[0].found), (7, 1));
}

#[tokio::test]
async fn late_usage_differs_until_it_is_charged() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = month(&app).await;
    super::set_users(&app, &workspace, "2026-03", 10_002).await;
    let found = differences(&app, &workspace).await;
    assert_eq!(found, ["mau.counted", "mau.price", "mau.quantity"]);
    note_late(&app, &workspace, "2026-03").await;
    app.bill().await;
    assert_eq!(differences(&app, &workspace).await, ["mau.counted"], "it was made up");
}

#[tokio::test]
async fn a_month_that_nobody_closed_is_named() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("free").await.parse().unwrap();
    turn_to(&app, "2026-04-01T00:59:00Z");
    assert_eq!(differences(&app, &workspace).await, [] as [&str; 0], "it may take a while");
    turn_to(&app, "2026-04-02T00:00:00Z");
    assert_eq!(differences(&app, &workspace).await, ["period.closed"]);
    app.bill().await;
    assert_eq!(differences(&app, &workspace).await, [] as [&str; 0]);
}
