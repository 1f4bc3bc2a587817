//! What a month's invoice comes to as things stand: what has been used so far, with what holds now
//! held to the month's end, and what waits to be charged with it.

use super::bill::Bill;
use super::closing;
use super::month::{self, Month};
use super::price::{Kind, Line};
use crate::actor::Access;
use crate::config::Billing;
use crate::db::Tx;
use crate::error::Result;
use crate::period::Period;

/// A month and its bill.
#[derive(Debug, Clone)]
pub struct Estimate {
    pub month: Month,
    pub bill: Bill,
}

impl Estimate {
    /// What the month's own usage of an item costs, in minor units; what is late of earlier months,
    /// discounts and taxes apart.
    pub fn cost(&self, item: &str) -> i64 {
        let own = |line: &&Line| line.item == item && line.kind != Kind::Adjustment;
        let lines = self.bill.lines.iter().filter(own);
        lines.map(|line| line.amount).sum()
    }
}

pub async fn of(
    tx: &mut Tx,
    settings: &Billing,
    access: &Access,
    period: Period,
) -> Result<Estimate> {
    let workspace = access.workspace_id();
    let month = month::of(tx, settings, workspace, period).await?;
    // What waits goes with the next invoice, which is this month's.
    let waiting = if period == Period::containing(tx.now()) {
        closing::adjustments(tx, workspace, period).await?
    } else {
        vec![]
    };
    let bill = month.bill(settings, waiting);
    Ok(Estimate { month, bill })
}
