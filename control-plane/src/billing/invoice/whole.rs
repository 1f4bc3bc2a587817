//! An invoice with all that stands on it.

use super::{Invoice, store};
use crate::billing::credit::{self, CreditNote};
use crate::billing::price::Line;
use crate::db::Tx;
use crate::error::Result;

#[derive(Debug, Clone)]
pub struct Whole {
    pub invoice: Invoice,
    pub lines: Vec<Line>,
    /// Of it, oldest first.
    pub credit_notes: Vec<CreditNote>,
}

/// Reads what stands on an invoice that the caller may see.
pub async fn of(tx: &mut Tx, invoice: Invoice) -> Result<Whole> {
    let lines = store::lines(tx, &invoice.id).await?.into_iter().map(Line::from).collect();
    let credit_notes = credit::of_invoice(tx, &invoice.id).await?;
    Ok(Whole { invoice, lines, credit_notes })
}
