//! A month's usage on the wire: of each item what was used, what of it is included and what the rest
//! costs, and how the costs make the estimate. Floats are made here, and nowhere before.

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::billing::bill::Bill;
use crate::billing::estimate::Estimate;
use crate::billing::money::Currency;
use crate::billing::price::Kind;
use crate::metering::meter::{Aggregation, Used};
use crate::metering::quantities;
use crate::metering::usage::Usage;
use crate::workspaces::plan::Allowance;
use crate::workspaces::{Limits, Plan, Workspace};

/// A month's usage. Costs are in the currency's major unit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageBody {
    #[schema(example = "2026-01")]
    period: String,
    workspace_id: WorkspaceId,
    plan: Plan,
    usage: Lines,
    /// Of a month that is not over: as if nothing more were used, and what is stored stayed.
    estimated_cost: f64,
    costs: Costs,
    #[schema(example = "USD")]
    currency: String,
    /// When the month ends and its invoice is made.
    billing_date: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Lines {
    mau: ActiveUsers,
    applications: Applications,
    storage: Storage,
    api_requests: Requests,
    bandwidth: Bandwidth,
    /// What the operator counts besides, by the meters' names: those that the plan prices, and
    /// those with events in the month.
    meters: Vec<MeterUsage>,
}

/// What `estimatedCost` is made of.
#[derive(Debug, Serialize, ToSchema)]
struct Costs {
    /// The plan's.
    fee: f64,
    /// Of all items together.
    usage: f64,
    /// Late usage of earlier months and other charges that wait for the next invoice.
    adjustments: f64,
    /// What coupons take off.
    discount: f64,
    tax: f64,
    total: f64,
}

/// Distinct end users over all applications.
#[derive(Debug, Serialize, ToSchema)]
struct ActiveUsers {
    current: u64,
    included: u64,
    overage: u64,
    cost: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Applications {
    count: u64,
    limit: Option<u64>,
}

/// As reported. A GB is 2^30 bytes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Storage {
    /// The newest level, or that at the end of a month that is over.
    bytes: i64,
    gb: f64,
    /// The average over the month, as if the newest level held to its end: what is charged.
    gb_months: f64,
    included: u64,
    /// In GB-months.
    overage: f64,
    cost: f64,
}

/// Admitted requests, in request units.
#[derive(Debug, Serialize, ToSchema)]
struct Requests {
    count: u64,
    included: Option<u64>,
    overage: u64,
    cost: f64,
    /// Of these, answers of 500 and above.
    errors: u64,
}

/// Bodies through the proxies, both ways.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Bandwidth {
    bytes_in: u64,
    bytes_out: u64,
    gb: f64,
    /// In GB; `null`: it is free of charge.
    included: Option<u64>,
    overage: f64,
    cost: f64,
}

/// What a meter has counted.
#[derive(Debug, Serialize, ToSchema)]
struct MeterUsage {
    #[schema(example = "gpu_hours")]
    name: String,
    #[schema(example = "GPU time")]
    label: String,
    #[schema(example = "GPU hour")]
    unit: String,
    aggregation: Aggregation,
    quantity: f64,
    events: i64,
    /// `null`: it is free of charge.
    included: Option<u64>,
    overage: f64,
    cost: f64,
}

/// A quantity from its millionths.
pub(super) fn quantity(micros: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact to nine billion units")]
    let micros = micros as f64;
    micros / 1_000_000.0
}

/// What of a quantity is not included; nothing of what is free of charge.
fn overage(micros: i64, included: Option<u64>) -> f64 {
    let Some(included) = included else { return 0.0 };
    let included = i64::try_from(included).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    quantity(micros.saturating_sub(included).max(0))
}

fn included(allowance: Option<&Allowance>) -> Option<u64> {
    allowance.map(|allowance| allowance.included)
}

impl UsageBody {
    pub(super) fn new(
        workspace: Workspace,
        usage: &Usage,
        estimate: &Estimate,
        currency: &Currency,
    ) -> Self {
        // What holds, or held last in a month that is over.
        let terms = estimate.month.spans.last().map_or(&usage.limits, |span| &span.terms);
        Self {
            period: usage.period.to_string(),
            workspace_id: workspace.id,
            plan: workspace.plan,
            usage: Lines::new(usage, terms, |item| currency.major(estimate.cost(item))),
            estimated_cost: currency.major(estimate.bill.total),
            costs: Costs::new(&estimate.bill, currency),
            currency: currency.to_string(),
            billing_date: usage.period.end(),
        }
    }
}

impl Lines {
    fn new(usage: &Usage, terms: &Limits, cost: impl Fn(&str) -> f64) -> Self {
        let users = &terms.active_users;
        let stored = usage.storage;
        let requests = included(terms.requests.as_ref()).or(terms.requests_per_month);
        let bandwidth = included(terms.bandwidth_gb.as_ref());
        let bytes = i128::from(usage.bytes_in) + i128::from(usage.bytes_out);
        let transferred = quantities::gb(bytes, 1);
        Self {
            mau: ActiveUsers {
                current: usage.active_users,
                included: users.included,
                overage: usage.active_users.saturating_sub(users.included),
                cost: cost("mau"),
            },
            applications: Applications {
                count: usage.applications,
                limit: usage.limits.applications,
            },
            storage: Storage {
                bytes: stored.bytes,
                gb: quantity(quantities::gb(stored.bytes.into(), 1)),
                gb_months: quantity(stored.gb_months),
                included: terms.storage_gb.included,
                overage: overage(stored.gb_months, Some(terms.storage_gb.included)),
                cost: cost("storage"),
            },
            api_requests: Requests {
                count: usage.request_units,
                included: requests,
                overage: requests.map_or(0, |most| usage.request_units.saturating_sub(most)),
                cost: cost("requests"),
                errors: usage.errors,
            },
            bandwidth: Bandwidth {
                bytes_in: usage.bytes_in,
                bytes_out: usage.bytes_out,
                gb: quantity(transferred),
                included: bandwidth,
                overage: overage(transferred, bandwidth),
                cost: cost("bandwidth"),
            },
            meters: usage
                .meters
                .iter()
                .filter(|used| used.events > 0 || terms.meters.contains_key(&used.meter.name))
                .map(|used| MeterUsage::new(used, terms, &cost))
                .collect(),
        }
    }
}

impl MeterUsage {
    fn new(used: &Used, terms: &Limits, cost: impl Fn(&str) -> f64) -> Self {
        let Used { meter, value, events } = used;
        let included = included(terms.meters.get(&meter.name));
        Self {
            name: meter.name.clone(),
            label: meter.label.clone(),
            unit: meter.unit.clone(),
            aggregation: meter.aggregation,
            quantity: quantity(*value),
            events: *events,
            included,
            overage: overage(*value, included),
            cost: cost(&format!("meter:{}", meter.name)),
        }
    }
}

impl Costs {
    fn new(bill: &Bill, currency: &Currency) -> Self {
        let of = |kind: Kind| {
            let lines = bill.lines.iter().filter(|line| line.kind == kind);
            currency.major(lines.map(|line| line.amount).sum())
        };
        Self {
            fee: of(Kind::Fee),
            usage: of(Kind::Usage),
            adjustments: of(Kind::Adjustment),
            discount: currency.major(bill.discount),
            tax: currency.major(bill.tax),
            total: currency.major(bill.total),
        }
    }
}
