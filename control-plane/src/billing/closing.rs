//! Ends a workspace's month exactly once, however often and wherever it is asked for: the month is
//! priced, what there is to charge becomes a draft, and the subscription moves on to the next month,
//! all in one transaction that holds the subscription. A draft is priced anew and numbered when its
//! time as a draft is over, so that usage that came late is on it.

use std::collections::BTreeMap;

use anyhow::anyhow;
use authsome_shared::id::{InvoiceId, WorkspaceId};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;

use super::bill::Bill;
use super::invoice::settle::{self, By};
use super::invoice::{Collector, Invoice, Status, store};
use super::month::{self, Month};
use super::price::{Kind, Line, Quantities};
use super::{change, credit, dunning, late, notice, number, party};
use crate::config::Billing;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::events::EventType;
use crate::jobs::{self, Job};
use crate::period::Period;
use crate::workspaces::{self, subscription};
use crate::{execute, fetch_optional};

/// By item, in minor units.
pub type Amounts = BTreeMap<String, i64>;

/// Closes the workspace's month that ended at `at`, if nobody has yet.
pub async fn close(
    tx: &mut Tx,
    settings: &Billing,
    collector: Collector,
    workspace: &WorkspaceId,
    at: DateTime<Utc>,
) -> Result<()> {
    subscription::hold(tx, workspace).await?;
    let subscription = subscription::of(tx, workspace).await?;
    if subscription.next_close_at != Some(at) {
        return Ok(());
    }
    let period = Period::containing(at - TimeDelta::seconds(1));
    let month = gather(tx, settings, workspace, period).await?;
    let bill = month.bill(settings, adjustments(tx, workspace, period).await?);
    let invoice = if is_charged(&bill) {
        let draft = draft(tx, settings, collector, workspace, period, &bill).await?;
        Some(draft.id)
    } else {
        None
    };
    note(tx, workspace, period, invoice.as_ref(), &month, &bill).await?;

    if let Some(mut held) = workspaces::held(tx, workspace).await? {
        change::carry_out(tx, settings, &mut held, at).await?;
    }
    let goes_on = subscription::goes_on(tx, workspace, at).await?;
    let next = goes_on.then(|| Period::containing(at).end());
    subscription::close_next_at(tx, workspace, next).await
}

/// The month; what was noted as late of it until here is in it.
async fn gather(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<Month> {
    // Before it is counted: what is noted from here on, was perhaps not.
    late::forget(tx, workspace, period).await?;
    let month = month::of(tx, settings, workspace, period).await?;
    if month.taxes.is_none() {
        return Err(Error::internal(anyhow!("the taxes on invoices are not known yet")));
    }
    Ok(month)
}

fn is_charged(bill: &Bill) -> bool {
    bill.lines.iter().any(|line| {
        line.amount != 0 && matches!(line.kind, Kind::Fee | Kind::Usage | Kind::Adjustment)
    })
}

/// What waits for the next invoice, as lines of it.
pub(super) async fn adjustments(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<Vec<Line>> {
    let items = store::pending(tx, workspace).await?;
    Ok(items
        .into_iter()
        .map(|item| {
            let of = item.period.as_deref().and_then(Period::parse).unwrap_or(period);
            Line {
                kind: Kind::Adjustment,
                item: item.item,
                description: item.description,
                starts_at: of.start(),
                ends_at: of.end(),
                quantity: None,
                unit_micros: None,
                share: None,
                rate_micros: None,
                amount: item.amount,
            }
        })
        .collect())
}

async fn draft(
    tx: &mut Tx,
    settings: &Billing,
    collector: Collector,
    workspace: &WorkspaceId,
    period: Period,
    bill: &Bill,
) -> Result<Invoice> {
    let now = tx.now();
    let mut invoice = Invoice {
        id: InvoiceId::new(),
        workspace_id: workspace.clone(),
        period: period.to_string(),
        number: None,
        status: Status::Draft,
        currency: settings.currency.clone(),
        subtotal: 0,
        discount: 0,
        tax: 0,
        total: 0,
        balance_applied: 0,
        credited: 0,
        amount_due: 0,
        parties: Json(party::parties(tx, &settings.issuer, workspace).await?),
        collector,
        failure: None,
        finalize_at: period.end() + TimeDelta::minutes(settings.draft_minutes.into()),
        created_at: now,
        finalized_at: None,
        due_at: None,
        paid_at: None,
        voided_at: None,
        dunning_step: 0,
        dunning_at: None,
        updated_at: now,
    };
    set_sums(&mut invoice, bill);
    store::put(tx, &invoice).await?;
    store::put_lines(tx, &invoice.id, &bill.lines).await?;
    Ok(invoice)
}

fn set_sums(invoice: &mut Invoice, bill: &Bill) {
    invoice.subtotal = bill.subtotal;
    invoice.discount = bill.discount;
    invoice.tax = bill.tax;
    invoice.total = bill.total;
    invoice.amount_due = bill.total;
}

/// Issues a draft whose time has come: prices it anew, numbers it, and asks for the money.
pub async fn finalize(
    tx: &mut Tx,
    settings: &Billing,
    collector: Collector,
    id: &InvoiceId,
) -> Result<()> {
    let now = tx.now();
    let Some(mut invoice) = store::hold(tx, id).await? else { return Ok(()) };
    if invoice.status != Status::Draft || invoice.finalize_at > now {
        return Ok(());
    }
    let period = Period::parse(&invoice.period).unwrap_or(Period::containing(invoice.created_at));
    let workspace = invoice.workspace_id.clone();
    let month = gather(tx, settings, &workspace, period).await?;
    let items = store::pending(tx, &workspace).await?;
    let bill = month.bill(settings, adjustments(tx, &workspace, period).await?);
    if !is_charged(&bill) {
        note(tx, &workspace, period, None, &month, &bill).await?;
        return store::delete(tx, id).await;
    }
    set_sums(&mut invoice, &bill);
    invoice.currency = settings.currency.clone();
    invoice.number = Some(number::next(tx, &settings.invoice_prefix).await?);
    invoice.parties = Json(party::parties(tx, &settings.issuer, &workspace).await?);
    invoice.collector = collector;
    invoice.balance_applied = credit::use_balance(tx, &invoice).await?;
    invoice.amount_due = invoice.total - invoice.balance_applied;
    invoice.status = Status::Pending;
    let due = now + TimeDelta::days(settings.due_days.into());
    invoice.finalized_at = Some(now);
    invoice.due_at = Some(due);
    invoice.dunning_at = dunning::first(settings, due);
    invoice.updated_at = now;
    store::put(tx, &invoice).await?;
    store::put_lines(tx, id, &bill.lines).await?;
    store::take_items(tx, &items, id).await?;
    note(tx, &workspace, period, Some(id), &month, &bill).await?;
    tx.audit(By::System("billing").audit("invoice.issued", &invoice).after(invoice.audited()));
    settle::tell(tx, EventType::InvoiceCreated, &invoice).await?;
    if invoice.amount_due <= 0 {
        settle::set_paid(tx, &mut invoice).await?;
        return Ok(jobs::enqueue(tx, &notice::issued(&invoice)).await?);
    }
    jobs::enqueue(tx, &notice::issued(&invoice)).await?;
    if collector == Collector::Stripe {
        jobs::enqueue(tx, &Job::Collect { invoice_id: id.clone() }).await?;
    }
    Ok(())
}

/// A month that was closed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Closed {
    pub invoice_id: Option<InvoiceId>,
    pub quantities: Json<Quantities>,
    /// What it was charged by, late usage with it.
    pub amounts: Json<Amounts>,
    pub closed_at: DateTime<Utc>,
}

pub async fn closed(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<Option<Closed>> {
    Ok(fetch_optional!(
        tx,
        sqlx::query_as(
            "select invoice_id, quantities, amounts, closed_at from closed_periods \
             where workspace_id = $1 and period = $2"
        )
        .bind(workspace)
        .bind(period.to_string())
    )?)
}

/// What the month's own lines and discounts come to, by item.
pub fn amounts(bill: &Bill) -> Amounts {
    let mut amounts = Amounts::new();
    for line in &bill.lines {
        if matches!(line.kind, Kind::Fee | Kind::Usage | Kind::Discount) {
            *amounts.entry(line.item.clone()).or_default() += line.amount;
        }
    }
    amounts
}

/// Keeps what the month was charged by.
pub(super) async fn note(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: Period,
    invoice: Option<&InvoiceId>,
    month: &Month,
    bill: &Bill,
) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into closed_periods \
             (workspace_id, period, invoice_id, quantities, amounts, closed_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $6) \
             on conflict (workspace_id, period) do update set invoice_id = excluded.invoice_id, \
             quantities = excluded.quantities, amounts = excluded.amounts, \
             updated_at = excluded.updated_at"
        )
        .bind(workspace)
        .bind(period.to_string())
        .bind(invoice)
        .bind(Json(&month.quantities))
        .bind(Json(amounts(bill)))
        .bind(now)
    )?;
    Ok(())
}
