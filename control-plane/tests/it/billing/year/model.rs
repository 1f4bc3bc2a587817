//! The year as it should be billed, in exact fractions: from who had which plan when, and which
//! records were counted by when. It shares no line with the platform's own pricing.

use std::collections::{BTreeMap, BTreeSet};

use authsome_shared::usage::UsageRecord;
use chrono::{DateTime, Months, Utc};
use num_bigint::BigInt;
use num_rational::BigRational;
use serde_json::Value;

/// By item, in cents.
pub type Items = BTreeMap<String, BigInt>;

/// What a version of a plan asks for.
#[derive(Debug, Clone)]
pub struct Terms {
    fee: i64,
    /// By item: what is included, and the tiers.
    items: BTreeMap<String, (i64, Vec<Tier>)>,
}

#[derive(Debug, Clone)]
struct Tier {
    up_to: Option<i64>,
    unit_micros: i64,
    flat: i64,
}

impl Terms {
    pub fn free() -> Self {
        Self { fee: 0, items: BTreeMap::new() }
    }

    /// From what the platform was told.
    pub fn read(told: &Value) -> Self {
        let mut items = BTreeMap::new();
        for (field, item) in
            [("activeUsers", "mau"), ("requests", "requests"), ("bandwidthGb", "bandwidth")]
        {
            let allowance = &told[field];
            let tiers = allowance["tiers"].as_array().unwrap().iter().map(|tier| Tier {
                up_to: tier["upTo"].as_i64(),
                unit_micros: tier["unitMicros"].as_i64().unwrap(),
                flat: tier["flatMinor"].as_i64().unwrap_or_default(),
            });
            let included = allowance["included"].as_i64().unwrap();
            items.insert(item.to_owned(), (included, tiers.collect()));
        }
        Self { fee: told["feeMinor"].as_i64().unwrap(), items }
    }

    /// What a whole month of a quantity costs, in cents.
    fn price(&self, item: &str, quantity: &BigRational) -> BigRational {
        let mut price = ratio(0, 1);
        let Some((included, tiers)) = self.items.get(item) else { return price };
        let mut from = ratio(*included, 1);
        for tier in tiers {
            let to = match tier.up_to {
                Some(to) => quantity.clone().min(ratio(to, 1)),
                None => quantity.clone(),
            };
            if to <= from {
                break;
            }
            price += (&to - &from) * ratio(tier.unit_micros * 100, 1_000_000) + ratio(tier.flat, 1);
            from = to;
        }
        price
    }
}

pub struct Workspace {
    pub id: String,
    /// From when on which version of which plan.
    held: Vec<(DateTime<Utc>, String, i64)>,
    /// What was counted, by month.
    used: BTreeMap<String, Used>,
    /// What was counted by when the month's invoice was issued.
    used_when_issued: BTreeMap<String, Used>,
}

#[derive(Debug, Clone, Default)]
struct Used {
    users: BTreeSet<String>,
    units: i64,
    bytes: i64,
}

impl Used {
    fn quantities(&self) -> [(&'static str, BigRational); 3] {
        // Gigabytes are counted to a millionth.
        let gb = rounded(&(ratio(self.bytes, 1 << 30) * ratio(1_000_000, 1)));
        let users = i64::try_from(self.users.len()).unwrap();
        [
            ("mau", ratio(users, 1)),
            ("requests", ratio(self.units, 1)),
            ("bandwidth", BigRational::new(gb, BigInt::from(1_000_000))),
        ]
    }
}

#[derive(Default)]
pub struct Model {
    pub workspaces: Vec<Workspace>,
    pub months: Vec<DateTime<Utc>>,
    versions: BTreeMap<(String, i64), Terms>,
    current: BTreeMap<String, i64>,
}

impl Model {
    pub fn publish(&mut self, plan: &str, version: i64, terms: Terms) {
        self.versions.insert((plan.to_owned(), version), terms);
        self.current.insert(plan.to_owned(), version);
    }

    pub fn subscribe(&mut self, id: String, plan: &str, at: DateTime<Utc>) {
        let held = vec![(at, plan.to_owned(), self.current[plan])];
        let (used, used_when_issued) = (BTreeMap::new(), BTreeMap::new());
        self.workspaces.push(Workspace { id, held, used, used_when_issued });
    }

    pub fn change(&mut self, place: usize, plan: &str, at: DateTime<Utc>) {
        let current = self.current[plan];
        let held = &mut self.workspaces[place].held;
        // Whoever has the plan keeps the version.
        if held.last().unwrap().1 != plan {
            held.push((at, plan.to_owned(), current));
        }
    }

    pub fn move_all(&mut self, plan: &str, version: i64, at: DateTime<Utc>) {
        for workspace in &mut self.workspaces {
            if workspace.held.last().unwrap().1 == plan {
                workspace.held.push((at, plan.to_owned(), version));
            }
        }
    }

    pub fn count(&mut self, record: &UsageRecord) {
        let month = DateTime::from_timestamp_millis(record.at).unwrap().format("%Y-%m").to_string();
        let place = self.place(record.workspace.as_str());
        let used = self.workspaces[place].used.entry(month).or_default();
        used.users.extend(record.user.clone());
        used.units += i64::from(record.units);
        used.bytes += i64::try_from(record.bytes_in + record.bytes_out).unwrap();
    }

    /// The month's invoices are issued by what is counted now.
    pub fn issue(&mut self, month: usize) {
        let month = self.month(month);
        for workspace in &mut self.workspaces {
            let used = workspace.used.get(&month).cloned().unwrap_or_default();
            workspace.used_when_issued.insert(month.clone(), used);
        }
    }

    pub fn place(&self, id: &str) -> usize {
        self.workspaces.iter().position(|workspace| workspace.id == id).unwrap()
    }

    pub fn month(&self, month: usize) -> String {
        self.months[month].format("%Y-%m").to_string()
    }

    /// What each month's invoice holds of the month's own.
    pub fn invoices(&self, workspace: &Workspace) -> BTreeMap<String, Items> {
        let months = self.months.iter().map(|from| {
            let month = from.format("%Y-%m").to_string();
            let items = self.items(workspace, *from, &workspace.used_when_issued[&month]);
            (month, items)
        });
        months.collect()
    }

    /// What is charged in all, by workspace, month and item.
    pub fn charged(&self) -> BTreeMap<(String, String, String), BigInt> {
        let mut charged = BTreeMap::new();
        for workspace in &self.workspaces {
            for from in &self.months {
                let month = from.format("%Y-%m").to_string();
                let used = workspace.used.get(&month).cloned().unwrap_or_default();
                for (item, amount) in self.items(workspace, *from, &used) {
                    charged.insert((workspace.id.clone(), month.clone(), item), amount);
                }
            }
        }
        charged
    }

    fn items(&self, workspace: &Workspace, from: DateTime<Utc>, used: &Used) -> Items {
        let end = from.checked_add_months(Months::new(1)).unwrap();
        let whole = (end - from).num_seconds();
        let mut exact: BTreeMap<&str, BigRational> = BTreeMap::new();
        for (i, (since, plan, version)) in workspace.held.iter().enumerate() {
            // The first month is charged whole.
            let since = if i == 0 { from } else { (*since).max(from) };
            let until = workspace.held.get(i + 1).map_or(end, |(next, ..)| (*next).min(end));
            let seconds = until.timestamp() - since.timestamp();
            if seconds <= 0 {
                continue;
            }
            let terms = &self.versions[&(plan.clone(), *version)];
            let share = ratio(seconds, whole);
            *exact.entry("fee").or_insert_with(|| ratio(0, 1)) += ratio(terms.fee, 1) * &share;
            for (item, quantity) in used.quantities() {
                *exact.entry(item).or_insert_with(|| ratio(0, 1)) +=
                    terms.price(item, &quantity) * &share;
            }
        }
        let mut items: Items =
            exact.into_iter().map(|(item, exact)| (item.to_owned(), rounded(&exact))).collect();
        items.retain(|_, amount| *amount != BigInt::ZERO);
        items
    }
}

fn ratio(n: i64, d: i64) -> BigRational {
    BigRational::new(BigInt::from(n), BigInt::from(d))
}

/// Half up.
fn rounded(exact: &BigRational) -> BigInt {
    (exact + ratio(1, 2)).floor().to_integer()
}
