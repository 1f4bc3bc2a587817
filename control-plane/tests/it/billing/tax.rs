//! Stripe's tax rates on our invoices.

use serde_json::json;
use stripe_stand_in::{Fault, Kind};

use super::{invoice, turn_to};
use crate::support::Collecting;

fn rate(it: &Collecting, name: &str, percentage: &str, country: Option<&str>, inclusive: &str) {
    let mut form = json!({
        "display_name": name, "percentage": percentage, "inclusive": inclusive,
    });
    if let Some(country) = country {
        form["country"] = json!(country);
    }
    it.stripe.call("POST", "tax_rates", &form);
}

async fn taxed(it: &Collecting, country: &str) -> Vec<(String, i64)> {
    let (owner, workspace) = it.owner().await;
    let path = format!("/control/v1/workspaces/{workspace}/billing-details");
    let details = json!({ "address": {
        "line1": "1 Street", "city": "Town", "postalCode": "12345", "country": country,
    } });
    owner.put(&path, details).await.is(200);
    turn_to(&it.app, "2026-04-01T01:00:00Z");
    it.app.housekeeping().await;
    it.app.bill().await;
    let (issued, lines) = invoice(&it.app, &workspace.parse().unwrap()).await;
    let taxes: Vec<(String, i64)> = lines
        .into_iter()
        .filter(|line| line.item.starts_with("tax:"))
        .map(|line| (line.description, line.amount))
        .collect();
    assert_eq!(issued.tax, taxes.iter().map(|(_, amount)| amount).sum::<i64>());
    taxes
}

#[tokio::test]
async fn the_rates_of_the_customers_country_are_put_on_top_exactly() {
    let it = Collecting::with(|config| config.billing.stripe.tax_rates = true).await;
    it.app.leave_jobs();
    rate(&it, "VAT", "19", Some("DE"), "false");
    rate(&it, "TVA", "20", Some("FR"), "false");
    rate(&it, "Levy", "8.875", None, "false");
    rate(&it, "Included", "7", Some("DE"), "true");
    let taxes = taxed(&it, "DE").await;
    let said = |name: &str, amount| (name.to_owned(), amount);
    // 221.875 cents are 222.
    assert_eq!(taxes, [said("Levy 8.875 %", 222), said("VAT 19 %", 475)]);
}

#[tokio::test]
async fn nothing_is_invoiced_before_the_rates_were_read_and_an_outage_leaves_those_that_were() {
    let it = Collecting::with(|config| config.billing.stripe.tax_rates = true).await;
    it.app.leave_jobs();
    let (_, workspace) = it.owner().await;
    turn_to(&it.app, "2026-04-01T02:00:00Z");
    it.app.bill().await;
    let none = "select count(*) from invoices";
    assert_eq!(it.app.number(none).await, 0, "its tax is not known");
    rate(&it, "VAT", "19", None, "false");
    it.app.housekeeping().await;
    it.stripe.fail(Fault::outage(Kind::Status(500)));
    it.app.housekeeping().await;
    it.app.bill().await;
    let (issued, _) = invoice(&it.app, &workspace.parse().unwrap()).await;
    assert_eq!((issued.tax, issued.total), (475, 2_975));
}
