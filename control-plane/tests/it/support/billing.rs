//! Months that end, and invoices to look at.

use std::slice;

use authsome_control_plane::billing::credit::{self, CreditNote};
use authsome_control_plane::billing::invoice::settle::By;
use authsome_control_plane::billing::invoice::store::{self, PendingItem};
use authsome_control_plane::billing::invoice::{Collector, Invoice, Status};
use authsome_control_plane::billing::money::Currency;
use authsome_control_plane::billing::party;
use authsome_control_plane::billing::price::{Kind, Line};
use authsome_control_plane::period::Period;
use authsome_shared::id::{InvoiceId, PendingItemId, WorkspaceId};
use chrono::{TimeDelta, Utc};
use sqlx::types::Json;

use super::app::TestApp;

impl TestApp {
    /// Turns the clock to two hours after this month's end, and does what billing does until then.
    pub async fn end_month(&self) {
        let end = Period::containing(self.now()).end() + TimeDelta::hours(2);
        self.advance(end - self.now());
        self.bill().await;
    }

    /// An invoice of $25.00 that was issued to the workspace just now, for last month. Its number is
    /// not of the series.
    pub async fn issue(&self, workspace: &str) -> Invoice {
        self.issue_for(workspace, &last_month(self), "USD", 2_500).await
    }

    /// The same for another month, in another currency's minor units.
    pub async fn issue_for(
        &self,
        workspace: &str,
        period: &str,
        currency: &str,
        amount: i64,
    ) -> Invoice {
        let mut tx = self.write().await;
        let workspace_id: WorkspaceId = workspace.parse().unwrap();
        let now = tx.now();
        let period = Period::parse(period).unwrap();
        let settings = &self.app.config.billing;
        let id = InvoiceId::new();
        let line = Line {
            kind: Kind::Fee,
            item: "fee".into(),
            description: "Pro plan".into(),
            starts_at: period.start(),
            ends_at: period.end(),
            quantity: None,
            unit_micros: None,
            share: None,
            rate_micros: None,
            amount,
        };
        let parties = party::parties(&mut tx, &settings.issuer, &workspace_id).await.unwrap();
        let invoice = Invoice {
            number: Some(format!("TEST-{id}")),
            id,
            workspace_id,
            period: period.to_string(),
            status: Status::Pending,
            currency: currency.parse::<Currency>().unwrap(),
            subtotal: amount,
            discount: 0,
            tax: 0,
            total: amount,
            balance_applied: 0,
            credited: 0,
            amount_due: amount,
            parties: Json(parties),
            collector: Collector::Manual,
            failure: None,
            finalize_at: now,
            created_at: now,
            finalized_at: Some(now),
            due_at: Some(now + TimeDelta::days(7)),
            paid_at: None,
            voided_at: None,
            dunning_step: 0,
            dunning_at: None,
            updated_at: now,
        };
        store::put(&mut tx, &invoice).await.unwrap();
        store::put_lines(&mut tx, &invoice.id, slice::from_ref(&line)).await.unwrap();
        tx.commit().await.unwrap();
        invoice
    }

    /// Puts $12.50 on the workspace's next invoice; the charge's id.
    pub async fn charge(&self, workspace: &str) -> String {
        let mut tx = self.write().await;
        let item = PendingItem {
            id: PendingItemId::new(),
            workspace_id: workspace.parse().unwrap(),
            period: None,
            item: "charge".into(),
            description: "Help".into(),
            amount: 1_250,
            credit_note_id: None,
            created_at: tx.now(),
        };
        store::add_item(&mut tx, &item).await.unwrap();
        tx.commit().await.unwrap();
        item.id.to_string()
    }

    /// Credits so many cents of an invoice.
    pub async fn credit(&self, invoice: &InvoiceId, amount: i64) -> CreditNote {
        let mut tx = self.write().await;
        let settings = &self.app.config.billing;
        let by = By::System("test");
        let note = credit::issue(&mut tx, settings, by, invoice, amount, "An outage").await;
        let note = note.unwrap();
        tx.commit().await.unwrap();
        note
    }
}

/// The month before the one that it is.
pub fn last_month(app: &TestApp) -> String {
    let this: chrono::DateTime<Utc> = Period::containing(app.now()).start();
    Period::containing(this - TimeDelta::seconds(1)).to_string()
}
