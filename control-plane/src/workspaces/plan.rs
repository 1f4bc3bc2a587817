//! Plans, as rows of data: what each includes and what more of it costs. A plan has versions, which
//! are never changed: another price is another version, and whoever subscribed to an older one keeps
//! it until they are moved (`subscription`). What a month costs is for `billing::price`.

use std::collections::BTreeMap;

use authsome_shared::snapshot::RateLimit;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::api_limit::ApiLimit;
use super::limits::{check_quantity, check_rate_limit};
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    sqlx::Type,
    ToSchema,
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
    pub const ALL: [Self; 3] = [Self::Free, Self::Pro, Self::Enterprise];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    /// As people read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Pro => "Pro",
            Self::Enterprise => "Enterprise",
        }
    }
}

/// What a plan includes. `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Per month, in the currency's minor unit.
    pub fee_minor: i64,
    pub applications: Option<u64>,
    /// Request units per calendar month, over all applications.
    pub requests_per_month: Option<u64>,
    /// What becomes of requests beyond them.
    #[serde(default)]
    pub requests_limit: Strictness,
    /// Per key.
    pub rate_limit: RateLimit,
    /// Of the control plane's own API.
    #[serde(default)]
    pub api: Option<ApiLimit>,
    pub active_users: Allowance,
    pub storage_gb: Allowance,
    /// Request units; `None` is free of charge.
    #[serde(default)]
    pub requests: Option<Allowance>,
    /// Of bodies, both ways; `None` is free of charge.
    #[serde(default)]
    pub bandwidth_gb: Option<Allowance>,
    /// By the meter's name. A meter that is not in it is free of charge.
    #[serde(default)]
    pub meters: BTreeMap<String, Allowance>,
}

/// What becomes of what goes beyond a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strictness {
    /// It is refused.
    #[default]
    Hard,
    /// It is served, and told of.
    Soft,
}

/// An included quantity and the graduated price of more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// In whole units.
    pub included: u64,
    /// In rising order; `up_to` counts from zero, the included quantity with it.
    pub tiers: Vec<Tier>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tier {
    /// `None`: without end.
    pub up_to: Option<u64>,
    /// Millionths of the currency's major unit per unit.
    pub unit_micros: i64,
    /// Once, when the quantity comes into this tier; in minor units.
    #[serde(default)]
    pub flat_minor: i64,
}

impl Limits {
    /// What is counted and may cost: the items of an invoice, with what of each is included.
    pub fn items(&self) -> Vec<(String, &Allowance)> {
        let mut items =
            vec![("mau".to_owned(), &self.active_users), ("storage".to_owned(), &self.storage_gb)];
        items.extend(self.requests.as_ref().map(|priced| ("requests".to_owned(), priced)));
        items.extend(self.bandwidth_gb.as_ref().map(|priced| ("bandwidth".to_owned(), priced)));
        items.extend(self.meters.iter().map(|(name, priced)| (format!("meter:{name}"), priced)));
        items
    }

    /// The request units a month after which proxies refuse.
    pub fn quota(&self) -> Option<u64> {
        self.requests_per_month.filter(|_| self.requests_limit == Strictness::Hard)
    }

    /// Can a plan be like this?
    pub fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        checks.check(
            (0..=MOST_MINOR).contains(&self.fee_minor),
            "feeMinor",
            format!("`feeMinor` must be 0 to {MOST_MINOR}"),
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
        if let Some(requests) = &self.requests {
            requests.check(&mut checks, "requests");
        }
        if let Some(bandwidth) = &self.bandwidth_gb {
            bandwidth.check(&mut checks, "bandwidthGb");
        }
        let few = self.meters.len() <= MOST_METERS;
        checks.check(few, "meters", format!("`meters` must be at most {MOST_METERS}"));
        for (name, meter) in &self.meters {
            let field = format!("meters.{name}");
            let rule = format!("`{field}`: a meter's name has 1 to 63 of a-z, 0-9 and _");
            checks.check(is_meter_name(name), &field, rule);
            meter.check(&mut checks, &field);
        }
        checks.finish()
    }
}

/// A million of the major unit a month.
const MOST_MINOR: i64 = 100_000_000;

/// A thousand of the major unit a unit.
const MOST_MICROS: i64 = 1_000_000_000;

const MOST_TIERS: usize = 20;
const MOST_METERS: usize = 50;

/// Can a meter be called so?
pub fn is_meter_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

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
            let flat = (0..=MOST_MINOR).contains(&tier.flat_minor);
            checks.check(flat, &tiers, format!("`flatMinor` must be 0 to {MOST_MINOR}"));
        }
        checks.check(rising, &tiers, rule);
    }
}

/// A version of a plan.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Version {
    pub plan: Plan,
    pub version: i64,
    pub limits: Json<Limits>,
    /// Agreed with particular workspaces: no other is moved to it, and none from it with the rest.
    pub private: bool,
    pub note: String,
    pub created_at: DateTime<Utc>,
}

impl Version {
    /// What names it.
    pub fn of(&self) -> VersionOf {
        VersionOf { plan: self.plan, version: self.version }
    }

    /// Until when whoever first chooses it at `at` has it free of charge: what costs nothing, and
    /// what is agreed by contract, is not tried.
    pub fn trial(&self, days: u32, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let tried = days > 0 && self.limits.0.fee_minor > 0 && self.plan != Plan::Enterprise;
        tried.then(|| at + TimeDelta::days(days.into()))
    }
}

/// Names a version of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct VersionOf {
    pub plan: Plan,
    pub version: i64,
}

/// What new subscriptions get. In a writing transaction it stays so until its end: whoever
/// subscribes is not passed over by a move of all subscriptions.
pub async fn current(tx: &mut Tx, plan: Plan) -> Result<Version> {
    let select = format!("select current_version from plans where name = $1{}", tx.for_share());
    let (version,): (i64,) = fetch_one!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(plan))?;
    version_of(tx, VersionOf { plan, version }).await
}

pub async fn version_of(tx: &mut Tx, of: VersionOf) -> Result<Version> {
    let row = fetch_optional!(
        tx,
        sqlx::query_as("select * from plan_versions where plan = $1 and version = $2")
            .bind(of.plan)
            .bind(of.version)
    )?;
    row.ok_or(NO_VERSION)
}

const NO_VERSION: Error = Error::NotFound("plan version");

/// Every version's limits.
pub async fn all_limits(tx: &mut Tx) -> Result<BTreeMap<VersionOf, Limits>> {
    let rows: Vec<Version> = fetch_all!(tx, sqlx::query_as("select * from plan_versions"))?;
    Ok(rows.into_iter().map(|row| (row.of(), row.limits.0)).collect())
}

/// The plans' current versions, by what the plans are called.
pub async fn list(tx: &mut Tx, page: PageParams) -> Result<Page<Version>> {
    let (total,): (i64,) = fetch_one!(tx, sqlx::query_as("select count(*) from plans"))?;
    let rows: Vec<Version> = fetch_all!(
        tx,
        sqlx::query_as(
            "select plan_versions.* from plans join plan_versions on plan = name \
             and version = current_version order by name limit $1 offset $2"
        )
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

/// A plan's versions, the newest first, each with how many workspaces have it.
pub async fn versions(tx: &mut Tx, plan: Plan, page: PageParams) -> Result<Page<(Version, i64)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        version: Version,
        workspaces: i64,
    }
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from plan_versions where plan = $1").bind(plan)
    )?;
    let rows: Vec<Row> = fetch_all!(
        tx,
        sqlx::query_as(
            "select plan_versions.*, (select count(*) from workspaces \
             where workspaces.plan = plan_versions.plan \
             and workspaces.plan_version = plan_versions.version) as workspaces \
             from plan_versions where plan = $1 order by version desc limit $2 offset $3"
        )
        .bind(plan)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(rows, total).map(|row| (row.version, row.workspaces)))
}

/// How many workspaces have a version.
pub async fn workspaces_on(tx: &mut Tx, of: VersionOf) -> Result<i64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from workspaces where plan = $1 and plan_version = $2")
            .bind(of.plan)
            .bind(of.version)
    )?;
    Ok(count)
}

/// How many workspaces of the plan have another version that was not agreed with them alone.
pub async fn workspaces_off(tx: &mut Tx, of: VersionOf) -> Result<i64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from workspaces join plan_versions \
             on plan_versions.plan = workspaces.plan \
             and plan_versions.version = workspaces.plan_version \
             where workspaces.plan = $1 and workspaces.plan_version <> $2 and not private"
        )
        .bind(of.plan)
        .bind(of.version)
    )?;
    Ok(count)
}

/// Adds a version; one that is not private is what new subscriptions get from now on.
pub(super) async fn add(
    tx: &mut Tx,
    plan: Plan,
    limits: &Limits,
    private: bool,
    note: &str,
) -> Result<Version> {
    limits.check()?;
    let now = tx.now();
    // Held, so that two additions don't take one number.
    let select = format!("select current_version from plans where name = $1{}", tx.for_update());
    let _: (i64,) = fetch_one!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(plan))?;
    let added: Version = fetch_one!(
        tx,
        sqlx::query_as(
            "insert into plan_versions (plan, version, limits, private, note, created_at) \
             select $1, max(version) + 1, $2, $3, $4, $5 from plan_versions where plan = $1 \
             returning *"
        )
        .bind(plan)
        .bind(Json(limits))
        .bind(private)
        .bind(note)
        .bind(now)
    )?;
    if !private {
        execute!(
            tx,
            sqlx::query("update plans set current_version = $1 where name = $2")
                .bind(added.version)
                .bind(plan)
        )?;
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_rise_and_end_once() {
        let tiers = |tiers: &[(Option<u64>, i64)]| {
            let tier = |&(up_to, unit_micros)| Tier { up_to, unit_micros, flat_minor: 0 };
            let tiers = tiers.iter().map(tier).collect();
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
    fn meters_have_plain_names() {
        for (name, good) in
            [("emails_sent", true), ("a", true), ("", false), ("A", false), ("a-b", false)]
        {
            assert_eq!(is_meter_name(name), good, "{name}");
        }
    }
}
