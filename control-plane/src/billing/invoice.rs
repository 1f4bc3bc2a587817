//! Invoices: what a workspace is asked to pay for a month, and what became of it.
//!
//! draft → pending → paid | failed | void; failed → paid | void. A draft has no number and may still
//! change or vanish; from `pending` on its lines stand. Making one: `closing`. Paying, failing,
//! voiding: `settle`. Taking off what was charged wrongly: `credit`.

pub mod overseen;
pub mod settle;
pub mod store;
pub mod whole;

use authsome_shared::id::{InvoiceId, WorkspaceId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

use super::money::Currency;
use super::party::Parties;
use super::price::{Kind, Line};
use crate::actor::{Access, Actor, Permission};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::page::{Page, PageParams};
use crate::workspaces;

pub const NOT_FOUND: Error = Error::NotFound("invoice");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = InvoiceStatus)]
pub enum Status {
    Draft,
    Pending,
    Paid,
    /// A payment was tried and refused.
    Failed,
    Void,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Failed => "failed",
            Self::Void => "void",
        }
    }

    /// Is money still waited for?
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Failed)
    }
}

/// Who collects the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Collector {
    /// The operator, who says that it was paid.
    Manual,
    Stripe,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Invoice {
    pub id: InvoiceId,
    pub workspace_id: WorkspaceId,
    /// `YYYY-MM`.
    pub period: String,
    pub number: Option<String>,
    pub status: Status,
    #[sqlx(try_from = "String")]
    pub currency: Currency,
    pub subtotal: i64,
    /// What discounts take off.
    pub discount: i64,
    pub tax: i64,
    pub total: i64,
    /// Paid from the workspace's balance.
    pub balance_applied: i64,
    /// Taken off by credit notes while it was unpaid.
    pub credited: i64,
    /// What is left to be paid, or was when it was.
    pub amount_due: i64,
    pub parties: Json<Parties>,
    pub collector: Collector,
    /// Why the last payment was refused, or it was voided.
    pub failure: Option<String>,
    pub finalize_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub finalized_at: Option<DateTime<Utc>>,
    pub due_at: Option<DateTime<Utc>>,
    pub paid_at: Option<DateTime<Utc>>,
    pub voided_at: Option<DateTime<Utc>>,
    pub dunning_step: i64,
    pub dunning_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

impl Invoice {
    /// What people call it.
    pub fn name(&self) -> String {
        match &self.number {
            Some(number) => number.clone(),
            None => format!("Draft for {}", self.period),
        }
    }

    /// Was it due before `now`, and is not paid?
    pub fn is_past_due(&self, now: DateTime<Utc>) -> bool {
        self.status.is_open() && self.due_at.is_some_and(|due| due < now)
    }

    /// What the audit log says of it.
    pub fn audited(&self) -> serde_json::Value {
        serde_json::json!({
            "number": self.number, "period": self.period, "status": self.status,
            "currency": self.currency, "total": self.total, "amountDue": self.amount_due,
        })
    }

    /// What events say of it.
    pub fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "invoiceId": self.id, "workspaceId": self.workspace_id, "number": self.number,
            "period": self.period, "status": self.status, "currency": self.currency,
            "amount": self.currency.major(self.total),
            "amountDue": self.currency.major(self.amount_due),
            "dueAt": self.due_at, "paidAt": self.paid_at,
        })
    }
}

/// A line as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredLine {
    pub position: i64,
    pub kind: Kind,
    pub item: String,
    pub description: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub quantity: Option<i64>,
    pub unit_micros: Option<i64>,
    pub share_of: Option<i64>,
    pub share_in: Option<i64>,
    pub rate_micros: Option<i64>,
    pub amount: i64,
}

impl From<StoredLine> for Line {
    fn from(line: StoredLine) -> Self {
        Self {
            kind: line.kind,
            item: line.item,
            description: line.description,
            starts_at: line.starts_at,
            ends_at: line.ends_at,
            quantity: line.quantity,
            unit_micros: line.unit_micros,
            share: line.share_of.zip(line.share_in),
            rate_micros: line.rate_micros,
            amount: line.amount,
        }
    }
}

/// Narrows a list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub workspace_id: Option<WorkspaceId>,
    pub status: Option<Status>,
    pub period: Option<String>,
    /// Of the invoice, whole.
    pub number: Option<String>,
}

/// The workspace's invoices, the newest month first.
pub async fn list(
    tx: &mut Tx,
    access: &Access,
    filter: Filter,
    page: PageParams,
) -> Result<Page<Invoice>> {
    let workspace_id = Some(access.workspace_id().clone());
    store::list(tx, &Filter { workspace_id, ..filter }, page).await
}

/// One of the workspace's.
pub async fn get(tx: &mut Tx, access: &Access, id: &InvoiceId) -> Result<Invoice> {
    let invoice = store::by_id(tx, id).await?.ok_or(NOT_FOUND)?;
    if invoice.workspace_id == *access.workspace_id() { Ok(invoice) } else { Err(NOT_FOUND) }
}

/// One that the actor may see, by its id alone; those of foreign workspaces are not found.
pub async fn find(tx: &mut Tx, actor: &Actor, id: &InvoiceId) -> Result<(Access, Invoice)> {
    let invoice = store::by_id(tx, id).await?.ok_or(NOT_FOUND)?;
    let proof = workspaces::access(tx, actor, &invoice.workspace_id, Permission::ViewUsage).await;
    match proof {
        Ok((access, _)) => Ok((access, invoice)),
        Err(Error::NotFound(_)) => Err(NOT_FOUND),
        Err(error) => Err(error),
    }
}
