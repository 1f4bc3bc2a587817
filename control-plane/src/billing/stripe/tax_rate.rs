//! Stripe's tax rates, where the settings say that they are put on invoices: read every hour and
//! kept (`billing::tax`), so that invoices need no call. Rates that prices include, and those that
//! are no percentage, are not taken up, and the log says so. What can't be read leaves what was.

use serde::Deserialize;
use serde_json::Number;

use super::client::Form;
use super::object::HasId;
use super::{Stripe, client};
use crate::app::App;
use crate::billing::bill::parse_percent;
use crate::billing::tax::{self, Rate};
use crate::error::Result;

#[derive(Debug, Deserialize)]
struct Theirs {
    id: String,
    display_name: String,
    percentage: Number,
    country: Option<String>,
    inclusive: bool,
    rate_type: Option<String>,
}

impl HasId for Theirs {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Reads them, if they are asked for. Makes calls: no transaction may be open.
pub async fn read(app: &App) -> Result<()> {
    let Ok(stripe) = app.stripe() else { return Ok(()) };
    if !app.config.billing.stripe.tax_rates {
        return Ok(());
    }
    let rates = active(stripe).await?;
    let mut tx = app.db.write().await?;
    tax::replace(&mut tx, &rates).await?;
    Ok(tx.commit().await?)
}

async fn active(stripe: &Stripe) -> Result<Vec<Rate>, client::Failure> {
    let form = Form::new().with("active", true);
    let theirs = stripe.client.find("tax_rates", &form, |_: &Theirs| true).await?;
    Ok(theirs.into_iter().filter_map(taken_up).collect())
}

fn taken_up(theirs: Theirs) -> Option<Rate> {
    let percent = theirs.percentage.to_string();
    let percent = percent.strip_suffix(".0").unwrap_or(&percent);
    let rate_micros = parse_percent(percent);
    let flat = theirs.rate_type.as_deref().is_some_and(|kind| kind != "percentage");
    let (Some(rate_micros), false, false) = (rate_micros, theirs.inclusive, flat) else {
        tracing::warn!(rate = theirs.id, percent, "a tax rate of Stripe's can't be put on top");
        return None;
    };
    let Theirs { id, display_name: name, country, .. } = theirs;
    Some(Rate { id, name, rate_micros, country })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentages_are_taken_up_exactly_and_what_prices_include_is_not() {
        for (percentage, inclusive, kind, micros) in [
            (json!(19), false, json!(null), Some(190_000)),
            (json!(19.0), false, json!("percentage"), Some(190_000)),
            (json!(8.875), false, json!("percentage"), Some(88_750)),
            (json!(0), false, json!(null), Some(0)),
            (json!(19), true, json!(null), None),
            (json!(0), false, json!("flat_amount"), None),
            (json!(8.87512), false, json!(null), None),
        ] {
            let theirs = json!({
                "id": "txr_1", "display_name": "VAT", "percentage": percentage, "country": "DE",
                "inclusive": inclusive, "rate_type": kind,
            });
            let rate = taken_up(serde_json::from_value(theirs.clone()).unwrap());
            assert_eq!(rate.map(|rate| rate.rate_micros), micros, "{theirs}");
        }
    }
}
