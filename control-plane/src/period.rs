//! A calendar month, UTC: what usage is counted by and what is invoiced.

use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc};

use crate::error::{Error, Result};

/// A calendar month, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    year: i32,
    month: u32,
}

impl Period {
    pub fn containing(at: DateTime<Utc>) -> Self {
        Self { year: at.year(), month: at.month() }
    }

    /// From `YYYY-MM`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return None;
        }
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        NaiveDate::from_ymd_opt(year, month, 1).map(|_| Self { year, month })
    }

    /// The month asked for, or the one that `now` lies in.
    pub fn asked(text: Option<&str>, now: DateTime<Utc>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::containing(now)) };
        Self::parse(text).ok_or_else(|| {
            Error::invalid("period", "invalid_value", "`period` must be a month such as 2026-01")
        })
    }

    /// The first instant of it.
    pub fn start(self) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(self.year, self.month, 1, 0, 0, 0).single().expect("months begin")
    }

    /// The first instant after it: when it is billed.
    pub fn end(self) -> DateTime<Utc> {
        let (year, month) =
            if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        Utc.with_ymd_and_hms(year, month, 1, 0, 0, 0).single().expect("months begin")
    }

    /// So many months later.
    pub fn after(self, months: u32) -> Self {
        let months = i64::from(self.year) * 12 + i64::from(self.month) - 1 + i64::from(months);
        let year = i32::try_from(months / 12).unwrap_or(i32::MAX);
        Self { year, month: u32::try_from(months % 12).unwrap_or_default() + 1 }
    }
}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods() {
        let period = Period::parse("2025-12").unwrap();
        assert_eq!(period.to_string(), "2025-12");
        assert_eq!(period.end().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        for (months, later) in [(0, "2025-12"), (1, "2026-01"), (12, "2026-12"), (25, "2028-01")] {
            assert_eq!(period.after(months).to_string(), later);
        }
        for bad in ["", "2025", "2025-13", "2025-00", "2025-1", "25-01", "2025-01-01", "+025-01"] {
            assert_eq!(Period::parse(bad), None, "{bad}");
        }
    }
}
