//! The taxes that are put on a workspace's invoices: of the settings, or of Stripe's active rates,
//! which `stripe::tax_rate` keeps here. Nothing is invoiced before they were read once: an invoice
//! without its tax could not be mended.

use super::bill::Tax;
use super::party::{Exemption, Profile};
use crate::config::Billing;
use crate::db::Tx;
use crate::error::Result;
use crate::{execute, fetch_all, fetch_optional};

/// A rate of Stripe's.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Rate {
    /// At Stripe.
    pub id: String,
    pub name: String,
    /// Millionths of what it is put on.
    pub rate_micros: i64,
    /// Two capital letters; `None`: everywhere.
    pub country: Option<String>,
}

/// What is put on invoices to a customer; `None` when that is not known yet.
pub async fn of(tx: &mut Tx, settings: &Billing, customer: &Profile) -> Result<Option<Vec<Tax>>> {
    if customer.tax_exempt != Exemption::None {
        return Ok(Some(vec![]));
    }
    let country = customer.address.country.as_deref();
    if !settings.stripe.is_configured() || !settings.stripe.tax_rates {
        return Ok(Some(settings.taxes_in(country)));
    }
    let read: Option<(bool,)> =
        fetch_optional!(tx, sqlx::query_as("select only_row from tax_rates_read"))?;
    if read.is_none() {
        return Ok(None);
    }
    let rates: Vec<Rate> = fetch_all!(
        tx,
        sqlx::query_as(
            "select id, name, rate_micros, country from tax_rates \
             where country is null or country = $1 order by name, id"
        )
        .bind(country)
    )?;
    let tax = |Rate { name, rate_micros, .. }| Tax { name, rate_micros };
    Ok(Some(rates.into_iter().map(tax).collect()))
}

/// Keeps what Stripe has now in the place of what it had before.
pub async fn replace(tx: &mut Tx, rates: &[Rate]) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into tax_rates_read (only_row, read_at) values (true, $1) \
             on conflict (only_row) do update set read_at = excluded.read_at"
        )
        .bind(now)
    )?;
    execute!(tx, sqlx::query("delete from tax_rates"))?;
    for rate in rates {
        execute!(
            tx,
            sqlx::query(
                "insert into tax_rates (id, name, rate_micros, country) values ($1, $2, $3, $4)"
            )
            .bind(&rate.id)
            .bind(&rate.name)
            .bind(rate.rate_micros)
            .bind(&rate.country)
        )?;
    }
    Ok(())
}
