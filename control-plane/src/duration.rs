//! Durations as people write them: `30s`, `10m`, `24h`, `7d`; `0` alone is none at all.

use chrono::TimeDelta;

/// What is said of a text that is none.
pub const RULE: &str = "must be a duration such as `30s`, `10m`, `24h` or `7d`";

/// The longest that is accepted.
const MAX: TimeDelta = TimeDelta::days(3650);

pub fn parse(text: &str) -> Option<TimeDelta> {
    if text == "0" {
        return Some(TimeDelta::zero());
    }
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    let duration = match unit {
        's' => TimeDelta::try_seconds(number),
        'm' => TimeDelta::try_minutes(number),
        'h' => TimeDelta::try_hours(number),
        'd' => TimeDelta::try_days(number),
        _ => None,
    };
    duration.filter(|duration| *duration <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("0", 0), ("0s", 0), ("30s", 30), ("10m", 600), ("24h", 86_400), ("7d", 604_800)]
        {
            assert_eq!(parse(text), Some(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in
            ["", "s", "5", "-1s", "+1s", "1.5h", "1w", "1 h", "h1", "99999999999999999d", "é"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
