//! What holds for one workspace: its plan's limits, with what the platform's admins have agreed with
//! it put over them. What a plan includes: `plan`.

use authsome_shared::snapshot::RateLimit;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Limits, Workspace, plan};
use crate::db::Tx;
use crate::error::{Checks, Result};

/// Instead of the plan's. What is `None` follows the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Overrides {
    /// Per key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Request units per calendar month; `Some(None)`: unlimited.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub requests_per_month: Option<Option<u64>>,
    /// `Some(None)`: unlimited.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub applications: Option<Option<u64>>,
    /// End users per month that are included in the fee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_users: Option<u64>,
}

/// For a field where `null` says something else than its absence.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

impl Overrides {
    pub fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        if let Some(rate_limit) = &self.rate_limit {
            check_rate_limit(&mut checks, "limits.rateLimit", rate_limit);
        }
        for (field, number) in [
            ("limits.requestsPerMonth", self.requests_per_month.flatten()),
            ("limits.applications", self.applications.flatten()),
            ("limits.activeUsers", self.active_users),
        ] {
            check_quantity(&mut checks, field, number.unwrap_or_default());
        }
        checks.finish()
    }
}

impl Limits {
    /// With the overrides put over the plan's.
    pub fn with(mut self, overrides: &Overrides) -> Self {
        self.rate_limit = overrides.rate_limit.unwrap_or(self.rate_limit);
        self.requests_per_month = overrides.requests_per_month.unwrap_or(self.requests_per_month);
        self.applications = overrides.applications.unwrap_or(self.applications);
        self.active_users.included = overrides.active_users.unwrap_or(self.active_users.included);
        self
    }
}

/// What holds for the workspace now.
pub async fn of(tx: &mut Tx, workspace: &Workspace) -> Result<Limits> {
    Ok(plan::version_of(tx, workspace.version()).await?.limits.0.with(&workspace.limits.0))
}

pub(super) fn check_rate_limit(checks: &mut Checks, field: &str, limit: &RateLimit) {
    for (name, number, most) in [
        ("requests", u64::from(limit.requests), 1_000_000),
        ("burst", u64::from(limit.burst), 1_000_000),
        ("windowMs", limit.window_ms, 3_600_000),
    ] {
        let field = format!("{field}.{name}");
        let message = format!("`{field}` must be 1 to {most}");
        checks.check((1..=most).contains(&number), &field, message);
    }
}

/// Largest quantity of anything: what a JSON number holds exactly.
const MOST: u64 = (1 << 53) - 1;

pub(super) fn check_quantity(checks: &mut Checks, field: &str, number: u64) {
    checks.check(number <= MOST, field, format!("`{field}` must be at most {MOST}"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspaces::plan::Allowance;

    fn limits() -> Limits {
        Limits {
            fee_minor: 0,
            applications: Some(3),
            requests_per_month: Some(100),
            requests_limit: plan::Strictness::Hard,
            rate_limit: RateLimit::fast(10, 1000, 10),
            api: None,
            active_users: Allowance { included: 5, tiers: vec![] },
            storage_gb: Allowance { included: 5, tiers: vec![] },
            requests: None,
            bandwidth_gb: None,
            meters: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn absent_follows_the_plan_and_null_is_unlimited() {
        let read = |value| serde_json::from_value::<Overrides>(value).unwrap();
        assert_eq!(limits().with(&read(json!({}))), limits());
        let over = read(json!({ "applications": null, "requestsPerMonth": 7, "activeUsers": 9 }));
        let held = limits().with(&over);
        assert_eq!((held.applications, held.requests_per_month), (None, Some(7)));
        assert_eq!((held.active_users.included, held.rate_limit), (9, limits().rate_limit));
        // As stored, and read again.
        assert_eq!(read(serde_json::to_value(&over).unwrap()), over);
    }

    #[test]
    fn impossible_limits_are_refused() {
        let mut over = Overrides { active_users: Some(MOST + 1), ..Overrides::default() };
        assert!(over.check().is_err());
        over.active_users = Some(MOST);
        assert!(over.check().is_ok());
        for (requests, window, burst) in
            [(0, 1000, 1), (1, 0, 1), (1, 1000, 0), (1_000_001, 1000, 1), (1, 3_600_001, 1)]
        {
            over.rate_limit = Some(RateLimit::fast(requests, window, burst));
            assert!(over.check().is_err(), "{requests} {window} {burst}");
        }
    }
}
