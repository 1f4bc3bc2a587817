//! `authsome plan list|show|set`: the plans, on the platform's database itself. `set` reads what the
//! API's `PUT /control/v1/admin/plans/{plan}` takes, and what `show --json` writes, so that a plan can
//! be written to a file, edited, and set again. A running control plane moves workspaces, where that is
//! asked for, within half a minute.
//!
//! A plan that can't be is refused with every rule that it breaks, and nothing is changed; exit code
//! 1.

use std::path::PathBuf;

use anyhow::{Context, bail};
use authsome_control_plane::app::App;
use authsome_control_plane::billing::money::{Currency, MICROS, quantity};
use authsome_control_plane::http::control::{LimitsBody, PlanBody, VersionBody};
use authsome_control_plane::page::PageParams;
use authsome_control_plane::workspaces::VersionOf;
use authsome_control_plane::workspaces::admin::{self, By, Existing};
use authsome_control_plane::workspaces::plan::{
    self, Allowance, Limits, Plan, Strictness, Tier, Version,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::database::{Platform, print_table, whole};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    platform: Platform,
    /// For scripts: JSON, as the API writes it.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say which plans there are.
    List,
    /// Say what a plan includes and costs.
    Show {
        plan: Name,
        /// Another version than the current one.
        #[arg(long, value_name = "N")]
        version: Option<i64>,
    },
    /// Give a plan another version.
    Set {
        plan: Name,
        /// What it includes and costs (JSON).
        file: PathBuf,
        /// What becomes of those who have an older version.
        #[arg(long, value_enum, default_value = "keep")]
        existing: Fate,
        /// Agreed with particular workspaces: not for new subscriptions.
        #[arg(long)]
        private: bool,
        /// For the platform's admins.
        #[arg(long, default_value = "")]
        note: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Free,
    Pro,
    Enterprise,
}

impl From<Name> for Plan {
    fn from(name: Name) -> Self {
        match name {
            Name::Free => Self::Free,
            Name::Pro => Self::Pro,
            Name::Enterprise => Self::Enterprise,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fate {
    /// They keep it.
    Keep,
    /// They have the new one from now on; the month is prorated.
    MoveNow,
    /// They have it from the end of the month.
    MoveAtPeriodEnd,
}

/// What a plan says of itself besides its terms.
const TOLD: [&str; 6] = ["version", "private", "note", "createdAt", "current", "workspaces"];

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let json = arguments.json;
    match &arguments.action {
        Action::List => arguments.platform.with(async |app| list(app, json).await),
        Action::Show { plan, version } => {
            let plan = (*plan).into();
            arguments.platform.with(async |app| show(app, plan, *version, json).await)
        }
        Action::Set { plan, file, existing, private, note } => {
            let plan = (*plan).into();
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("reading {}", file.display()))?;
            let limits = read(plan, &text).with_context(|| format!("in {}", file.display()))?;
            let existing = match existing {
                Fate::Keep => Existing::Keep,
                Fate::MoveNow => Existing::MoveNow,
                Fate::MoveAtPeriodEnd => Existing::MoveAtPeriodEnd,
            };
            let how = (*private, note.as_str());
            arguments.platform.with(async |app| set(app, plan, &limits, how, existing, json).await)
        }
    }
}

/// The terms in a file, without what a plan says of itself besides.
fn read(plan: Plan, text: &str) -> anyhow::Result<Limits> {
    let mut value: Value = serde_json::from_str(text)?;
    if let Some(body) = value.as_object_mut() {
        if let Some(name) = body.remove("name").filter(|name| *name != json!(plan)) {
            bail!("it is of another plan: {name}");
        }
        for told in TOLD {
            body.remove(told);
        }
    }
    Ok(serde_json::from_value::<LimitsBody>(value)?.into())
}

async fn list(app: &App, as_json: bool) -> anyhow::Result<()> {
    let mut tx = app.db.read().await?;
    let all = PageParams { page: 1, page_size: 100 };
    let versions = plan::list(&mut tx, all).await?.data;
    if as_json {
        let bodies: Vec<PlanBody> = versions.into_iter().map(PlanBody::new).collect();
        println!("{}", serde_json::to_string_pretty(&bodies)?);
        return Ok(());
    }
    let currency = &app.config.billing.currency;
    let mut rows = vec![];
    for version in versions {
        let workspaces = plan::workspaces_on(&mut tx, version.of()).await?;
        let limits = &version.limits.0;
        rows.push(vec![
            version.plan.as_str().to_owned(),
            version.version.to_string(),
            currency.format(limits.fee_minor),
            units(limits.active_users.included),
            limits.applications.map_or_else(unlimited, units),
            workspaces.to_string(),
        ]);
    }
    print_table(&["PLAN", "VERSION", "FEE", "USERS", "APPLICATIONS", "WORKSPACES"], &rows);
    Ok(())
}

async fn show(app: &App, plan: Plan, version: Option<i64>, as_json: bool) -> anyhow::Result<()> {
    let mut tx = app.db.read().await?;
    let current = plan::current(&mut tx, plan).await?;
    let number = version.unwrap_or(current.version);
    let of = VersionOf { plan, version: number };
    let found = plan::version_of(&mut tx, of).await;
    let found = found.with_context(|| format!("version {number} of the {} plan", plan.as_str()))?;
    let workspaces = plan::workspaces_on(&mut tx, of).await?;
    let is_current = number == current.version;
    if as_json {
        let body = VersionBody::new(found, is_current, workspaces);
        println!("{}", serde_json::to_string_pretty(&body)?);
        return Ok(());
    }
    print(&app.config.billing.currency, &found, is_current, workspaces);
    let versions = plan::versions(&mut tx, plan, PageParams { page: 1, page_size: 100 }).await?;
    for (other, workspaces) in versions.data.iter().filter(|(it, _)| it.version != number) {
        println!("There is version {} too, with {workspaces} workspaces.", other.version);
    }
    Ok(())
}

async fn set(
    app: &App,
    plan: Plan,
    limits: &Limits,
    how: (bool, &str),
    existing: Existing,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut tx = app.db.write().await?;
    let added = admin::publish_version(&mut tx, &By::CommandLine, plan, limits, how, existing);
    let added = added.await.map_err(whole)?;
    tx.commit().await?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&PlanBody::new(added))?);
        return Ok(());
    }
    let (name, number) = (plan.as_str(), added.version);
    println!("The {name} plan has version {number} now.");
    match existing {
        Existing::Keep => println!("Those who have another version keep it."),
        Existing::MoveNow => println!("Everybody else of the plan is being moved to it."),
        Existing::MoveAtPeriodEnd => {
            println!("Everybody else of the plan has it from the end of the month.");
        }
    }
    Ok(())
}

fn print(currency: &Currency, version: &Version, is_current: bool, workspaces: i64) {
    let limits = &version.limits.0;
    let what = match (is_current, version.private) {
        (true, _) => " (current)",
        (false, true) => " (private)",
        (false, false) => "",
    };
    println!("{} plan, version {}{what}", version.plan.label(), version.version);
    let line = |name: &str, text: String| println!("  {name:13} {text}");
    line("workspaces", workspaces.to_string());
    if !version.note.is_empty() {
        line("note", version.note.clone());
    }
    line("fee", format!("{} a month", currency.format(limits.fee_minor)));
    line("applications", limits.applications.map_or_else(unlimited, units));
    let beyond = match (limits.requests_per_month, limits.requests_limit) {
        (None, _) => "",
        (_, Strictness::Hard) => ", more are refused",
        (_, Strictness::Soft) => ", more are served",
    };
    let requests = limits.requests_per_month.map_or_else(unlimited, units);
    line("requests", format!("{requests} a month{beyond}"));
    let rate = &limits.rate_limit;
    let (most, window) = (rate.requests, rate.window_ms);
    line("rate limit", format!("{most} in {window} ms per key, bursts of {}", rate.burst));
    let api = limits
        .api
        .as_ref()
        .map(|api| format!("{} a minute, {} a day", units(api.per_minute), units(api.per_day)));
    line("API", api.unwrap_or_else(unlimited));
    for (item, allowance) in limits.items() {
        let name = match item.as_str() {
            "mau" => "active users",
            "storage" => "storage, GB",
            "bandwidth" => "bandwidth, GB",
            "requests" => "request price",
            meter => meter,
        };
        line(name, priced(currency, allowance));
    }
}

/// `10,000 included, then $0.02 up to 100,000, $0.015 beyond`.
fn priced(currency: &Currency, allowance: &Allowance) -> String {
    let included = format!("{} included", units(allowance.included));
    let tier = |tier: &Tier| {
        let once = match tier.flat_minor {
            0 => String::new(),
            flat => format!(" and {} once", currency.format(flat)),
        };
        let to = tier.up_to.map_or("beyond".to_owned(), |to| format!("up to {}", units(to)));
        format!("{}{once} {to}", currency.format_micros(tier.unit_micros))
    };
    let tiers: Vec<String> = allowance.tiers.iter().map(tier).collect();
    if tiers.is_empty() { included } else { format!("{included}, then {}", tiers.join(", ")) }
}

fn units(number: u64) -> String {
    quantity(i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(MICROS))
}

fn unlimited() -> String {
    "unlimited".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_was_written_can_be_read_again() {
        let terms = json!({
            "name": "pro", "version": 3, "private": false, "note": "", "current": true,
            "workspaces": 7, "createdAt": "2026-01-15T09:30:00Z",
            "feeMinor": 2_500, "applications": null, "requestsPerMonth": null, "api": null,
            "rateLimit": { "requests": 1 }, "storageGb": { "included": 0, "tiers": [] },
            "activeUsers": { "included": 10_000, "tiers": [
                { "upTo": 100_000, "unitMicros": 20_000 }, { "upTo": null, "unitMicros": 15_000 },
            ] },
        });
        let limits = read(Plan::Pro, &terms.to_string()).unwrap();
        assert_eq!(
            priced(&Currency::default(), &limits.active_users),
            "10,000 included, then $0.02 up to 100,000, $0.015 beyond"
        );
        assert!(read(Plan::Free, &terms.to_string()).is_err(), "of another plan");
        for bad in ["[]", "{}", "x", r#"{"feeMinor": 1, "fee": 2}"#] {
            assert!(read(Plan::Pro, bad).is_err(), "{bad}");
        }
    }
}
