//! Money: whole minor units of a currency, rounded half up, and only where a line is made. A float
//! exists nowhere but at the very edge, for the wire.

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Millionths: what quantities and unit prices are counted in.
pub const MICROS: i64 = 1_000_000;

/// Currencies (ISO 4217) without a minor unit, and with thousandths; all others have hundredths.
const WHOLE: [&str; 16] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
    "XAF", "XOF", "XPF",
];
const THOUSANDTHS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// A currency, by its three capital letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(String);

impl Currency {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of the minor unit: 0, 2 or 3.
    pub fn decimals(&self) -> u32 {
        match self.as_str() {
            code if WHOLE.contains(&code) => 0,
            code if THOUSANDTHS.contains(&code) => 3,
            _ => 2,
        }
    }

    /// Minor units in a major one.
    pub fn minor_units(&self) -> i64 {
        10_i64.pow(self.decimals())
    }

    /// In major units, for the wire only: every sum is made in integers before.
    pub fn major(&self, minor: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact to ninety trillion")]
        let (minor, units) = (minor as f64, self.minor_units() as f64);
        minor / units
    }

    /// The minor units of a decimal such as `12.5`; `None` when it is none, or has digits that the
    /// currency does not.
    pub fn parse_minor(&self, text: &str) -> Option<i64> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let decimals = self.decimals() as usize;
        let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all(whole) || !all(part) || part.len() > decimals {
            return None;
        }
        let minor: i64 = format!("{whole}{part:0<decimals$}").parse().ok()?;
        Some(if negative { -minor } else { minor })
    }

    /// As people write it: `$1,234.50`, `-€2.00`, `JPY 1,234`.
    pub fn format(&self, minor: i64) -> String {
        let sign = if minor < 0 { "-" } else { "" };
        let units = self.minor_units().unsigned_abs();
        let (whole, part) = (minor.unsigned_abs() / units, minor.unsigned_abs() % units);
        let mut text = format!("{sign}{}{}", self.symbol(), grouped(whole));
        if self.decimals() > 0 {
            let width = self.decimals() as usize;
            write!(text, ".{part:0width$}").expect("a text can be written to");
        }
        text
    }

    /// A unit price, in millionths of the major unit, with all the digits it needs and no fewer than
    /// the currency has: `$0.015`, `$25.00`.
    pub fn format_micros(&self, micros: i64) -> String {
        let sign = if micros < 0 { "-" } else { "" };
        let scale = MICROS.unsigned_abs();
        let (whole, part) = (micros.unsigned_abs() / scale, micros.unsigned_abs() % scale);
        let mut digits = format!("{part:06}");
        while digits.len() > self.decimals() as usize && digits.ends_with('0') {
            digits.pop();
        }
        let point = if digits.is_empty() { "" } else { "." };
        format!("{sign}{}{}{point}{digits}", self.symbol(), grouped(whole))
    }

    fn symbol(&self) -> String {
        match self.as_str() {
            "USD" => "$".into(),
            "EUR" => "€".into(),
            "GBP" => "£".into(),
            "JPY" => "¥".into(),
            code => format!("{code} "),
        }
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self("USD".into())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
            Ok(Self(text.to_ascii_uppercase()))
        } else {
            Err(format!("{text:?} is no currency: three letters are needed, such as USD"))
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0
    }
}

/// A quantity in millionths, with the digits it needs: `150,000`, `12.5`.
pub fn quantity(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let scale = MICROS.unsigned_abs();
    let (whole, part) = (micros.unsigned_abs() / scale, micros.unsigned_abs() % scale);
    let digits = format!("{part:06}");
    let digits = digits.trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{digits}", grouped(whole))
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `numerator / denominator`, a half rounded up (away from nothing below it: -0.5 becomes 0).
pub fn half_up(numerator: i128, denominator: i128) -> i64 {
    let doubled = 2 * numerator + denominator;
    i64::try_from(doubled.div_euclid(2 * denominator)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn currencies_have_their_decimals() {
        for (code, decimals, text) in [
            ("usd", 2, "$12,345.67"),
            ("EUR", 2, "€12,345.67"),
            ("JPY", 0, "¥1,234,567"),
            ("KWD", 3, "KWD 1,234.567"),
            ("CHF", 2, "CHF 12,345.67"),
        ] {
            let currency = currency(code);
            assert_eq!(
                (currency.decimals(), currency.format(1_234_567).as_str()),
                (decimals, text)
            );
        }
        assert_eq!(currency("USD").format(-5), "-$0.05");
        for bad in ["", "US", "USDD", "U$D", "12 "] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn unit_prices_and_quantities_show_the_digits_they_need() {
        let dollars = currency("USD");
        for (micros, text) in [(20_000, "$0.02"), (15_000, "$0.015"), (1, "$0.000001")] {
            assert_eq!(dollars.format_micros(micros), text);
        }
        assert_eq!(dollars.format_micros(25 * MICROS), "$25.00");
        assert_eq!(currency("JPY").format_micros(3 * MICROS), "¥3");
        assert_eq!(currency("JPY").format_micros(1_500_000), "¥1.5");
        for (micros, text) in [(150_000 * MICROS, "150,000"), (12_500_000, "12.5"), (1, "0.000001")]
        {
            assert_eq!(quantity(micros), text);
        }
    }

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (code, text, minor) in [
            ("USD", "12.5", Some(1250)),
            ("USD", "-0.07", Some(-7)),
            ("USD", "3", Some(300)),
            ("USD", "0.001", None),
            ("JPY", "3", Some(3)),
            ("JPY", "3.0", None),
            ("KWD", "1.234", Some(1234)),
            ("USD", "", None),
            ("USD", ".5", None),
            ("USD", "1e3", None),
        ] {
            assert_eq!(currency(code).parse_minor(text), minor, "{code} {text}");
        }
    }

    #[test]
    fn halves_round_up() {
        for (n, d, rounded) in
            [(0, 2, 0), (1, 2, 1), (1, 3, 0), (2, 3, 1), (3, 2, 2), (-1, 2, 0), (-2, 3, -1)]
        {
            assert_eq!(half_up(n, d), rounded, "{n}/{d}");
        }
    }
}
