//! Whether a month adds up, from the ledger to the invoice, to the unit: every figure is added up
//! again by another way than it was made, and every difference is named. It mends nothing. What the
//! payment provider has of the invoices is compared by `stripe::compare`.

use std::collections::{BTreeMap, BTreeSet};

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, TimeDelta, Utc};

use super::closing::{self, Closed};
use super::credit;
use super::invoice::{Invoice, Status, StoredLine, store};
use super::month;
use super::price::Kind;
use super::stripe::compare;
use crate::app::App;
use crate::config::Billing;
use crate::db::Tx;
use crate::error::Result;
use crate::metering::reconciliation::{self as ledger, Sums};
use crate::period::Period;
use crate::workspaces::subscription;
use crate::{fetch_all, fetch_one};

/// How long after a month's end it may still be open.
const PATIENCE: TimeDelta = TimeDelta::hours(1);

/// Two figures that should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What was compared, such as `mau.counted`: stable, for scripts.
    pub what: String,
    /// By the way it was made.
    pub stated: i64,
    /// By the other way.
    pub found: i64,
    /// For people.
    pub message: String,
}

/// An item of the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub item: String,
    /// In millionths, as counted now; `None` for what is not counted.
    pub quantity: Option<i64>,
    /// What that costs, in minor units.
    pub price: i64,
    /// What it was charged by so far; `None` before the month is closed.
    pub charged: Option<i64>,
    /// Of it, on the month's invoice.
    pub invoiced: i64,
    /// Of it, charged or credited later.
    pub adjusted: i64,
}

/// A month, added up.
#[derive(Debug)]
pub struct Report {
    pub workspace_id: WorkspaceId,
    pub period: Period,
    pub sums: Sums,
    /// End users as they are billed, and counted again one by one.
    pub users: (i64, i64),
    pub items: Vec<Item>,
    pub invoice: Option<Invoice>,
    pub closed_at: Option<DateTime<Utc>>,
    pub differences: Vec<Difference>,
}

/// Adds a workspace's month up. What was counted by the minute before `kept_since` may be gone.
pub async fn of(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &WorkspaceId,
    period: Period,
    kept_since: DateTime<Utc>,
) -> Result<Report> {
    let mut found = Found::default();
    let sums = ledger::sums(tx, workspace, period, kept_since).await?;
    for (what, sum) in [
        ("applications", Some(sums.applications)),
        ("keys", Some(sums.keys)),
        ("minutes", sums.minutes),
    ] {
        if let Some(sum) = sum {
            found.compare(format!("requests.{what}"), sums.workspace, sum, "request units");
        }
    }
    let users = users(tx, workspace, period).await?;
    found.compare("mau.counted".into(), users.0, users.1, "active users");

    let month = month::of(tx, settings, workspace, period).await?;
    let prices = closing::amounts(&month.bill(settings, vec![]));
    let closed = closing::closed(tx, workspace, period).await?;
    let invoice = store::of_period(tx, workspace, &period.to_string()).await?;
    let lines = match &invoice {
        Some(invoice) => store::lines(tx, &invoice.id).await?,
        None => vec![],
    };
    let adjusted: BTreeMap<String, i64> =
        store::adjusted(tx, workspace, &period.to_string()).await?.into_iter().collect();
    let items = items(&month.quantities, &prices, closed.as_ref(), &lines, &adjusted);
    if let Some(closed) = &closed {
        let is_void = invoice.as_ref().is_some_and(|invoice| invoice.status == Status::Void);
        for item in items.iter().filter(|_| !is_void) {
            let charged = item.charged.unwrap_or_default();
            let name = &item.item;
            found.compare(format!("{name}.price"), charged, item.price, "charged by usage");
            let sum = item.invoiced + item.adjusted;
            found.compare(format!("{name}.invoiced"), charged, sum, "on invoices");
        }
        quantities(&mut found, closed, &month.quantities);
    } else {
        let over = subscription::segments(tx, workspace, period.start(), period.end()).await?;
        if !over.is_empty() && period.end() + PATIENCE < tx.now() {
            found.compare("period.closed".into(), 0, 1, "months closed");
        }
    }
    if let Some(invoice) = &invoice {
        sums_of_invoice(tx, &mut found, invoice, &lines).await?;
    }
    Ok(Report {
        workspace_id: workspace.clone(),
        period,
        sums,
        users,
        items,
        invoice,
        closed_at: closed.map(|closed| closed.closed_at),
        differences: found.0,
    })
}

fn items(
    quantities: &BTreeMap<String, i64>,
    prices: &BTreeMap<String, i64>,
    closed: Option<&Closed>,
    lines: &[StoredLine],
    adjusted: &BTreeMap<String, i64>,
) -> Vec<Item> {
    let mut invoiced: BTreeMap<&str, i64> = BTreeMap::new();
    for line in lines {
        if matches!(line.kind, Kind::Fee | Kind::Usage | Kind::Discount) {
            *invoiced.entry(&line.item).or_default() += line.amount;
        }
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    names.extend(quantities.keys().chain(prices.keys()).chain(adjusted.keys()).map(String::as_str));
    names.extend(invoiced.keys().copied());
    names.extend(closed.iter().flat_map(|closed| closed.amounts.keys()).map(String::as_str));
    let of = |amounts: &BTreeMap<String, i64>, name: &str| {
        amounts.get(name).copied().unwrap_or_default()
    };
    names
        .into_iter()
        .map(|name| Item {
            item: name.to_owned(),
            quantity: quantities.get(name).copied(),
            price: of(prices, name),
            charged: closed.map(|closed| of(&closed.amounts, name)),
            invoiced: invoiced.get(name).copied().unwrap_or_default(),
            adjusted: of(adjusted, name),
        })
        .collect()
}

/// What was counted when the month was last charged, against now: late usage that waits.
fn quantities(found: &mut Found, closed: &Closed, now: &BTreeMap<String, i64>) {
    let names: BTreeSet<&String> = closed.quantities.keys().chain(now.keys()).collect();
    for name in names {
        let of = |amounts: &BTreeMap<String, i64>| amounts.get(name).copied().unwrap_or_default();
        let (stated, counted) = (of(&closed.quantities), of(now));
        found.compare(format!("{name}.quantity"), stated, counted, "millionths of a unit");
    }
}

async fn sums_of_invoice(
    tx: &mut Tx,
    found: &mut Found,
    invoice: &Invoice,
    lines: &[StoredLine],
) -> Result<()> {
    let sum = |kinds: &[Kind]| -> i64 {
        lines.iter().filter(|line| kinds.contains(&line.kind)).map(|line| line.amount).sum()
    };
    let own = sum(&[Kind::Fee, Kind::Usage, Kind::Adjustment]);
    found.compare("invoice.subtotal".into(), invoice.subtotal, own, "of its lines");
    found.compare("invoice.discount".into(), -invoice.discount, sum(&[Kind::Discount]), "lines");
    found.compare("invoice.tax".into(), invoice.tax, sum(&[Kind::Tax]), "of its lines");
    let all: i64 = lines.iter().map(|line| line.amount).sum();
    found.compare("invoice.total".into(), invoice.total, all, "of its lines");
    if invoice.status == Status::Draft {
        return Ok(());
    }
    let due = invoice.total - invoice.balance_applied - invoice.credited;
    found.compare("invoice.due".into(), invoice.amount_due, due, "less balance and credits");
    let notes = credit::of_invoice(tx, &invoice.id).await?;
    let off: i64 = notes.iter().map(|note| note.amount - note.to_balance).sum();
    found.compare("invoice.credited".into(), invoice.credited, off, "of credit notes");
    let taken = store::taken(tx, &invoice.id).await?;
    let adjustments = sum(&[Kind::Adjustment]);
    found.compare("invoice.adjustments".into(), adjustments, taken, "that waited for it");
    Ok(())
}

/// The exact count that is billed, and the same people counted one by one.
async fn users(tx: &mut Tx, workspace: &WorkspaceId, period: Period) -> Result<(i64, i64)> {
    let name = period.to_string();
    let stated = crate::metering::quantities::active_users(tx, workspace, &name).await?;
    let (counted,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(distinct end_user) from usage_users \
             where workspace_id = $1 and period = $2"
        )
        .bind(workspace)
        .bind(&name)
    )?;
    Ok((stated, counted))
}

#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn compare(&mut self, what: String, stated: i64, found: i64, of: &str) {
        if stated != found {
            let message = format!("{what}: {stated} stated, {found} found ({of})");
            self.0.push(Difference { what, stated, found, message });
        }
    }
}

/// Every workspace that has something in a month, of whatever state.
pub async fn workspaces(tx: &mut Tx, period: Period) -> Result<Vec<WorkspaceId>> {
    let rows: Vec<(WorkspaceId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select workspace_id from usage_totals where period = $1 \
             union select workspace_id from closed_periods where period = $1 \
             union select workspace_id from invoices where period = $1 \
             union select workspace_id from subscription_segments \
             where starts_at < $3 and (ends_at is null or ends_at > $2) order by 1"
        )
        .bind(period.to_string())
        .bind(period.start())
        .bind(period.end())
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The series of numbers: each that was given is on one document.
pub async fn numbers(tx: &mut Tx, settings: &Billing) -> Result<Vec<Difference>> {
    let mut found = Found::default();
    for (prefix, of) in [
        (&settings.invoice_prefix, "select count(*) from invoices where number like $1"),
        (&settings.credit_note_prefix, "select count(*) from credit_notes where number like $1"),
    ] {
        let like = format!("{}%", prefix.replace('_', "\\_"));
        let (given,): (i64,) = fetch_one!(
            tx,
            sqlx::query_as("select coalesce(max(last), 0) from number_series where name = $1")
                .bind(prefix)
        )?;
        let (documents,): (i64,) = fetch_one!(tx, sqlx::query_as(of).bind(&like))?;
        found.compare(format!("numbers.{prefix}"), given, documents, "documents");
    }
    Ok(found.0)
}

/// Every workspace's month, or one's.
pub async fn of_platform(
    app: &App,
    period: Period,
    only: Option<&WorkspaceId>,
) -> Result<Vec<Report>> {
    let mut tx = app.db.read().await?;
    let kept_since = kept_since(app, tx.now());
    let all = match only {
        Some(id) => vec![id.clone()],
        None => workspaces(&mut tx, period).await?,
    };
    let mut reports = Vec::new();
    for id in all {
        reports.push(of(&mut tx, &app.config.billing, &id, period, kept_since).await?);
    }
    drop(tx);
    for (workspace, difference) in compare::of_month(app, only, period).await {
        let report = match &workspace {
            Some(id) => reports.iter_mut().find(|report| report.workspace_id == *id),
            None => reports.first_mut(),
        };
        if let Some(report) = report {
            report.differences.push(difference);
        }
    }
    Ok(reports)
}

/// Since when usage by the minute or the hour is kept.
pub fn kept_since(app: &App, now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::days(app.config.metering.keep_hours_days.into())
}
