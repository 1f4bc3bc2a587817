//! Monthly quotas: request units per subject (a workspace, an application, a key's bucket) and
//! calendar month in UTC. Admission is local: one atomic word per subject holds the month and the
//! units used, as far as this proxy knows. The control plane's totals correct it for the whole
//! fleet; between two totals, proxies may together admit what they had not yet told each other.
//!
//! It writes nothing to disk: `ledger` keeps the totals and recounts the journal at start.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use authsome_shared::usage::{Total, UsageRecord};
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

/// A calendar month, counted from January 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u16);

impl Month {
    pub fn of(at: DateTime<Utc>) -> Self {
        let months = (at.year() - 1970).clamp(0, 5_000) * 12 + at.month0().cast_signed();
        Self(u16::try_from(months).unwrap_or(u16::MAX))
    }

    /// From `YYYY-MM`.
    pub fn parse(period: &str) -> Option<Self> {
        let (year, month) = period.split_once('-')?;
        let date = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)?;
        Some(Self::of(date.and_hms_opt(0, 0, 0)?.and_utc()))
    }

    fn first_day(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(1970, 1, 1)
            .and_then(|epoch| epoch.checked_add_months(Months::new(u32::from(self.0))))
            .unwrap_or(NaiveDate::MAX)
    }

    /// As `YYYY-MM`.
    pub fn period(self) -> String {
        self.first_day().format("%Y-%m").to_string()
    }

    /// Whole seconds from `now` until the month is over, at least 1.
    pub fn ends_in(self, now: DateTime<Utc>) -> u64 {
        let next = Self(self.0.saturating_add(1)).first_day();
        let end = next.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc();
        u64::try_from((end - now).num_seconds()).unwrap_or(0) + 1
    }
}

const USED_BITS: u32 = 48;
const USED_MASK: u64 = (1 << USED_BITS) - 1;

fn pack(month: Month, used: u64) -> u64 {
    (u64::from(month.0) << USED_BITS) | used.min(USED_MASK)
}

fn unpack(word: u64) -> (Month, u64) {
    (Month(u16::try_from(word >> USED_BITS).unwrap_or(u16::MAX)), word & USED_MASK)
}

/// What one subject has used in the month it was last asked about.
#[derive(Debug, Default)]
pub struct Counter {
    /// Month in the high 16 bits, units in the low 48.
    word: AtomicU64,
    /// The highest total the control plane has told, and its month.
    confirmed: Mutex<Option<(Month, u64)>>,
}

impl Counter {
    fn update(&self, change: impl Fn(Month, u64) -> Option<(Month, u64)>) -> bool {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                let (month, used) = unpack(word);
                change(month, used).map(|(month, used)| pack(month, used))
            })
            .is_ok()
    }

    /// Takes `units` if they fit under `limit` in `now`'s month. A month that lies behind the
    /// counter's (a clock set back) is counted in the counter's.
    pub fn take(&self, now: Month, units: u64, limit: u64) -> bool {
        self.update(|month, used| {
            let used = if now > month { 0 } else { used };
            let next = used.checked_add(units).filter(|next| *next <= limit)?;
            Some((month.max(now), next))
        })
    }

    /// Gives back what [`Counter::take`] took in the same month.
    pub fn give_back(&self, now: Month, units: u64) {
        self.update(|month, used| (month == now).then(|| (month, used.saturating_sub(units))));
    }

    /// Counts what was admitted before, whatever the limit.
    pub fn recount(&self, at: Month, units: u64) {
        self.update(|month, used| match at.cmp(&month) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some((month, used.saturating_add(units))),
            std::cmp::Ordering::Greater => Some((at, units)),
        });
    }

    /// Learns the fleet's total, of which `applied` units are this proxy's own that had been
    /// counted here already. Totals of one month only grow; an older one that comes late still
    /// says which of our units the newer one contained.
    fn confirm(&self, at: Month, total: u64, applied: u64) {
        let mut confirmed = self.confirmed.lock();
        let seen = match *confirmed {
            Some((month, seen)) if month == at => seen,
            Some((month, _)) if month > at => return,
            _ => 0,
        };
        let newest = total.max(seen);
        *confirmed = Some((at, newest));
        self.update(|month, used| match at.cmp(&month) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => {
                let used = used.saturating_add(newest - seen).saturating_sub(applied);
                Some((month, used.max(newest)))
            }
            std::cmp::Ordering::Greater => Some((at, newest)),
        });
    }

    pub fn used(&self, now: Month) -> u64 {
        let (month, used) = unpack(self.word.load(Ordering::Acquire));
        if now > month { 0 } else { used }
    }
}

/// A monthly quota and its counter.
#[derive(Debug, Clone)]
pub struct Quota {
    /// Whose it is: the id of a workspace, an application or a line of keys.
    pub subject: Box<str>,
    pub limit: u64,
    /// All proxies together admit not one unit more.
    pub hard: bool,
    pub counter: Arc<Counter>,
}

impl Quota {
    /// `None` where there is no limit.
    pub fn new(
        limit: Option<u64>,
        hard: bool,
        subject: &str,
        quotas: &Quotas,
    ) -> Option<Box<Self>> {
        let counter =
            |limit| Self { subject: subject.into(), limit, hard, counter: quotas.counter(subject) };
        limit.map(|limit| Box::new(counter(limit)))
    }
}

/// A counter as one process hands it to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub subject: String,
    /// `YYYY-MM` and the units used in it, as far as is known.
    pub used: (String, u64),
    /// The same of what the control plane has told.
    pub confirmed: Option<(String, u64)>,
}

/// Does anybody hold the quota that it counts?
fn is_held(counter: &Arc<Counter>) -> bool {
    Arc::strong_count(counter) > 1
}

/// The counters of every subject that has a quota or was spoken of; they outlive snapshots.
#[derive(Debug, Default)]
pub struct Quotas {
    counters: RwLock<HashMap<String, Arc<Counter>>>,
}

impl Quotas {
    /// The subject's counter, made when it is new.
    pub fn counter(&self, subject: &str) -> Arc<Counter> {
        if let Some(counter) = self.counters.read().get(subject) {
            return counter.clone();
        }
        self.counters.write().entry(subject.to_owned()).or_default().clone()
    }

    /// Learns totals from the control plane, or those that an earlier run kept. Unreadable periods
    /// are ignored. A line of keys may be told of before the quota that it has got.
    pub fn confirm(&self, totals: &[Total]) {
        for total in totals {
            let Some(month) = Month::parse(&total.period) else { continue };
            self.counter(&total.subject).confirm(month, total.used, total.applied);
        }
    }

    /// Learns where to begin with a quota that is new here. Of one that counts already this would
    /// count twice what is under way, until that is confirmed.
    pub fn begin(&self, total: Total) {
        let held = self.counters.read().get(&total.subject).is_some_and(is_held);
        if !held {
            self.confirm(&[total]);
        }
    }

    /// All that is known, for the process that takes over.
    pub fn counts(&self) -> Vec<Count> {
        let counters = self.counters.read();
        let counts = counters.iter().map(|(subject, counter)| {
            let (month, used) = unpack(counter.word.load(Ordering::Acquire));
            let confirmed = *counter.confirmed.lock();
            Count {
                subject: subject.clone(),
                used: (month.period(), used),
                confirmed: confirmed.map(|(month, total)| (month.period(), total)),
            }
        });
        counts.collect()
    }

    /// Takes up where the process before this one stood.
    pub fn take_over(&self, counts: &[Count]) {
        for Count { subject, used: (period, used), confirmed } in counts {
            let Some(month) = Month::parse(period) else { continue };
            let counter = self.counter(subject);
            counter.word.store(pack(month, *used), Ordering::Release);
            let confirmed = confirmed.as_ref();
            *counter.confirmed.lock() =
                confirmed.and_then(|(period, total)| Some((Month::parse(period)?, *total)));
        }
    }

    /// Counts a record that the control plane has not confirmed: at start, from the journal.
    pub fn recount(&self, record: &UsageRecord) {
        let Some(at) = DateTime::from_timestamp_millis(record.at).map(Month::of) else { return };
        let bucket = record.bucket.as_ref().unwrap_or(&record.key);
        let subjects = [record.workspace.as_str(), record.application.as_str(), bucket.as_str()];
        for subject in subjects {
            self.counter(subject).recount(at, u64::from(record.units));
        }
    }

    /// What the control plane has confirmed and a later start must know: the totals of `now`'s
    /// month of subjects that somebody holds a quota for. Forgets all that nobody will ask for.
    pub fn confirmed(&self, now: Month) -> Vec<Total> {
        let mut counters = self.counters.write();
        let mut totals = Vec::new();
        counters.retain(|subject, counter| {
            let held = is_held(counter);
            match *counter.confirmed.lock() {
                Some((month, used)) if month >= now => {
                    if held {
                        let (subject, period) = (subject.clone(), month.period());
                        totals.push(Total { subject, period, used, applied: 0 });
                    }
                    true
                }
                _ => held || counter.used(now) > 0,
            }
        });
        totals
    }
}

#[cfg(test)]
mod tests;
