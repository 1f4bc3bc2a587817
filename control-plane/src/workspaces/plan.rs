//! Plans, as rows of data: what each includes and what more of it costs.

use authsome_shared::snapshot::RateLimit;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;

use super::api_limit::ApiLimit;
use crate::db::Tx;
use crate::error::{Error, Result};
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

/// What the plan includes.
pub async fn limits(tx: &mut Tx, plan: Plan) -> Result<Limits> {
    let row: (Json<Limits>,) =
        fetch_one!(tx, sqlx::query_as("select limits from plans where name = $1").bind(plan))?;
    Ok(row.0.0)
}

/// Every plan's limits.
pub async fn all_limits(tx: &mut Tx) -> Result<Vec<(Plan, Limits)>> {
    let rows: Vec<(Plan, Json<Limits>)> =
        fetch_all!(tx, sqlx::query_as("select name, limits from plans"))?;
    Ok(rows.into_iter().map(|(plan, Json(limits))| (plan, limits)).collect())
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
    fn one_more_never_costs_less() {
        let users = pro_users();
        for edge in [10_000, 100_000, 1_000_000] {
            assert!(users.cost_micros(edge + 1) > users.cost_micros(edge));
        }
    }
}
