//! Credit notes and balances.

use authsome_control_plane::billing::credit;
use authsome_control_plane::billing::invoice::settle::{self, By};
use authsome_control_plane::billing::invoice::{Invoice, Status};
use authsome_control_plane::error::Result;
use authsome_control_plane::execute;

use super::{invoice, invoices, pay, subscriber, turn_to};
use crate::support::TestApp;

async fn issue(app: &TestApp, invoice: &Invoice, amount: i64) -> Result<credit::CreditNote> {
    let mut tx = app.write().await;
    let settings = &app.app.config.billing;
    let by = By::System("test");
    let note = credit::issue(&mut tx, settings, by, &invoice.id, amount, "A mistake").await?;
    tx.commit().await.unwrap();
    Ok(note)
}

#[tokio::test]
async fn a_credit_comes_off_what_is_due() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (issued, _) = invoice(&app, &workspace).await;
    let note = issue(&app, &issued, 1_000).await.unwrap();
    assert_eq!((note.number.as_str(), note.to_balance), ("CN-000001", 0));
    let (left, _) = invoice(&app, &workspace).await;
    assert_eq!((left.total, left.credited, left.amount_due), (2_500, 1_000, 1_500));
    assert!(issue(&app, &issued, 1_501).await.is_err(), "more than is left");
    assert!(issue(&app, &issued, 0).await.is_err());
    let note = issue(&app, &issued, 1_500).await.unwrap();
    assert_eq!(note.number, "CN-000002", "what was refused took no number");
    let (paid, _) = invoice(&app, &workspace).await;
    assert_eq!((paid.status, paid.amount_due), (Status::Paid, 0));
}

#[tokio::test]
async fn a_credit_of_a_paid_invoice_is_used_up_by_the_next_ones() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    // More than the next invoice: by a month that was dearer.
    super::set_users(&app, &workspace, "2026-03", 11_000).await;
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (first, _) = invoice(&app, &workspace).await;
    assert_eq!(pay(&app, &first).await.total, 4_500);
    let note = issue(&app, &first, 4_000).await.unwrap();
    assert_eq!(note.to_balance, 4_000);
    turn_to(&app, "2026-06-01T01:00:00Z");
    app.bill().await;
    let all = invoices(&app, &workspace).await;
    let said: Vec<(Status, i64, i64)> =
        all.iter().map(|i| (i.status, i.balance_applied, i.amount_due)).collect();
    assert_eq!(
        said,
        [(Status::Paid, 0, 4_500), (Status::Paid, 2_500, 0), (Status::Pending, 1_500, 1_000)]
    );
    // Voiding gives back what was taken.
    let mut tx = app.write().await;
    settle::void(&mut tx, By::System("test"), &all[2].id, "A mistake").await.unwrap();
    assert_eq!(credit::balance(&mut tx, &workspace).await.unwrap(), 1_500);
    assert!(settle::paid(&mut tx, By::System("test"), &all[2].id, None).await.is_err());
    assert!(settle::void(&mut tx, By::System("test"), &all[0].id, "No").await.is_err());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn one_time_charges_are_on_the_next_invoice_alone() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "free").await;
    let mut tx = app.write().await;
    execute!(
        tx,
        sqlx::query(
            "insert into pending_items (id, workspace_id, item, description, amount, created_at) \
             values ('itm_1', $1, 'charge', 'Set-up', 9900, $2)"
        )
        .bind(&workspace)
        .bind(app.now())
    )
    .unwrap();
    tx.commit().await.unwrap();
    turn_to(&app, "2026-06-01T01:00:00Z");
    app.bill().await;
    let (issued, lines) = invoice(&app, &workspace).await;
    assert_eq!((issued.period.as_str(), issued.total), ("2026-03", 9_900));
    assert_eq!((lines.len(), lines[0].description.as_str()), (1, "Set-up"));
}

#[tokio::test]
async fn an_invoice_in_the_workspaces_favour_goes_to_its_balance() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "free").await;
    let mut tx = app.write().await;
    execute!(
        tx,
        sqlx::query(
            "insert into pending_items \
             (id, workspace_id, period, item, description, amount, created_at) \
             values ('itm_1', $1, '2026-02', 'mau', 'Corrected usage', -300, $2)"
        )
        .bind(&workspace)
        .bind(app.now())
    )
    .unwrap();
    tx.commit().await.unwrap();
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (issued, _) = invoice(&app, &workspace).await;
    assert_eq!((issued.status, issued.total, issued.amount_due), (Status::Paid, -300, 0));
    let mut tx = app.read().await;
    assert_eq!(credit::balance(&mut tx, &workspace).await.unwrap(), 300);
    drop(tx);
    let owner = owner.be_again().await;
    let path = format!("/control/v1/workspaces/{workspace}/usage/reconciliation?period=2026-03");
    assert_eq!(owner.get(&path).await.json(200)["differences"], serde_json::json!([]));
}
