//! What follows when an invoice is not paid.

use authsome_control_plane::billing::invoice::Status;
use authsome_control_plane::billing::invoice::settle::{self, By};
use authsome_shared::snapshot::{Change, WorkspaceStatus};
use serde_json::json;

use super::{events, invoice, invoices, pay, subscriber, turn_to};
use crate::support::{Client, FakeProxy, TestApp, text};

async fn status(owner: &Client, workspace: &str) -> String {
    let path = format!("/control/v1/workspaces/{workspace}");
    text(&owner.be_again().await.get(&path).await.json(200)["status"])
}

/// What proxies are told of the workspace.
async fn at_the_proxies(app: &TestApp, workspace: &str) -> WorkspaceStatus {
    let snapshot = FakeProxy::new(app).snapshot().await;
    let found = snapshot.changes.into_iter().find_map(|change| match change {
        Change::Workspace(wire) if wire.id.as_str() == workspace => Some(wire.status),
        _ => None,
    });
    found.unwrap()
}

#[tokio::test]
async fn an_unpaid_invoice_reminds_then_suspends_and_payment_ends_it() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let id = workspace.to_string();
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    app.run_due().await;
    let mails = async || app.mails();
    assert_eq!(mails().await.len(), 1);
    for (at, expected, sent) in [
        ("2026-04-08T00:59:59Z", "active", 1),
        ("2026-04-08T01:00:00Z", "past_due", 2),
        ("2026-04-11T01:00:00Z", "past_due", 3),
        ("2026-04-15T01:00:00Z", "past_due", 4),
        ("2026-04-22T00:59:59Z", "past_due", 4),
        ("2026-04-22T01:00:00Z", "suspended", 5),
    ] {
        turn_to(&app, at);
        app.bill().await;
        app.bill().await;
        app.run_due().await;
        assert_eq!(status(&owner, &id).await, expected, "{at}");
        assert_eq!(mails().await.len(), sent, "{at}");
        let served = at_the_proxies(&app, &id).await;
        let expected = match expected {
            "suspended" => WorkspaceStatus::PastDue,
            _ => WorkspaceStatus::Active,
        };
        assert_eq!(served, expected, "{at}");
    }
    let (unpaid, _) = invoice(&app, &workspace).await;
    pay(&app, &unpaid).await;
    app.run_due().await;
    assert_eq!(status(&owner, &id).await, "active");
    assert_eq!(at_the_proxies(&app, &id).await, WorkspaceStatus::Active);
    assert_eq!(mails().await.len(), 6);
    app.bill().await;
    turn_to(&app, "2026-04-30T00:00:00Z");
    assert_eq!(app.bill().await, 0, "nothing follows");
}

#[tokio::test]
async fn a_workspace_goes_on_only_when_nothing_is_past_due() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let id = workspace.to_string();
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    turn_to(&app, "2026-05-20T01:00:00Z");
    app.bill().await;
    let all = invoices(&app, &workspace).await;
    assert_eq!(all.len(), 2);
    assert_eq!(status(&owner, &id).await, "suspended");
    turn_to(&app, "2026-05-27T01:00:00Z");
    app.bill().await;
    pay(&app, &all[0]).await;
    assert_eq!(status(&owner, &id).await, "suspended", "April is past due too");
    pay(&app, &all[1]).await;
    assert_eq!(status(&owner, &id).await, "active");
}

#[tokio::test]
async fn what_the_operator_suspended_stays_so_when_all_is_paid() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let admin = app.sign_up_admin("admin").await;
    let (owner, workspace) = subscriber(&app, "pro").await;
    let id = workspace.to_string();
    let path = format!("/control/v1/admin/workspaces/{id}");
    admin.post(&format!("{path}/suspend"), json!({ "reason": "Abuse" })).await.is(200);
    turn_to(&app, "2026-04-30T01:00:00Z");
    app.bill().await;
    let (unpaid, _) = invoice(&app, &workspace).await;
    pay(&app, &unpaid).await;
    assert_eq!(status(&owner, &id).await, "suspended");
    admin.be_again().await.post(&format!("{path}/unsuspend"), json!({})).await.is(200);
    assert_eq!(status(&owner, &id).await, "active");
}

#[tokio::test]
async fn deleting_and_restoring_ends_no_suspension() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (owner, workspace) = subscriber(&app, "pro").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    turn_to(&app, "2026-04-20T01:00:00Z");
    app.bill().await;
    owner.be_again().await.delete(&path).await.is(204);
    turn_to(&app, "2026-05-12T01:00:00Z");
    app.bill().await;
    owner.be_again().await.post(&format!("{path}/restore"), json!({})).await.is(200);
    assert_eq!(status(&owner, workspace.as_str()).await, "suspended");
    for unpaid in invoices(&app, &workspace).await {
        pay(&app, &unpaid).await;
    }
    assert_eq!(status(&owner, workspace.as_str()).await, "active");
}

#[tokio::test]
async fn a_refused_payment_is_told_once_and_may_still_succeed() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (_, workspace) = subscriber(&app, "pro").await;
    turn_to(&app, "2026-04-01T01:00:00Z");
    app.bill().await;
    let (issued, _) = invoice(&app, &workspace).await;
    for _ in 0..2 {
        let mut tx = app.write().await;
        let by = By::System("stripe");
        let failed = settle::failed(&mut tx, by, &issued.id, "Your card was declined.").await;
        assert_eq!(failed.unwrap().status, Status::Failed);
        tx.commit().await.unwrap();
    }
    pay(&app, &issued).await;
    let mut tx = app.write().await;
    let late = settle::failed(&mut tx, By::System("stripe"), &issued.id, "Late news").await;
    assert_eq!(late.unwrap().status, Status::Paid, "what is paid stays paid");
    drop(tx);
    assert_eq!(events(&app).await, ["invoice.created", "invoice.failed", "invoice.paid"]);
}
