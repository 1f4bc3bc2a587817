//! From the end of a month to a paid invoice: what the job does, by a clock turned by hand.

mod closing;
mod collect;
mod collect_faults;
mod coupons;
mod credit;
mod dunning;
mod late;
mod notice;
mod plans;
mod reconciliation;
mod tax;
mod trials;
mod year;

use authsome_control_plane::billing::invoice::settle::By;
use authsome_control_plane::billing::invoice::{Filter, Invoice, StoredLine, settle, store};
use authsome_control_plane::billing::reconciliation as again;
use authsome_control_plane::config::Config;
use authsome_control_plane::execute;
use authsome_control_plane::page::PageParams;
use authsome_control_plane::period::Period;
use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};

use crate::support::{Client, TestApp};

/// A control plane whose sign-ins outlive all turns of the clock.
async fn patient(change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::with(|config| {
        config.identity.access_token_seconds = 366 * 86_400;
        config.identity.refresh_token_days = 366;
        change(config);
    })
    .await
}

/// An owner with a workspace on a plan.
async fn subscriber(app: &TestApp, plan: &str) -> (Client, WorkspaceId) {
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace(plan).await;
    (owner, workspace.parse().unwrap())
}

/// Turns the clock forward to an instant.
fn turn_to(app: &TestApp, at: &str) {
    let at: DateTime<Utc> = at.parse().unwrap();
    app.advance(at - app.now());
}

/// A workspace's invoices, the oldest first.
async fn invoices(app: &TestApp, workspace: &WorkspaceId) -> Vec<Invoice> {
    let mut tx = app.read().await;
    let filter = Filter { workspace_id: Some(workspace.clone()), ..Filter::default() };
    let page = PageParams { page: 1, page_size: 100 };
    let mut invoices = store::list(&mut tx, &filter, page).await.unwrap().data;
    invoices.reverse();
    invoices
}

/// Its one invoice, with its lines.
async fn invoice(app: &TestApp, workspace: &WorkspaceId) -> (Invoice, Vec<StoredLine>) {
    let mut all = invoices(app, workspace).await;
    assert_eq!(all.len(), 1, "{all:?}");
    let invoice = all.remove(0);
    let mut tx = app.read().await;
    let lines = store::lines(&mut tx, &invoice.id).await.unwrap();
    (invoice, lines)
}

async fn pay(app: &TestApp, invoice: &Invoice) -> Invoice {
    let mut tx = app.write().await;
    let paid = settle::paid(&mut tx, By::System("test"), &invoice.id, None).await.unwrap();
    tx.commit().await.unwrap();
    paid
}

/// So many distinct end users in a month, as applying a batch would leave them.
async fn set_users(app: &TestApp, workspace: &WorkspaceId, period: &str, users: i64) {
    let mut tx = app.write().await;
    execute!(
        tx,
        sqlx::query(
            "insert into usage_active_users (workspace_id, period, users) values ($1, $2, $3) \
             on conflict (workspace_id, period) do update set users = excluded.users"
        )
        .bind(workspace)
        .bind(period)
        .bind(users)
    )
    .unwrap();
    tx.commit().await.unwrap();
}

/// As metering notes what it counts into a month that has ended.
async fn note_late(app: &TestApp, workspace: &WorkspaceId, period: &str) {
    let mut tx = app.write().await;
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into late_usage (workspace_id, period, noted_at) values ($1, $2, $3) \
             on conflict (workspace_id, period) do update set noted_at = excluded.noted_at"
        )
        .bind(workspace)
        .bind(period)
        .bind(now)
    )
    .unwrap();
    tx.commit().await.unwrap();
}

/// What was sent to webhooks, by type, oldest first.
async fn events(app: &TestApp) -> Vec<String> {
    let mut tx = app.read().await;
    let rows: Vec<(String,)> = authsome_control_plane::fetch_all!(
        tx,
        sqlx::query_as("select type from events where type like 'invoice%' order by id")
    )
    .unwrap();
    rows.into_iter().map(|(kind,)| kind).collect()
}

/// A month of a workspace, added up again, but for end users, whom these tests only count.
async fn assert_adds_up(app: &TestApp, workspace: &WorkspaceId, period: &str) {
    let period = Period::parse(period).unwrap();
    let reports = again::of_platform(&app.app, period, Some(workspace)).await.unwrap();
    let mut differences: Vec<_> = reports.iter().flat_map(|report| &report.differences).collect();
    differences.retain(|difference| difference.what != "mau.counted");
    assert!(differences.is_empty(), "{period}: {differences:?}");
}
