//! Usage that was counted after its month was invoiced: the month is priced anew, and what differs
//! from what it was charged by goes onto the next invoice, or, where it costs less now, becomes a
//! credit note. Metering notes such months in the transaction that counts; here they are taken up,
//! each once.

use authsome_shared::id::{PendingItemId, WorkspaceId};

use super::bill::Bill;
use super::closing::{self, Closed};
use super::credit;
use super::invoice::settle::By;
use super::invoice::store::{self, PendingItem};
use super::invoice::{Invoice, Status};
use super::money::half_up;
use super::month::{self, Month};
use crate::config::Billing;
use crate::db::Tx;
use crate::error::Result;
use crate::period::Period;
use crate::workspaces::subscription;
use crate::{execute, fetch_all};

/// Months with late usage that are invoiced, or were closed without an invoice.
pub async fn due(tx: &mut Tx, limit: i64) -> Result<Vec<(WorkspaceId, String)>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select late_usage.workspace_id, late_usage.period from late_usage \
             join closed_periods on closed_periods.workspace_id = late_usage.workspace_id \
             and closed_periods.period = late_usage.period \
             where not exists (select 1 from invoices \
             where invoices.id = closed_periods.invoice_id and invoices.status = 'draft') \
             order by late_usage.noted_at, late_usage.workspace_id limit $1"
        )
        .bind(limit)
    )?)
}

/// Whoever counts the month from here on counts what was noted until now. What is noted by a
/// transaction that is still under way is waited for.
pub(super) async fn forget(tx: &mut Tx, workspace: &WorkspaceId, period: Period) -> Result<()> {
    execute!(
        tx,
        sqlx::query("delete from late_usage where workspace_id = $1 and period = $2")
            .bind(workspace)
            .bind(period.to_string())
    )?;
    Ok(())
}

/// Charges what differs.
pub async fn settle(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<()> {
    subscription::hold(tx, workspace).await?;
    let Some(closed) = closing::closed(tx, workspace, period).await? else { return Ok(()) };
    let invoice = match &closed.invoice_id {
        Some(id) => store::by_id(tx, id).await?,
        None => None,
    };
    if invoice.as_ref().is_some_and(|invoice| invoice.status == Status::Draft) {
        return Ok(());
    }
    forget(tx, workspace, period).await?;
    let month = month::of(tx, settings, workspace, period).await?;
    let bill = month.bill(settings, vec![]);
    let is_void = invoice.as_ref().is_some_and(|invoice| invoice.status == Status::Void);
    if !is_void {
        charge(tx, settings, workspace, &month, &closed, invoice.as_ref(), &bill).await?;
    }
    closing::note(tx, workspace, period, closed.invoice_id.as_ref(), &month, &bill).await
}

async fn charge(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &WorkspaceId,
    month: &Month,
    closed: &Closed,
    invoice: Option<&Invoice>,
    bill: &Bill,
) -> Result<()> {
    let period = month.period;
    let mut differences = closing::amounts(bill);
    for (item, amount) in &closed.amounts.0 {
        *differences.entry(item.clone()).or_default() -= amount;
    }
    differences.retain(|_, amount| *amount != 0);
    let net: i64 = differences.values().sum();
    let mut note = None;
    if let (Some(invoice), true) = (invoice, net < 0) {
        // The tax that was put on it goes with it.
        let net = -net;
        let base = invoice.subtotal - invoice.discount;
        let tax = if base > 0 {
            half_up(i128::from(invoice.tax) * i128::from(net), i128::from(base))
        } else {
            0
        };
        let left = invoice.total - credit::credited(tx, &invoice.id).await?;
        let amount = (net + tax).min(left);
        if amount > 0 {
            let reason = format!("Usage of {period} that was corrected");
            let by = By::System("billing");
            note = Some(credit::issue(tx, settings, by, &invoice.id, amount, &reason).await?.id);
        }
    }
    let now = tx.now();
    for (item, amount) in differences {
        let what = match item.strip_prefix("coupon:") {
            Some(code) => format!("coupon {code}"),
            None => month.label(&item),
        };
        let description = format!("Late usage of {period}: {what}");
        let pending = PendingItem {
            id: PendingItemId::new(),
            workspace_id: workspace.clone(),
            period: Some(period.to_string()),
            item,
            description,
            amount,
            credit_note_id: note.clone(),
            created_at: now,
        };
        store::add_item(tx, &pending).await?;
    }
    Ok(())
}
