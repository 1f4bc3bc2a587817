//! What an invoice says. Pure: the invoice with its lines and credit notes, the operator's texts, and
//! the time, which only tells whether it is past due.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Document, Note, Paper, Row, Stamp, Sum, address};
use crate::billing::credit::CreditNote;
use crate::billing::invoice::whole::Whole;
use crate::billing::invoice::{Collector, Invoice, Status};
use crate::billing::money::{self, Currency};
use crate::billing::party::{Exemption, Parties};
use crate::billing::price::{Kind, Line};
use crate::config::Config;
use crate::period::Period;

/// What the operator puts on every document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Texts<'a> {
    pub payment_instructions: &'a str,
    pub footer: &'a str,
}

impl<'a> Texts<'a> {
    pub(super) fn footer(&self) -> Option<String> {
        Some(self.footer.trim().to_owned()).filter(|footer| !footer.is_empty())
    }

    pub fn of(config: &'a Config) -> Self {
        Self {
            payment_instructions: &config.billing.payment_instructions,
            footer: &config.documents.footer,
        }
    }
}

/// The invoice as it stands at `now`.
pub fn document(whole: &Whole, texts: Texts<'_>, now: DateTime<Utc>) -> Document {
    let Whole { invoice, lines, credit_notes } = whole;
    let Parties { issuer, customer, .. } = &invoice.parties.0;
    let (headline, remark) = headline(invoice);
    Document {
        title: "Invoice",
        number: invoice.number.clone().unwrap_or_else(|| format!("draft-{}", invoice.period)),
        stamp: stamp(invoice, now),
        issuer: address::contact(issuer),
        customer: address::contact(customer),
        facts: facts(invoice),
        headline,
        remark,
        rows: rows(invoice, lines),
        sums: sums(invoice, lines),
        notes: notes(invoice, credit_notes, texts),
        footer: texts.footer(),
        paper: paper(&invoice.parties.0),
        dated: invoice.finalized_at.unwrap_or(invoice.created_at),
    }
}

/// What the customer's printer holds; the issuer's where nothing is known of it.
pub(super) fn paper(parties: &Parties) -> Paper {
    let country = parties.customer.address.country.as_ref();
    let country = country.or(parties.issuer.address.country.as_ref());
    Paper::usual_in(country.map_or("", |country| country))
}

fn stamp(invoice: &Invoice, now: DateTime<Utc>) -> Option<Stamp> {
    match invoice.status {
        Status::Draft => Some(Stamp::Draft),
        Status::Paid => Some(Stamp::Paid),
        Status::Void => Some(Stamp::Void),
        Status::Pending | Status::Failed if invoice.is_past_due(now) => Some(Stamp::PastDue),
        Status::Failed => Some(Stamp::Failed),
        Status::Pending => None,
    }
}

/// As in "8 December 2026".
pub fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}

/// As in "December 2026"; a period that is none is told as it is.
pub fn month(period: &str) -> String {
    let start = Period::parse(period).map(Period::start);
    start.map_or_else(|| period.to_owned(), |start| start.format("%B %Y").to_string())
}

fn facts(invoice: &Invoice) -> Vec<(String, String)> {
    let mut facts = vec![];
    let mut fact = |label: &str, value: Option<String>| {
        facts.extend(value.map(|value| (label.to_owned(), value)));
    };
    fact("Invoice number", invoice.number.clone());
    fact("Date of issue", invoice.finalized_at.map(day));
    fact("Date due", invoice.due_at.map(day));
    fact("Date paid", invoice.paid_at.map(day));
    fact("Service period", Some(month(&invoice.period)));
    facts
}

/// What it comes to, and a sentence on it.
fn headline(invoice: &Invoice) -> (String, Option<String>) {
    let amount = invoice.currency.format(invoice.amount_due);
    let on = |at: Option<DateTime<Utc>>| at.map_or_else(String::new, |at| format!(" {}", day(at)));
    match invoice.status {
        Status::Draft => {
            let when = invoice.finalize_at.format("%-d %B %Y, %H:%M UTC");
            let remark = format!("This is a draft. It may change until it is issued ({when}).");
            (format!("{amount} to be invoiced"), Some(remark))
        }
        Status::Pending => (format!("{amount} due{}", on(invoice.due_at)), None),
        Status::Failed => {
            let why = invoice.failure.as_deref().unwrap_or("it was refused");
            let remark = format!("The last payment failed: {why}");
            (format!("{amount} due{}", on(invoice.due_at)), Some(remark))
        }
        Status::Paid if invoice.amount_due == 0 => ("Nothing to pay".into(), None),
        Status::Paid => (format!("{amount} paid{}", on(invoice.paid_at)), None),
        Status::Void => {
            let why = invoice.failure.as_deref().map(|why| format!(": {why}"));
            let remark =
                format!("Voided{}{}", on(invoice.voided_at), why.unwrap_or_else(|| ".".into()));
            ("Nothing is owed".into(), Some(remark))
        }
    }
}

fn rows(invoice: &Invoice, lines: &[Line]) -> Vec<Row> {
    let own = lines.iter().filter(|line| !matches!(line.kind, Kind::Discount | Kind::Tax));
    own.map(|line| Row {
        description: line.description.clone(),
        detail: detail(line),
        quantity: line.quantity.map(money::quantity),
        unit_price: line.unit_micros.map(|micros| invoice.currency.format_micros(micros)),
        amount: invoice.currency.format(line.amount),
    })
    .collect()
}

/// When the terms held, and what share of the whole that is: quantity by price by this share is the
/// amount.
fn detail(line: &Line) -> Option<String> {
    let days = match line.kind {
        Kind::Fee => Some(days(line.starts_at, line.ends_at)),
        Kind::Usage => line.share.map(|_| days(line.starts_at, line.ends_at)),
        Kind::Adjustment | Kind::Discount | Kind::Tax => None,
    };
    match (days, line.share) {
        (Some(days), Some(held)) => Some(format!("{days} · {}", share(held))),
        (days, _) => days,
    }
}

/// The first day to the last one, of which the end is just past.
fn days(from: DateTime<Utc>, end: DateTime<Utc>) -> String {
    let midnight = |at: DateTime<Utc>| at.timestamp().rem_euclid(86_400) == 0;
    if !midnight(from) || !midnight(end) {
        return format!(
            "{} – {} UTC",
            from.format("%-d %b %Y %H:%M:%S"),
            end.format("%-d %b %Y %H:%M:%S")
        );
    }
    let last = end - TimeDelta::days(1);
    let same = |format: &str| from.format(format).to_string() == last.format(format).to_string();
    let from = match () {
        () if same("%-d %B %Y") => return day(last),
        () if same("%B %Y") => from.format("%-d"),
        () if same("%Y") => from.format("%-d %B"),
        () => from.format("%-d %B %Y"),
    };
    format!("{from} – {}", day(last))
}

/// Whole days of whole days where it is that, else seconds of seconds: exact in any case.
fn share((held, whole): (i64, i64)) -> String {
    const DAY: i64 = 86_400;
    if held % DAY == 0 && whole % DAY == 0 {
        format!("{} of {} days", held / DAY, whole / DAY)
    } else {
        let units = |seconds: i64| money::quantity(seconds * money::MICROS);
        format!("{} of {} seconds", units(held), units(whole))
    }
}

fn sums(invoice: &Invoice, lines: &[Line]) -> Vec<Sum> {
    let currency = &invoice.currency;
    let mut sums = vec![sum(currency, "Subtotal", invoice.subtotal)];
    let of = |kind: Kind| lines.iter().filter(move |line| line.kind == kind);
    sums.extend(of(Kind::Discount).map(|line| sum(currency, &line.description, line.amount)));
    if of(Kind::Tax).next().is_some() {
        if invoice.discount != 0 {
            let net = invoice.subtotal - invoice.discount;
            sums.push(sum(currency, "Total excluding tax", net));
        }
        sums.extend(of(Kind::Tax).map(|line| sum(currency, &line.description, line.amount)));
    }
    sums.push(sum(currency, "Total", invoice.total));
    if invoice.balance_applied != 0 {
        sums.push(sum(currency, "Paid from your balance", -invoice.balance_applied));
    }
    if invoice.credited != 0 {
        sums.push(sum(currency, "Credited", -invoice.credited));
    }
    let due = match invoice.status {
        Status::Paid if invoice.amount_due != 0 => {
            sums.push(sum(currency, "Amount paid", -invoice.amount_due));
            0
        }
        Status::Void => 0,
        _ => invoice.amount_due,
    };
    sums.push(Sum { strong: true, ..sum(currency, "Amount due", due) });
    sums
}

pub(super) fn sum(currency: &Currency, label: &str, amount: i64) -> Sum {
    Sum { label: label.to_owned(), amount: currency.format(amount), strong: false }
}

fn notes(invoice: &Invoice, credit_notes: &[CreditNote], texts: Texts<'_>) -> Vec<Note> {
    let mut notes = vec![];
    let mut note = |title: &str, text: String| {
        notes.push(Note { title: title.to_owned(), text });
    };
    match invoice.parties.tax_exempt {
        Exemption::None => {}
        Exemption::Exempt => note("Tax", "The customer is exempt: no tax is charged.".into()),
        Exemption::Reverse => {
            note("Tax", "Reverse charge: the customer accounts for the tax.".into());
        }
    }
    if !credit_notes.is_empty() {
        let lines = credit_notes.iter().map(|credit| {
            let amount = credit.currency.format(credit.amount);
            let then = if credit.to_balance > 0 {
                format!(", {} of it to your balance", credit.currency.format(credit.to_balance))
            } else {
                String::new()
            };
            let CreditNote { number, reason, .. } = credit;
            format!("{number}, {}: {amount}{then} ({reason})", day(credit.created_at))
        });
        note("Credit notes", lines.collect::<Vec<_>>().join("\n"));
    }
    let by_hand = invoice.collector == Collector::Manual && invoice.amount_due > 0;
    if by_hand && invoice.status.is_open() && !texts.payment_instructions.trim().is_empty() {
        note("How to pay", texts.payment_instructions.trim().to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_told_in_whole_days_where_they_are() {
        for (from, end, text) in [
            ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "1 – 30 November 2026"),
            ("2026-11-16T00:00:00Z", "2026-12-01T00:00:00Z", "16 – 30 November 2026"),
            ("2026-11-16T00:00:00Z", "2026-11-17T00:00:00Z", "16 November 2026"),
            ("2026-11-16T00:00:00Z", "2026-12-02T00:00:00Z", "16 November – 1 December 2026"),
            ("2026-12-31T00:00:00Z", "2027-01-02T00:00:00Z", "31 December 2026 – 1 January 2027"),
            (
                "2026-11-23T17:11:15Z",
                "2026-12-01T00:00:00Z",
                "23 Nov 2026 17:11:15 – 1 Dec 2026 00:00:00 UTC",
            ),
        ] {
            assert_eq!(days(at(from), at(end)), text);
        }
        assert_eq!(month("2026-11"), "November 2026");
        assert_eq!(month("nonsense"), "nonsense");
    }

    #[test]
    fn shares_are_told_exactly() {
        assert_eq!(share((1_296_000, 2_592_000)), "15 of 30 days");
        assert_eq!(share((628_125, 2_592_000)), "628,125 of 2,592,000 seconds");
        assert_eq!(share((0, 2_592_000)), "0 of 30 days");
    }
}
