//! Credit notes, and the balance that a workspace has with the platform: what was charged wrongly is
//! taken off an unpaid invoice, or, where it was paid, owed to the workspace until the next invoice
//! uses it up. An invoice itself never changes once it was issued.

use authsome_shared::code::Code;
use authsome_shared::id::{BalanceEntryId, CreditNoteId, InvoiceId, WorkspaceId};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::invoice::settle::{self, By};
use super::invoice::{self, Collector, Invoice, Status, store};
use super::money::Currency;
use super::number;
use crate::config::Billing;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::jobs::{self, Job};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct CreditNote {
    pub id: CreditNoteId,
    pub number: String,
    pub invoice_id: InvoiceId,
    pub workspace_id: WorkspaceId,
    #[sqlx(try_from = "String")]
    pub currency: Currency,
    pub amount: i64,
    /// Of it, what went to the workspace's balance, because the invoice was paid.
    pub to_balance: i64,
    pub reason: String,
    pub created_at: DateTime<Utc>,
}

/// Credits `amount` of an issued invoice: off what is due of it first, the rest to the balance. All
/// credits together can't exceed the invoice.
pub async fn issue(
    tx: &mut Tx,
    settings: &Billing,
    by: By<'_>,
    id: &InvoiceId,
    amount: i64,
    reason: &str,
) -> Result<CreditNote> {
    let mut checks = Checks::default();
    let reason = reason.trim();
    let fine = (1..=500).contains(&reason.chars().count());
    checks.check(fine, "reason", "`reason` must have 1 to 500 characters");
    checks.check(amount > 0, "amount", "`amount` must be more than 0");
    checks.finish()?;
    let mut invoice = store::hold(tx, id).await?.ok_or(invoice::NOT_FOUND)?;
    if matches!(invoice.status, Status::Draft | Status::Void) {
        let message = format!("An invoice that is {} has no credits", invoice.status.as_str());
        return Err(Error::Conflict(Code::InvalidState, message));
    }
    let left = invoice.total - credited(tx, id).await?;
    if amount > left {
        let left = invoice.currency.format(left);
        let message = format!("`amount` is more than the {left} that are left of the invoice");
        return Err(Error::invalid("amount", "invalid_value", &message));
    }
    let open = if invoice.status.is_open() { invoice.amount_due } else { 0 };
    let off_due = amount.min(open);
    let now = tx.now();
    let note = CreditNote {
        id: CreditNoteId::new(),
        number: number::next(tx, &settings.credit_note_prefix).await?,
        invoice_id: id.clone(),
        workspace_id: invoice.workspace_id.clone(),
        currency: invoice.currency.clone(),
        amount,
        to_balance: amount - off_due,
        reason: reason.to_owned(),
        created_at: now,
    };
    insert(tx, &note).await?;
    let entry = by.audit("credit_note.issued", &invoice);
    tx.audit(entry.after(json!({
        "creditNote": note.id, "number": note.number, "amount": amount, "reason": reason,
    })));
    if note.to_balance > 0 {
        let entry = Entry { note: Some(&note.id), ..Entry::of(&invoice, note.to_balance) };
        add_entry(tx, &entry, &format!("Credit note {}", note.number)).await?;
    }
    if off_due > 0 {
        invoice.credited += off_due;
        invoice.amount_due -= off_due;
        invoice.updated_at = now;
        store::put(tx, &invoice).await?;
        if invoice.amount_due == 0 {
            settle::set_paid(tx, &mut invoice).await?;
        }
        if invoice.collector == Collector::Stripe {
            jobs::enqueue(tx, &Job::Collect { invoice_id: id.clone() }).await?;
        }
    }
    Ok(note)
}

async fn insert(tx: &mut Tx, note: &CreditNote) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into credit_notes (id, number, invoice_id, workspace_id, currency, amount, \
             to_balance, reason, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
        )
        .bind(&note.id)
        .bind(&note.number)
        .bind(&note.invoice_id)
        .bind(&note.workspace_id)
        .bind(note.currency.as_str())
        .bind(note.amount)
        .bind(note.to_balance)
        .bind(&note.reason)
        .bind(note.created_at)
    )?;
    Ok(())
}

/// What was credited of an invoice.
pub async fn credited(tx: &mut Tx, id: &InvoiceId) -> Result<i64> {
    let (sum,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(sum(amount), 0) as bigint) from credit_notes \
             where invoice_id = $1"
        )
        .bind(id)
    )?;
    Ok(sum)
}

/// An invoice's, oldest first.
pub async fn of_invoice(tx: &mut Tx, id: &InvoiceId) -> Result<Vec<CreditNote>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as("select * from credit_notes where invoice_id = $1 order by created_at, id")
            .bind(id)
    )?)
}

/// A workspace's, newest first.
pub async fn list(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    page: PageParams,
) -> Result<Page<CreditNote>> {
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from credit_notes where workspace_id = $1").bind(workspace)
    )?;
    let rows = fetch_all!(
        tx,
        sqlx::query_as(
            "select * from credit_notes where workspace_id = $1 \
             order by created_at desc, id desc limit $2 offset $3"
        )
        .bind(workspace)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

pub async fn by_id(tx: &mut Tx, id: &CreditNoteId) -> Result<CreditNote> {
    let note =
        fetch_optional!(tx, sqlx::query_as("select * from credit_notes where id = $1").bind(id))?;
    note.ok_or(Error::NotFound("credit note"))
}

/// What the platform owes the workspace, in minor units.
pub async fn balance(tx: &mut Tx, workspace: &WorkspaceId) -> Result<i64> {
    let (sum,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(sum(amount), 0) as bigint) from balance_entries \
             where workspace_id = $1"
        )
        .bind(workspace)
    )?;
    Ok(sum)
}

/// Uses the balance for an invoice, up to its total; one whose total is in the workspace's favour
/// adds to it instead. Answers how much was used.
pub(super) async fn use_balance(tx: &mut Tx, invoice: &Invoice) -> Result<i64> {
    let used = if invoice.total < 0 {
        invoice.total
    } else {
        balance(tx, &invoice.workspace_id).await?.clamp(0, invoice.total)
    };
    if used != 0 {
        let what = if used > 0 { "Used for" } else { "In your favour on" };
        let reason = format!("{what} invoice {}", invoice.name());
        add_entry(tx, &Entry::of(invoice, -used), &reason).await?;
    }
    Ok(used)
}

/// Gives back what a voided invoice took from the balance.
pub(super) async fn return_balance(tx: &mut Tx, invoice: &Invoice) -> Result<()> {
    if invoice.balance_applied != 0 {
        let reason = format!("Invoice {} was voided", invoice.name());
        add_entry(tx, &Entry::of(invoice, invoice.balance_applied), &reason).await?;
    }
    Ok(())
}

/// More was paid than was due, such as by a payment that was under way when a credit note was issued:
/// it is the workspace's.
pub(super) async fn overpaid(tx: &mut Tx, invoice: &Invoice, amount: i64) -> Result<()> {
    let reason = format!("Paid beyond what was due of invoice {}", invoice.name());
    add_entry(tx, &Entry::of(invoice, amount), &reason).await
}

/// A movement of the balance.
struct Entry<'a> {
    invoice: &'a Invoice,
    amount: i64,
    note: Option<&'a CreditNoteId>,
}

impl<'a> Entry<'a> {
    fn of(invoice: &'a Invoice, amount: i64) -> Self {
        Self { invoice, amount, note: None }
    }
}

async fn add_entry(tx: &mut Tx, entry: &Entry<'_>, reason: &str) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into balance_entries \
             (id, workspace_id, amount, reason, credit_note_id, invoice_id, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7)"
        )
        .bind(BalanceEntryId::new())
        .bind(&entry.invoice.workspace_id)
        .bind(entry.amount)
        .bind(reason)
        .bind(entry.note)
        .bind(&entry.invoice.id)
        .bind(now)
    )?;
    Ok(())
}
