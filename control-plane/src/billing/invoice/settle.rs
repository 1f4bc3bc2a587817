//! What becomes of an invoice that was issued: paid, refused, voided. Each is asked for by people
//! and by payment providers, more than once and in any order: what is paid stays paid, what is void
//! stays void, and asking again changes nothing.

use authsome_shared::code::Code;
use authsome_shared::id::{InvoiceId, WorkspaceId};
use serde_json::json;

use super::{Collector, Invoice, NOT_FOUND, Status, store};
use crate::actor::PlatformAccess;
use crate::audit::Entry;
use crate::billing::{credit, notice};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::events::{self, EventType, Subject};
use crate::jobs::{self, Job};
use crate::workspaces::standing;

/// Who says so.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    Operator(&'a PlatformAccess),
    /// The operator at the command line.
    CommandLine,
    /// A part of the platform, such as `billing` or `stripe`.
    System(&'static str),
}

impl By<'_> {
    /// An entry of the log of the invoice's workspace.
    pub fn audit(&self, action: &'static str, invoice: &Invoice) -> Entry {
        self.entry(action, &invoice.workspace_id).on("invoice", &invoice.id)
    }

    /// An entry of the workspace's log, about itself.
    pub fn entry(&self, action: &'static str, workspace: &WorkspaceId) -> Entry {
        let entry = match self {
            Self::Operator(access) => access.audit(action),
            Self::CommandLine => Entry::by_operator("cli", action),
            Self::System(name) => Entry::by_system(name, action),
        };
        entry.in_workspace(workspace).on("workspace", workspace)
    }
}

/// The invoice is paid; `reference` says how, for the log. A workspace that was held for it goes on
/// once nothing else is past due.
pub async fn paid(
    tx: &mut Tx,
    by: By<'_>,
    id: &InvoiceId,
    reference: Option<&str>,
) -> Result<Invoice> {
    let mut invoice = store::hold(tx, id).await?.ok_or(NOT_FOUND)?;
    match invoice.status {
        Status::Paid => return Ok(invoice),
        Status::Draft | Status::Void => return Err(not_when(&invoice, "paid")),
        Status::Pending | Status::Failed => {}
    }
    let before = invoice.audited();
    set_paid(tx, &mut invoice).await?;
    let mut after = invoice.audited();
    after["reference"] = json!(reference);
    tx.audit(by.audit("invoice.paid", &invoice).change(before, after));
    // What was paid otherwise is not to be paid at Stripe again.
    if invoice.collector == Collector::Stripe && !matches!(by, By::System("stripe")) {
        jobs::enqueue(tx, &Job::Collect { invoice_id: invoice.id.clone() }).await?;
    }
    Ok(invoice)
}

/// To `paid`, with all that follows but the audit's entry.
pub(in crate::billing) async fn set_paid(tx: &mut Tx, invoice: &mut Invoice) -> Result<()> {
    let now = tx.now();
    invoice.status = Status::Paid;
    invoice.paid_at = Some(now);
    invoice.failure = None;
    invoice.dunning_at = None;
    invoice.updated_at = now;
    store::put(tx, invoice).await?;
    tell(tx, EventType::InvoicePaid, invoice).await?;
    end_hold(tx, invoice).await
}

/// A payment was refused. It can still be paid until its due date and after.
pub async fn failed(tx: &mut Tx, by: By<'_>, id: &InvoiceId, reason: &str) -> Result<Invoice> {
    let mut invoice = store::hold(tx, id).await?.ok_or(NOT_FOUND)?;
    let known = invoice.status == Status::Failed && invoice.failure.as_deref() == Some(reason);
    if known || !invoice.status.is_open() {
        return Ok(invoice);
    }
    let before = invoice.audited();
    let first = invoice.status == Status::Pending;
    invoice.status = Status::Failed;
    invoice.failure = Some(reason.to_owned());
    invoice.updated_at = tx.now();
    store::put(tx, &invoice).await?;
    tx.audit(by.audit("invoice.failed", &invoice).change(before, invoice.audited()));
    if first {
        tell(tx, EventType::InvoiceFailed, &invoice).await?;
        jobs::enqueue(tx, &notice::payment_failed(&invoice, reason)).await?;
    }
    Ok(invoice)
}

/// The invoice was a mistake: nothing of it is owed. What it took from the balance goes back, and
/// its number stays used.
pub async fn void(tx: &mut Tx, by: By<'_>, id: &InvoiceId, reason: &str) -> Result<Invoice> {
    let mut invoice = store::hold(tx, id).await?.ok_or(NOT_FOUND)?;
    match invoice.status {
        Status::Void => return Ok(invoice),
        Status::Draft | Status::Paid => return Err(not_when(&invoice, "voided")),
        Status::Pending | Status::Failed => {}
    }
    let before = invoice.audited();
    let now = tx.now();
    credit::return_balance(tx, &invoice).await?;
    invoice.status = Status::Void;
    invoice.failure = Some(reason.to_owned());
    invoice.voided_at = Some(now);
    invoice.dunning_at = None;
    invoice.updated_at = now;
    store::put(tx, &invoice).await?;
    tx.audit(by.audit("invoice.voided", &invoice).change(before, invoice.audited()));
    if invoice.collector == Collector::Stripe {
        jobs::enqueue(tx, &Job::Collect { invoice_id: invoice.id.clone() }).await?;
    }
    end_hold(tx, &invoice).await?;
    Ok(invoice)
}

fn not_when(invoice: &Invoice, what: &str) -> Error {
    let message = format!("An invoice that is {} can't be {what}", invoice.status.as_str());
    Error::Conflict(Code::InvalidState, message)
}

pub(in crate::billing) async fn tell(
    tx: &mut Tx,
    kind: EventType,
    invoice: &Invoice,
) -> Result<()> {
    events::emit(tx, kind, Subject::Workspace(&invoice.workspace_id), invoice.told()).await?;
    Ok(())
}

/// Lets the workspace go on if it was held for unpaid invoices and none is left.
async fn end_hold(tx: &mut Tx, invoice: &Invoice) -> Result<()> {
    if store::past_due(tx, &invoice.workspace_id).await? == 0
        && standing::settled(tx, &invoice.workspace_id).await?
    {
        jobs::enqueue(tx, &notice::restored(&invoice.workspace_id)).await?;
    }
    Ok(())
}
