//! Invoices as the platform's admins see and settle them: of every workspace, those that are gone
//! among them.

use authsome_shared::id::InvoiceId;

use super::settle::{self, By};
use super::{Filter, Invoice, NOT_FOUND, store};
use crate::actor::PlatformAccess;
use crate::billing::credit::{self, CreditNote};
use crate::config::Billing;
use crate::db::Tx;
use crate::error::{Checks, Result};
use crate::page::{Page, PageParams};

/// The newest month first.
pub async fn search(
    tx: &mut Tx,
    _: &PlatformAccess,
    filter: &Filter,
    page: PageParams,
) -> Result<Page<Invoice>> {
    store::list(tx, filter, page).await
}

pub async fn get(tx: &mut Tx, _: &PlatformAccess, id: &InvoiceId) -> Result<Invoice> {
    store::by_id(tx, id).await?.ok_or(NOT_FOUND)
}

/// The money has come; `reference` tells how, such as a bank's.
pub async fn pay(
    tx: &mut Tx,
    by: By<'_>,
    id: &InvoiceId,
    reference: Option<&str>,
) -> Result<Invoice> {
    let reference = reference.map(str::trim).filter(|text| !text.is_empty());
    if let Some(reference) = reference {
        let mut checks = Checks::default();
        checks.name("reference", reference);
        checks.finish()?;
    }
    settle::paid(tx, by, id, reference).await
}

/// It was a mistake.
pub async fn void(tx: &mut Tx, by: By<'_>, id: &InvoiceId, reason: &str) -> Result<Invoice> {
    let reason = reason.trim();
    let mut checks = Checks::default();
    let fine = (1..=500).contains(&reason.chars().count()) && !reason.chars().any(char::is_control);
    checks.check(fine, "reason", "`reason` must have 1 to 500 printable characters");
    checks.finish()?;
    settle::void(tx, by, id, reason).await
}

/// Credits so much, or all that is left of the invoice.
pub async fn credit(
    tx: &mut Tx,
    settings: &Billing,
    access: &PlatformAccess,
    id: &InvoiceId,
    amount: Option<i64>,
    reason: &str,
) -> Result<CreditNote> {
    let amount = match amount {
        Some(amount) => amount,
        None => {
            // Held before it is looked at, so that nobody else credits it in between.
            let invoice = store::hold(tx, id).await?.ok_or(NOT_FOUND)?;
            invoice.total - credit::credited(tx, id).await?
        }
    };
    credit::issue(tx, settings, By::Operator(access), id, amount, reason).await
}
