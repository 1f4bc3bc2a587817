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
    /// It takes off what is charged for these times, from and to; `None`: for the whole month.
    pub during: Option<Vec<(DateTime<Utc>, DateTime<Utc>)>>,
}

impl Discount {
    fn concerns(&self, line: &Line) -> bool {
        self.during.as_ref().is_none_or(|times| {
            times.iter().any(|(from, to)| line.starts_at < *to && line.ends_at > *from)
        })
    }
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
        // Of each line, what no discount has taken yet.
        let mut left: Vec<i64> = own.iter().map(|line| line.amount).collect();
        let mut lines = own;
        let own = lines.len();
        lines.extend(adjustments);
        let subtotal = sum(&lines);
        let mut discount = 0_i64;
        for coupon in discounts {
            let concerned: Vec<usize> = (0..own).filter(|i| coupon.concerns(&lines[*i])).collect();
            let base: i64 = concerned.iter().map(|i| left[*i]).sum();
            let (amount, rate, what) = match coupon.off {
                Off::Share(rate) => (part(base, rate), Some(rate), percent(rate)),
                Off::Amount(amount) => (amount.min(base), None, currency.format(amount)),
            };
            if amount > 0 {
                take(&mut left, &concerned, base, amount);
                let code = &coupon.code;
                let description = format!("Coupon {code}: {what} off");
                lines.push(line(
                    Kind::Discount,
                    format!("coupon:{code}"),
                    description,
                    rate,
                    -amount,
                ));
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

/// Takes an amount off the lines that it concerns, which come to `base`, from each by its part.
fn take(left: &mut [i64], concerned: &[usize], base: i64, amount: i64) {
    let (mut seen, mut taken) = (0, 0);
    for i in concerned {
        seen += left[*i];
        let upto = half_up(i128::from(amount) * i128::from(seen), i128::from(base));
        left[*i] -= upto - taken;
        taken = upto;
    }
}

fn sum(lines: &[Line]) -> i64 {
    lines.iter().map(|line| line.amount).sum()
}

/// So many millionths of an amount, rounded half up.
fn part(amount: i64, rate_micros: i64) -> i64 {
    half_up(i128::from(amount) * i128::from(rate_micros), i128::from(MICROS))
}

/// The millionths of a whole of a decimal in per cent, such as `8.875`: 0 to 100, with at most 4
/// decimals.
pub fn parse_percent(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let fine = (1..=3).contains(&whole.len()) && part.len() <= 4 && all(whole) && all(part);
    let rate: i64 = fine.then(|| format!("{whole}{part:0<4}").parse().ok())??;
    (rate <= MICROS).then_some(rate)
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
        let off = |code: &str, off| Discount { code: code.into(), off, during: None };
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
    fn a_coupon_for_a_part_of_the_month_takes_off_what_that_part_costs() {
        let at = |day: i64| DateTime::UNIX_EPOCH + chrono::TimeDelta::days(day);
        let line = |from, to, amount| Line { starts_at: at(from), ends_at: at(to), ..own(amount) };
        let lines = vec![line(0, 10, 3_000), line(10, 30, 7_000), line(10, 30, 1)];
        let off = |off, during: Option<(i64, i64)>| Discount {
            code: "SOME".into(),
            off,
            during: during.map(|(from, to)| vec![(at(from), at(to))]),
        };
        let half = Off::Share(500_000);
        for (discounts, expected) in [
            (vec![off(half, Some((0, 10)))], 1_500),
            (vec![off(half, Some((10, 30)))], 3_501),
            (vec![off(half, Some((40, 50)))], 0),
            // Nothing is taken off twice.
            (vec![off(Off::Share(1_000_000), Some((0, 10))), off(half, Some((0, 10)))], 3_000),
            (vec![off(Off::Amount(5_000), Some((0, 10))), off(half, None)], 3_000 + 3_501),
            (vec![off(half, None), off(half, Some((0, 10)))], 5_001 + 750),
        ] {
            let span = (at(0), at(30));
            let bill = Bill::of(&Currency::default(), lines.clone(), vec![], &discounts, &[], span);
            assert_eq!(bill.discount, expected, "{discounts:?}");
            assert_eq!(bill.total, sum(&bill.lines));
        }
    }

    #[test]
    fn percentages_show_the_digits_they_need() {
        for (rate, text) in [(190_000, "19 %"), (88_750, "8.875 %"), (1, "0.0001 %"), (0, "0 %")] {
            assert_eq!(percent(rate), text);
        }
    }
}
