//! From a month's lines to what is to be paid: discounts off the month's own lines, then taxes on
//! what remains, each rounded once. Pure.

use chrono::{DateTime, Utc};

use super::money::{Currency, MICROS, half_up};
use super::price::{Kind, Line};

/// What a coupon takes off a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// Millionths of the whole.
    Share(i64),
    /// Minor units, at most what is there.
    Amount(i64),
}

/// A coupon that holds for the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discount {
    pub code: String,
    pub off: Off,
}

/// A tax on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tax {
    pub name: String,
    /// Millionths of what it is put on.
    pub rate_micros: i64,
}

/// What an invoice says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    pub lines: Vec<Line>,
    /// Of the lines that are neither discount nor tax.
    pub subtotal: i64,
    /// What discounts take off.
    pub discount: i64,
    pub tax: i64,
    pub total: i64,
}

impl Bill {
    /// The month is `span`. Discounts come one after the other off what the ones before have left of
    /// the month's own lines, never more than that; adjustments are not discounted.
    pub fn of(
        currency: &Currency,
        own: Vec<Line>,
        adjustments: Vec<Line>,
        discounts: &[Discount],
        taxes: &[Tax],
        span: (DateTime<Utc>, DateTime<Utc>),
    ) -> Self {
        let line = |kind, item: String, description, rate_micros, amount| Line {
            kind,
            item,
            description,
            starts_at: span.0,
            ends_at: span.1,
            quantity: None,
            unit_micros: None,
            share: None,
            rate_micros,
            amount,
        };
        let mut left = sum(&own);
        let mut lines = own;
        lines.extend(adjustments);
        let subtotal = sum(&lines);
        let mut discount = 0_i64;
        for Discount { code, off } in discounts {
            let (amount, rate, what) = match *off {
                Off::Share(rate) => (part(left, rate), Some(rate), percent(rate)),
                Off::Amount(amount) => (amount.min(left), None, currency.format(amount)),
            };
            if amount > 0 {
                let description = format!("Coupon {code}: {what} off");
                lines.push(line(
                    Kind::Discount,
                    format!("coupon:{code}"),
                    description,
                    rate,
                    -amount,
                ));
                left -= amount;
                discount += amount;
            }
        }
        let net = subtotal - discount;
        let mut tax = 0_i64;
        for Tax { name, rate_micros } in taxes {
            let amount = part(net.max(0), *rate_micros);
            let description = format!("{name} {}", percent(*rate_micros));
            lines.push(line(
                Kind::Tax,
                format!("tax:{name}"),
                description,
                Some(*rate_micros),
                amount,
            ));
            tax += amount;
        }
        Self { lines, subtotal, discount, tax, total: net + tax }
    }
}

fn sum(lines: &[Line]) -> i64 {
    lines.iter().map(|line| line.amount).sum()
}

/// So many millionths of an amount, rounded half up.
fn part(amount: i64, rate_micros: i64) -> i64 {
    half_up(i128::from(amount) * i128::from(rate_micros), i128::from(MICROS))
}

/// Millionths of a whole in per cent: `8.875 %`.
pub fn percent(rate_micros: i64) -> String {
    let (whole, part) = (rate_micros / 10_000, rate_micros % 10_000);
    let digits = format!("{part:04}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    format!("{whole}{point}{digits} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(amount: i64) -> Line {
        Line {
            kind: Kind::Fee,
            item: "fee".into(),
            description: String::new(),
            starts_at: DateTime::UNIX_EPOCH,
            ends_at: DateTime::UNIX_EPOCH,
            quantity: None,
            unit_micros: None,
            share: None,
            rate_micros: None,
            amount,
        }
    }

    fn bill(amount: i64, late: i64, discounts: &[Discount], taxes: &[Tax]) -> Bill {
        let late = Line { kind: Kind::Adjustment, ..own(late) };
        let span = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        Bill::of(&Currency::default(), vec![own(amount)], vec![late], discounts, taxes, span)
    }

    #[test]
    fn discounts_come_off_the_months_own_lines_and_taxes_on_what_remains() {
        let off = |code: &str, off| Discount { code: code.into(), off };
        let half = off("HALF", Off::Share(500_000));
        let ten = off("TEN", Off::Amount(1_000));
        let vat = Tax { name: "VAT".into(), rate_micros: 190_000 };
        for (discounts, discount) in [
            (vec![], 0),
            (vec![half.clone()], 1_250),
            (vec![half.clone(), ten.clone()], 2_250),
            (vec![ten.clone(), half.clone()], 1_750),
            (vec![half.clone(), ten.clone(), ten.clone()], 2_499),
        ] {
            let bill = bill(2_499, 101, &discounts, std::slice::from_ref(&vat));
            assert_eq!((bill.subtotal, bill.discount), (2_600, discount), "{discounts:?}");
            let net = 2_600 - discount;
            assert_eq!(bill.tax, (net * 19 + 50) / 100);
            assert_eq!(bill.total, net + bill.tax);
            assert_eq!(bill.total, sum(&bill.lines), "lines sum to the total");
        }
    }

    #[test]
    fn percentages_show_the_digits_they_need() {
        for (rate, text) in [(190_000, "19 %"), (88_750, "8.875 %"), (1, "0.0001 %"), (0, "0 %")] {
            assert_eq!(percent(rate), text);
        }
    }
}
