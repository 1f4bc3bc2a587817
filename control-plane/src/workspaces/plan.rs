//! Plans, as rows of data: what each includes and what more of it costs.

use authsome_shared::snapshot::RateLimit;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::api_limit::ApiLimit;
use super::limits::{check_quantity, check_rate_limit};
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::page::{Page, PageParams};
use crate::{fetch_all, fetch_one};

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Plan {
    #[default]
    Free,
    Pro,
    Enterprise,
}

impl Plan {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

/// What a plan includes. `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Per month, in cents.
    pub fee_cents: i64,
    pub applications: Option<u64>,
    /// Request units per calendar month, over all applications.
    pub requests_per_month: Option<u64>,
    /// Per key.
    pub rate_limit: RateLimit,
    /// Of the control plane's own API.
    #[serde(default)]
    pub api: Option<ApiLimit>,
    pub active_users: Allowance,
    pub storage_gb: Allowance,
}

/// An included quantity and the graduated price of more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    pub included: u64,
    /// In rising order; `up_to` counts from zero, the included quantity with it.
    pub tiers: Vec<Tier>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// `None`: without end.
    pub up_to: Option<u64>,
    /// Millionths of a dollar per unit.
    pub unit_micros: i64,
}

impl Allowance {
    /// How much of `quantity` is not included.
    pub fn overage(&self, quantity: u64) -> u64 {
        quantity.saturating_sub(self.included)
    }

    /// The price of `quantity`, in millionths of a dollar: each unit at its own tier's price, so
    /// that one unit more never makes the whole cheaper.
    pub fn cost_micros(&self, quantity: u64) -> i64 {
        let mut from = self.included;
        let mut cost = 0_i64;
        for tier in &self.tiers {
            let to = tier.up_to.unwrap_or(u64::MAX).min(quantity);
            if to > from {
                let units = i64::try_from(to - from).unwrap_or(i64::MAX);
                cost = cost.saturating_add(units.saturating_mul(tier.unit_micros));
                from = to;
            }
        }
        cost
    }
}

impl Limits {
    /// Can a plan be like this?
    pub fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        checks.check(
            (0..=MOST_CENTS).contains(&self.fee_cents),
            "feeCents",
            format!("`feeCents` must be 0 to {MOST_CENTS}"),
        );
        check_rate_limit(&mut checks, "rateLimit", &self.rate_limit);
        check_quantity(&mut checks, "applications", self.applications.unwrap_or_default());
        let requests = self.requests_per_month.unwrap_or_default();
        check_quantity(&mut checks, "requestsPerMonth", requests);
        if let Some(api) = &self.api {
            for (field, number) in [("api.perMinute", api.per_minute), ("api.perDay", api.per_day)]
            {
                checks.check(number > 0, field, format!("`{field}` must be at least 1"));
                check_quantity(&mut checks, field, number);
            }
        }
        self.active_users.check(&mut checks, "activeUsers");
        self.storage_gb.check(&mut checks, "storageGb");
        checks.finish()
    }
}

/// A million dollars a month.
const MOST_CENTS: i64 = 100_000_000;

/// A thousand dollars a unit.
const MOST_MICROS: i64 = 1_000_000_000;

const MOST_TIERS: usize = 20;

impl Allowance {
    fn check(&self, checks: &mut Checks, field: &str) {
        check_quantity(checks, &format!("{field}.included"), self.included);
        let tiers = format!("{field}.tiers");
        let rule = format!(
            "`{tiers}` must rise from `included` on, at most {MOST_TIERS}, and only the last is \
             without end"
        );
        let mut from = Some(self.included);
        let mut rising = self.tiers.len() <= MOST_TIERS;
        for tier in &self.tiers {
            rising &= from.is_some_and(|from| tier.up_to.is_none_or(|to| to > from));
            from = tier.up_to;
            check_quantity(checks, &tiers, tier.up_to.unwrap_or_default());
            let priced = (0..=MOST_MICROS).contains(&tier.unit_micros);
            checks.check(priced, &tiers, format!("`unitMicros` must be 0 to {MOST_MICROS}"));
        }
        checks.check(rising, &tiers, rule);
    }
}

/// What the plan includes. In a writing transaction the plan can't change until its end: what is
/// published by it is not overtaken by the plan's own publication.
pub async fn limits(tx: &mut Tx, plan: Plan) -> Result<Limits> {
    let select = format!("select limits from plans where name = $1{}", tx.for_share());
    let row: (Json<Limits>,) =
        fetch_one!(tx, sqlx::query_as(AssertSqlSafe(select.clone())).bind(plan))?;
    Ok(row.0.0)
}

/// Every plan's limits.
pub async fn all_limits(tx: &mut Tx) -> Result<Vec<(Plan, Limits)>> {
    let rows: Vec<(Plan, Json<Limits>)> =
        fetch_all!(tx, sqlx::query_as("select name, limits from plans"))?;
    Ok(rows.into_iter().map(|(plan, Json(limits))| (plan, limits)).collect())
}

/// The plans, by what they are called.
pub async fn list(tx: &mut Tx, page: PageParams) -> Result<Page<(Plan, Limits)>> {
    let (total,): (i64,) = fetch_one!(tx, sqlx::query_as("select count(*) from plans"))?;
    let rows: Vec<(Plan, Json<Limits>)> = fetch_all!(
        tx,
        sqlx::query_as("select name, limits from plans order by name limit $1 offset $2")
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(rows, total).map(|(plan, Json(limits))| (plan, limits)))
}

/// One plan's limits out of [`all_limits`].
pub fn limits_in(all: &[(Plan, Limits)], plan: Plan) -> Result<&Limits> {
    all.iter()
        .find(|(name, _)| *name == plan)
        .map(|(_, limits)| limits)
        .ok_or_else(|| Error::internal(anyhow::anyhow!("the plan {plan:?} has no row")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pro_users() -> Allowance {
        Allowance {
            included: 10_000,
            tiers: vec![
                Tier { up_to: Some(100_000), unit_micros: 20_000 },
                Tier { up_to: Some(1_000_000), unit_micros: 15_000 },
                Tier { up_to: None, unit_micros: 10_000 },
            ],
        }
    }

    #[test]
    fn tiers_are_graduated() {
        let users = pro_users();
        for (quantity, dollars) in [
            (0, 0),
            (10_000, 0),
            (100_000, 1_800),
            (150_000, 2_550),
            (1_000_000, 15_300),
            (2_000_000, 25_300),
        ] {
            assert_eq!(users.cost_micros(quantity), dollars * 1_000_000, "{quantity}");
        }
        assert_eq!(users.cost_micros(10_001), 20_000);
        assert_eq!(users.overage(150_000), 140_000);
    }

    #[test]
    fn tiers_rise_and_end_once() {
        let tiers = |tiers: &[(Option<u64>, i64)]| {
            let tiers =
                tiers.iter().map(|&(up_to, unit_micros)| Tier { up_to, unit_micros }).collect();
            let mut checks = Checks::default();
            Allowance { included: 10, tiers }.check(&mut checks, "activeUsers");
            checks.finish().is_ok()
        };
        assert!(tiers(&[]));
        assert!(tiers(&[(Some(20), 5), (None, 0)]));
        assert!(tiers(&[(Some(20), 5)]));
        assert!(!tiers(&[(Some(10), 5)]));
        assert!(!tiers(&[(Some(20), 5), (Some(20), 4)]));
        assert!(!tiers(&[(None, 5), (Some(20), 4)]));
        assert!(!tiers(&[(None, 5), (None, 4)]));
        assert!(!tiers(&[(None, -1)]));
        assert!(!tiers(&[(None, i64::MAX)]));
    }

    #[test]
    fn one_more_never_costs_less() {
        let users = pro_users();
        for edge in [10_000, 100_000, 1_000_000] {
            assert!(users.cost_micros(edge + 1) > users.cost_micros(edge));
        }
    }
}
