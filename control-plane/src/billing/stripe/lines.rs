//! What an invoice is at Stripe: one item for each of our lines, and negative ones for what is paid
//! from the balance and taken off by credit notes, so that Stripe's total is what is due.
//!
//! Taxes are items like all others, and not Stripe's tax rates: Stripe would round each by its own
//! rule, and then its total need not be ours.

use crate::billing::invoice::{Invoice, StoredLine};

/// An invoice at Stripe has room for 250 items.
const MOST: usize = 240;

/// Positions of what is no line of the invoice.
const BALANCE: i64 = 1_000_001;
const CREDITED: i64 = 1_000_002;
const FURTHER: i64 = 1_000_003;

/// An item that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// In its metadata, by which it is known.
    pub position: i64,
    pub description: String,
    /// In minor units.
    pub amount: i64,
    /// From and to, in seconds since 1970, where it is of a time.
    pub period: Option<(i64, i64)>,
}

/// The items of an invoice; `Err` when they don't add up to what is due.
pub fn of(invoice: &Invoice, lines: &[StoredLine]) -> Result<Vec<Wanted>, String> {
    let mut wanted: Vec<Wanted> = lines
        .iter()
        .map(|line| Wanted {
            position: line.position,
            description: line.description.clone(),
            amount: line.amount,
            period: Some((line.starts_at.timestamp(), line.ends_at.timestamp())),
        })
        .collect();
    if wanted.len() > MOST {
        let rest: i64 = wanted.drain(MOST..).map(|line| line.amount).sum();
        let description = format!("Further lines of invoice {}", invoice.name());
        wanted.push(Wanted { position: FURTHER, description, amount: rest, period: None });
    }
    for (position, amount, description) in [
        (BALANCE, invoice.balance_applied, "Paid from the balance"),
        (CREDITED, invoice.credited, "Credit notes"),
    ] {
        if amount != 0 {
            let description = description.to_owned();
            wanted.push(Wanted { position, description, amount: -amount, period: None });
        }
    }
    let sum: i64 = wanted.iter().map(|line| line.amount).sum();
    if sum == invoice.amount_due {
        return Ok(wanted);
    }
    let (sum, due) = (invoice.currency.format(sum), invoice.currency.format(invoice.amount_due));
    Err(format!("the lines come to {sum}, and {due} is due"))
}
