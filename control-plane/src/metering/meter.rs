//! Meters: what the operator counts besides what the proxies see. A meter says how the events of a
//! month make one figure (`aggregation`); that never changes, because past months rest on it. What
//! comes in is for `event`, what it adds up to for `total`, numbers of a sender for `quantity`.

mod aggregation;
pub mod event;
pub mod quantity;
mod total;

use authsome_shared::code::Code;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::actor::PlatformAccess;
use crate::db::{Tx, is_unique_violation};
use crate::error::{Checks, Error, Result};
use crate::page::{Page, PageParams};
use crate::workspaces::plan::is_meter_name;
use crate::{execute, fetch_all, fetch_one, fetch_optional};
pub use aggregation::Aggregation;
pub use total::{Used, of, used};

const NOT_FOUND: Error = Error::NotFound("meter");

const NAME_RULE: &str = "`name` must have 1 to 63 lower-case letters, digits and underscores";

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Meter {
    /// What plans, events and invoices call it.
    pub name: String,
    /// For people.
    pub label: String,
    /// Of what one is counted, such as `GPU hour`.
    pub unit: String,
    pub aggregation: Aggregation,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Takes no more events since then.
    pub archived_at: Option<DateTime<Utc>>,
}

impl Meter {
    fn audited(&self) -> Value {
        json!({
            "label": self.label, "unit": self.unit, "aggregation": self.aggregation,
            "archivedAt": self.archived_at,
        })
    }
}

/// A meter to be defined.
#[derive(Debug)]
pub struct NewMeter {
    pub name: String,
    pub label: String,
    pub unit: String,
    pub aggregation: Aggregation,
}

/// What a change leaves alone is `None`.
#[derive(Debug, Default)]
pub struct MeterChange {
    pub label: Option<String>,
    pub unit: Option<String>,
    pub archived: Option<bool>,
}

/// Defines a meter.
pub async fn create(tx: &mut Tx, access: &PlatformAccess, new: NewMeter) -> Result<Meter> {
    let mut checks = Checks::default();
    checks.check(is_meter_name(&new.name), "name", NAME_RULE);
    checks.name("label", &new.label).name("unit", &new.unit);
    checks.finish()?;
    let now = tx.now();
    let meter = Meter {
        name: new.name,
        label: new.label.trim().to_owned(),
        unit: new.unit.trim().to_owned(),
        aggregation: new.aggregation,
        created_at: now,
        updated_at: now,
        archived_at: None,
    };
    let inserted = execute!(
        tx,
        sqlx::query(
            "insert into meters (name, label, unit, aggregation, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6)"
        )
        .bind(&meter.name)
        .bind(&meter.label)
        .bind(&meter.unit)
        .bind(meter.aggregation)
        .bind(meter.created_at)
        .bind(meter.updated_at)
    );
    match inserted {
        Err(error) if is_unique_violation(&error) => {
            let message = format!("There is a meter `{}` already", meter.name);
            return Err(Error::Conflict(Code::AlreadyExists, message));
        }
        other => other?,
    };
    tx.audit(access.audit("meter.created").on("meter", &meter.name).after(meter.audited()));
    Ok(meter)
}

/// All meters by their names, archived ones too.
pub async fn list(tx: &mut Tx, _: &PlatformAccess, page: PageParams) -> Result<Page<Meter>> {
    let (total,): (i64,) = fetch_one!(tx, sqlx::query_as("select count(*) from meters"))?;
    let rows = fetch_all!(
        tx,
        sqlx::query_as("select * from meters order by name limit $1 offset $2")
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

pub async fn get(tx: &mut Tx, name: &str) -> Result<Meter> {
    let row =
        fetch_optional!(tx, sqlx::query_as("select * from meters where name = $1").bind(name))?;
    row.ok_or(NOT_FOUND)
}

/// Names it anew, archives it, or has it take events again.
pub async fn change(
    tx: &mut Tx,
    access: &PlatformAccess,
    name: &str,
    change: MeterChange,
) -> Result<Meter> {
    let mut meter = get(tx, name).await?;
    let before = meter.audited();
    let mut checks = Checks::default();
    if let Some(label) = change.label {
        checks.name("label", &label);
        label.trim().clone_into(&mut meter.label);
    }
    if let Some(unit) = change.unit {
        checks.name("unit", &unit);
        unit.trim().clone_into(&mut meter.unit);
    }
    checks.finish()?;
    let now = tx.now();
    match change.archived {
        Some(true) => meter.archived_at = meter.archived_at.or(Some(now)),
        Some(false) => meter.archived_at = None,
        None => {}
    }
    meter.updated_at = now;
    execute!(
        tx,
        sqlx::query(
            "update meters set label = $1, unit = $2, archived_at = $3, updated_at = $4 \
             where name = $5"
        )
        .bind(&meter.label)
        .bind(&meter.unit)
        .bind(meter.archived_at)
        .bind(meter.updated_at)
        .bind(&meter.name)
    )?;
    let entry = access.audit("meter.updated").on("meter", &meter.name);
    tx.audit(entry.change(before, meter.audited()));
    Ok(meter)
}
