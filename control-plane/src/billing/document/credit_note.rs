//! What a credit note says. Pure.

use super::invoice::{Texts, day, month, paper, sum};
use super::{Document, Row, Sum, address};
use crate::billing::credit::CreditNote;
use crate::billing::invoice::Invoice;

/// A credit note of the invoice.
pub fn document(credit: &CreditNote, invoice: &Invoice, texts: Texts<'_>) -> Document {
    let currency = &credit.currency;
    let amount = currency.format(credit.amount);
    let of_invoice = invoice.name();
    let off = credit.amount - credit.to_balance;
    let remark = match (off, credit.to_balance) {
        (_, 0) => format!("It was taken off what is due of invoice {of_invoice}."),
        (0, _) => "It is on your balance, and pays what is invoiced next.".to_owned(),
        (off, balance) => format!(
            "{} was taken off what is due of invoice {of_invoice}; {} is on your balance, and pays \
             what is invoiced next.",
            currency.format(off),
            currency.format(balance)
        ),
    };
    let fact = |label: &str, value: String| (label.to_owned(), value);
    Document {
        title: "Credit note",
        number: credit.number.clone(),
        stamp: None,
        issuer: address::contact(&invoice.parties.issuer),
        customer: address::contact(&invoice.parties.customer),
        facts: vec![
            fact("Credit note number", credit.number.clone()),
            fact("Date of issue", day(credit.created_at)),
            fact("Invoice number", of_invoice.clone()),
            fact("Service period", month(&invoice.period)),
        ],
        headline: format!("{amount} credited {}", day(credit.created_at)),
        remark: Some(remark),
        rows: vec![Row {
            description: credit.reason.clone(),
            detail: Some(format!("Of invoice {of_invoice}")),
            amount: amount.clone(),
            ..Row::default()
        }],
        sums: sums(credit, invoice),
        notes: vec![],
        footer: texts.footer(),
        paper: paper(&invoice.parties),
        dated: credit.created_at,
    }
}

/// The tax in it is what the invoice's tax is of the invoice's total.
fn sums(credit: &CreditNote, invoice: &Invoice) -> Vec<Sum> {
    let currency = &credit.currency;
    let mut sums = vec![];
    if invoice.tax != 0 && invoice.total != 0 {
        let (part, whole) = (i128::from(invoice.tax), i128::from(invoice.total));
        let tax = crate::billing::money::half_up(i128::from(credit.amount) * part, whole);
        sums.push(sum(currency, "Excluding tax", credit.amount - tax));
        sums.push(sum(currency, "Tax in it", tax));
    }
    sums.push(Sum { strong: true, ..sum(currency, "Total credited", credit.amount) });
    sums
}
