//! What a month costs, as lines: a pure function of what held when and of what was counted.
//!
//! The price of an item (the fee, active users, …) is the sum over the spans of the month of the
//! span's share of it times what its terms ask for the *whole* month's quantity: a plan that held
//! for a third of the month gives a third of its price, graduated tiers and all, and one that is
//! split in two costs what it costs whole. Lines of one item are rounded on their running sum, half
//! up: they add to the item's exact price rounded once, however often the terms changed.
//!
//! All arithmetic is in integers. With the bounds that `plan` holds terms to, nothing overflows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::money::{Currency, MICROS, half_up};
use crate::workspaces::Limits;
use crate::workspaces::plan::Allowance;

/// By item, in millionths of a unit.
pub type Quantities = BTreeMap<String, i64>;

/// The item that a plan's flat fee is charged by.
pub const FEE: &str = "fee";

/// A part of the month with the terms that held in it.
#[derive(Debug, Clone)]
pub struct Span {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// What it is called on the invoice.
    pub label: String,
    pub terms: Limits,
    /// A trial: shown, and free of charge.
    pub free: bool,
}

impl Span {
    /// Whole seconds; boundaries are cut to seconds, so that spans that meet still do.
    fn seconds(&self) -> i64 {
        self.to.timestamp() - self.from.timestamp()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = InvoiceLineKind)]
pub enum Kind {
    Fee,
    Usage,
    /// Of an earlier month, or of the operator's.
    Adjustment,
    Discount,
    Tax,
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub kind: Kind,
    pub item: String,
    pub description: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    /// In millionths of a unit.
    pub quantity: Option<i64>,
    /// For each, in millionths of the currency's major unit.
    pub unit_micros: Option<i64>,
    /// Seconds that the terms held, of the seconds of the whole; only where they are not all.
    pub share: Option<(i64, i64)>,
    /// Of a discount or a tax, in millionths of the whole.
    pub rate_micros: Option<i64>,
    /// In minor units.
    pub amount: i64,
}

/// The lines of a month's own fee and usage. Spans are in order and don't overlap; the month is
/// `from` to `to`.
pub fn lines(
    currency: &Currency,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    spans: &[Span],
    quantities: &Quantities,
) -> Vec<Line> {
    let month = to.timestamp() - from.timestamp();
    let held: i64 = spans.iter().map(Span::seconds).sum();
    let mut lines = Vec::new();
    let mut fee = Sum::new(currency, month);
    for span in spans.iter().filter(|span| span.seconds() > 0) {
        let minor = if span.free { 0 } else { span.terms.fee_minor };
        let amount = fee.add_minor(minor, span.seconds());
        if span.terms.fee_minor > 0 {
            let trial = if span.free { " (trial)" } else { "" };
            let mut line = Line::new(Kind::Fee, FEE, format!("{}{trial}", span.label), span);
            line.share = share(span.seconds(), month);
            line.amount = amount;
            lines.push(line);
        }
    }
    for (item, quantity) in quantities.iter().filter(|(_, quantity)| **quantity > 0) {
        let mut sum = Sum::new(currency, held);
        for span in spans.iter().filter(|span| span.seconds() > 0 && !span.free) {
            let items = span.terms.items();
            let Some((_, allowance)) = items.iter().find(|(name, _)| name == item) else {
                continue;
            };
            usage(&mut lines, &mut sum, span, item, allowance, *quantity, held);
        }
    }
    lines
}

fn usage(
    lines: &mut Vec<Line>,
    sum: &mut Sum,
    span: &Span,
    item: &str,
    allowance: &Allowance,
    quantity: i64,
    held: i64,
) {
    // What costs nothing whatever the quantity is not on the invoice.
    if allowance.tiers.is_empty() {
        return;
    }
    let mut line = |what: &str, units: i64, unit_micros: i64, amount: i64| {
        let mut line = Line::new(Kind::Usage, item, format!("{}{what}", label(item)), span);
        line.quantity = Some(units);
        line.unit_micros = Some(unit_micros);
        line.share = share(span.seconds(), held);
        line.amount = amount;
        lines.push(line);
    };
    let mut from = micros(allowance.included);
    if from > 0 {
        line(", included", quantity.min(from), 0, 0);
    }
    for tier in &allowance.tiers {
        let to = tier.up_to.map_or(i64::MAX, micros).min(quantity);
        if to <= from {
            break;
        }
        let amount = sum.add_units(to - from, tier.unit_micros, span.seconds());
        line("", to - from, tier.unit_micros, amount);
        if tier.flat_minor > 0 {
            let amount = sum.add_minor(tier.flat_minor, span.seconds());
            line(", flat", MICROS, tier.flat_minor * (MICROS / sum.minor_units), amount);
        }
        from = to;
    }
}

fn micros(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX).saturating_mul(MICROS)
}

fn share(seconds: i64, of: i64) -> Option<(i64, i64)> {
    (seconds != of).then_some((seconds, of))
}

/// What an item is called on an invoice.
pub fn label(item: &str) -> String {
    match item {
        "mau" => "Monthly active users".into(),
        "storage" => "Storage, GB-months".into(),
        "requests" => "Requests".into(),
        "bandwidth" => "Bandwidth, GB".into(),
        _ => match item.strip_prefix("meter:") {
            Some(name) => {
                let mut name = name.replace('_', " ");
                name[..1].make_ascii_uppercase();
                name
            }
            None => item.to_owned(),
        },
    }
}

impl Line {
    fn new(kind: Kind, item: &str, description: String, span: &Span) -> Self {
        Self {
            kind,
            item: item.to_owned(),
            description,
            starts_at: span.from,
            ends_at: span.to,
            quantity: None,
            unit_micros: None,
            share: None,
            rate_micros: None,
            amount: 0,
        }
    }
}

/// An item's exact price so far, and what of it stands on lines.
struct Sum {
    /// In 10⁻¹² of the major unit times `whole` seconds.
    exact: i128,
    charged: i64,
    minor_units: i64,
    whole: i64,
}

impl Sum {
    fn new(currency: &Currency, whole: i64) -> Self {
        Self { exact: 0, charged: 0, minor_units: currency.minor_units(), whole }
    }

    /// Of a quantity and a unit price, both in millionths.
    fn add_units(&mut self, quantity: i64, unit_micros: i64, seconds: i64) -> i64 {
        self.add(i128::from(quantity) * i128::from(unit_micros) * i128::from(seconds))
    }

    fn add_minor(&mut self, minor: i64, seconds: i64) -> i64 {
        let pico = i128::from(MICROS) * i128::from(MICROS) / i128::from(self.minor_units);
        self.add(i128::from(minor) * pico * i128::from(seconds))
    }

    /// What the line of it is charged.
    fn add(&mut self, exact: i128) -> i64 {
        self.exact += exact;
        let pico = i128::from(MICROS) * i128::from(MICROS);
        let rounded =
            half_up(self.exact * i128::from(self.minor_units), pico * i128::from(self.whole));
        let amount = rounded - self.charged;
        self.charged = rounded;
        amount
    }
}

#[cfg(test)]
mod tests;
