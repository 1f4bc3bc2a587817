//! Numbers as senders write them, read exactly: `0.1` is one tenth, whether it comes as a number or
//! as a text. Kept in millionths of a unit; what has a finer part, or is too much, is refused.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The most that one event may count: 10^12 units, in millionths.
pub const MOST: i64 = 1_000_000_000_000_000_000;

/// What a number must be.
pub const RULE: &str = "must be a number from 0 to 1000000000000 with at most 6 decimals";

/// A number as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(pub String);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        match text.strip_prefix('"') {
            // A text with anything escaped in it is no number, and refused when it is read.
            Some(rest) => Ok(Self(rest.trim_end_matches('"').to_owned())),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// Millionths of a unit; `None` when the text is no such number.
pub fn parse(text: &str) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if text.len() > 64 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    // The number is `digits` times ten to the `scale`, in millionths.
    let scale = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(6)?;
    let digits = digits.parse::<i128>().ok()?;
    let ten = |power: i32| 10_i128.checked_pow(power.unsigned_abs());
    let micros = if scale >= 0 {
        digits.checked_mul(ten(scale)?)?
    } else {
        let divisor = ten(scale)?;
        (digits % divisor == 0).then_some(digits / divisor)?
    };
    i64::try_from(micros).ok().filter(|micros| *micros <= MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        for (text, micros) in [
            ("0", 0),
            ("0.0", 0),
            ("1", 1_000_000),
            ("0.1", 100_000),
            ("0.000001", 1),
            ("1.5000000000", 1_500_000),
            ("007", 7_000_000),
            ("1e3", 1_000_000_000),
            ("1.25E+1", 12_500_000),
            ("10e-7", 1),
            ("0e99", 0),
            ("9007199254.740993", 9_007_199_254_740_993),
            ("999999999999.999999", 999_999_999_999_999_999),
            ("1000000000000", MOST),
        ] {
            assert_eq!(parse(text), Some(micros), "{text}");
        }
        for text in [
            "",
            "-1",
            "-0.5",
            "+1",
            "1.",
            ".5",
            "1.2.3",
            "0.0000001",
            "1e-7",
            "1000000000000.000001",
            "1e13",
            "1e99",
            "1e999999999999",
            "NaN",
            "Infinity",
            "null",
            "true",
            "{}",
            "[1]",
            "1,5",
            " 1",
            "1 ",
            "0x1",
            "١",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&"0".repeat(65)), None);
    }

    #[test]
    fn numbers_and_texts_are_the_same() {
        let read = |json: &str| serde_json::from_str::<Written>(json).map(|w| parse(&w.0)).ok();
        assert_eq!(read("0.3"), Some(Some(300_000)));
        assert_eq!(read("\"0.3\""), Some(Some(300_000)));
        for none in ["\"\"", "\"a\"", "null", "[]", "{}", "true", "-1", "\"\\u0031\""] {
            assert_eq!(read(none), Some(None), "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(micros in 0..=MOST) {
            let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            prop_assert_eq!(parse(&text), Some(micros));
        }

        #[test]
        fn nothing_makes_it_panic(text in "[0-9.eE+-]{0,70}") {
            let _ = parse(&text);
        }
    }
}
