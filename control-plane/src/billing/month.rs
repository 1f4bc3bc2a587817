//! What a workspace's month is priced by: the terms that held, what was counted, the coupons and the
//! taxes. Reads only; the price is made by `price` and `bill`.

use std::collections::BTreeMap;

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};

use super::bill::{Bill, Discount, Tax};
use super::coupon;
use super::party;
use super::price::{self, Line, Quantities, Span};
use super::tax;
use crate::config::Billing;
use crate::db::Tx;
use crate::error::Result;
use crate::metering::{meter, quantities};
use crate::period::Period;
use crate::workspaces::subscription::{self, Segment};

/// A month, gathered.
#[derive(Debug, Clone)]
pub struct Month {
    pub period: Period,
    pub spans: Vec<Span>,
    pub quantities: Quantities,
    /// What the operator calls the meters that were counted, by item.
    pub labels: BTreeMap<String, String>,
    pub discounts: Vec<Discount>,
    /// `None`: not known yet, so that nothing can be invoiced.
    pub taxes: Option<Vec<Tax>>,
}

impl Month {
    /// The fee and usage.
    pub fn lines(&self, settings: &Billing) -> Vec<Line> {
        let month = (self.period.start(), self.period.end());
        let mut lines = price::lines(&settings.currency, month, &self.spans, &self.quantities);
        for line in &mut lines {
            if let Some(label) = self.labels.get(&line.item) {
                let plain = price::label(&line.item);
                line.description = line.description.replacen(&plain, label, 1);
            }
        }
        lines
    }

    /// What an item is called on an invoice.
    pub fn label(&self, item: &str) -> String {
        self.labels.get(item).cloned().unwrap_or_else(|| price::label(item))
    }

    /// With what else is charged in it.
    pub fn bill(&self, settings: &Billing, adjustments: Vec<Line>) -> Bill {
        let month = (self.period.start(), self.period.end());
        let own = self.lines(settings);
        let taxes = self.taxes.as_deref().unwrap_or_default();
        Bill::of(&settings.currency, own, adjustments, &self.discounts, taxes, month)
    }
}

/// Gathers a month. One that is not over is taken as if what holds now held to its end, less the
/// change that is planned for its end, which is of the next.
pub async fn of(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &WorkspaceId,
    period: Period,
) -> Result<Month> {
    let segments = subscription::segments(tx, workspace, period.start(), period.end()).await?;
    let quantities = quantities::of(tx, workspace, period).await?;
    with(tx, settings, workspace, period, &segments, quantities).await
}

/// The month as it would be with these segments and quantities.
pub async fn with(
    tx: &mut Tx,
    settings: &Billing,
    workspace: &WorkspaceId,
    period: Period,
    segments: &[Segment],
    quantities: Quantities,
) -> Result<Month> {
    let began = subscription::began(tx, workspace).await?;
    let whole_from_the_start =
        began.filter(|_| !settings.prorate_first_month).is_some_and(|began| began > period.start());
    let customer = party::profile(tx, workspace).await?;
    let taxes = tax::of(tx, settings, &customer).await?;
    let meters = meter::used(tx, workspace, period).await?;
    let labels = meters
        .into_iter()
        .map(|used| (format!("meter:{}", used.meter.name), used.meter.label))
        .collect();
    Ok(Month {
        period,
        spans: spans(segments, period, whole_from_the_start),
        quantities,
        labels,
        discounts: coupon::of(tx, workspace, period, segments).await?,
        taxes,
    })
}

/// The segments' parts in the month; what is under trial apart. The first one may count from the
/// month's beginning.
fn spans(segments: &[Segment], period: Period, whole_from_the_start: bool) -> Vec<Span> {
    let mut spans = Vec::new();
    for (i, segment) in segments.iter().enumerate() {
        let from = if i == 0 && whole_from_the_start {
            period.start()
        } else {
            segment.starts_at.max(period.start())
        };
        let to = segment.ends_at.unwrap_or(period.end()).min(period.end());
        let trial_to = segment.trial_until.unwrap_or(from).clamp(from, to.max(from));
        for (from, to, free) in [(from, trial_to, true), (trial_to, to, false)] {
            if from < to {
                spans.push(span(segment, from, to, free));
            }
        }
    }
    spans
}

fn span(segment: &Segment, from: DateTime<Utc>, to: DateTime<Utc>, free: bool) -> Span {
    let label = format!("{} plan", segment.plan.label());
    Span { from, to, label, terms: segment.terms(), free }
}
