//! The settings of billing.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::Stripe;
use crate::billing::bill::{Tax, parse_percent};
use crate::billing::money::Currency;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    pub currency: Currency,
    pub prorate_first_month: bool,
    pub trial_days: u32,
    pub draft_minutes: u32,
    pub due_days: u32,
    pub reminder_days: Vec<u32>,
    pub suspend_after_days: u32,
    pub invoice_prefix: String,
    pub credit_note_prefix: String,
    pub payment_instructions: String,
    pub issuer: Issuer,
    pub taxes: Vec<TaxRate>,
    pub stripe: Stripe,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            currency: Currency::default(),
            prorate_first_month: false,
            trial_days: 0,
            draft_minutes: 60,
            due_days: 7,
            reminder_days: vec![0, 3, 7],
            suspend_after_days: 14,
            invoice_prefix: "INV-".into(),
            credit_note_prefix: "CN-".into(),
            payment_instructions: String::new(),
            issuer: Issuer::default(),
            taxes: vec![],
            stripe: Stripe::default(),
        }
    }
}

/// Who sends the invoices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Issuer {
    pub name: String,
    pub email: String,
    pub line1: String,
    pub line2: String,
    pub postal_code: String,
    pub city: String,
    pub state: String,
    pub country: String,
    pub tax_id: String,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            name: "AuthSome Cloud".into(),
            email: String::new(),
            line1: String::new(),
            line2: String::new(),
            postal_code: String::new(),
            city: String::new(),
            state: String::new(),
            country: String::new(),
            tax_id: String::new(),
        }
    }
}

/// A tax that is put on invoices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaxRate {
    pub name: String,
    pub percent: String,
    pub country: String,
}

impl TaxRate {
    fn rate_micros(&self) -> Option<i64> {
        parse_percent(&self.percent)
    }
}

impl Billing {
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let days = |name: &str, days: u32| {
            ensure!(days <= 3650, "billing.{name} must be at most 3650 days");
            Ok(())
        };
        days("due_days", self.due_days)?;
        days("suspend_after_days", self.suspend_after_days)?;
        for reminder in &self.reminder_days {
            days("reminder_days", *reminder)?;
        }
        ensure!(self.trial_days <= 730, "billing.trial_days must be at most 730");
        ensure!(self.draft_minutes <= 44_640, "billing.draft_minutes must be at most 44640");
        for (name, prefix) in [
            ("invoice_prefix", &self.invoice_prefix),
            ("credit_note_prefix", &self.credit_note_prefix),
        ] {
            let fine = prefix.len() <= 20
                && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b));
            ensure!(fine, "billing.{name} must be at most 20 letters, digits and -_/");
        }
        ensure!(
            self.invoice_prefix != self.credit_note_prefix,
            "billing.invoice_prefix and billing.credit_note_prefix must differ"
        );
        for (i, tax) in self.taxes.iter().enumerate() {
            ensure!(!tax.name.trim().is_empty(), "billing.taxes[{i}].name must be given");
            tax.rate_micros().with_context(|| {
                format!(
                    "billing.taxes[{i}].percent must be 0 to 100 with at most 4 decimals, as text, \
                     not {:?}",
                    tax.percent
                )
            })?;
            let country = &tax.country;
            let fine = country.is_empty() || is_country(country);
            ensure!(fine, "billing.taxes[{i}].country must be two capital letters, or empty");
        }
        self.stripe.validate(self.currency.as_str(), self.currency.decimals())
    }

    /// The taxes on what is sold to a country; those of no country are put on everything.
    pub fn taxes_in(&self, country: Option<&str>) -> Vec<Tax> {
        self.taxes
            .iter()
            .filter(|tax| tax.country.is_empty() || Some(tax.country.as_str()) == country)
            .map(|tax| Tax {
                name: tax.name.clone(),
                rate_micros: tax.rate_micros().unwrap_or_default(),
            })
            .collect()
    }
}

/// Two capital letters (ISO 3166-1).
pub fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_exactly_or_refused() {
        for (percent, rate) in [
            ("19", Some(190_000)),
            ("8.875", Some(88_750)),
            ("0.0001", Some(1)),
            ("100", Some(1_000_000)),
            ("100.1", None),
            ("", None),
            ("-1", None),
            ("1e1", None),
            ("1.23456", None),
        ] {
            let tax = TaxRate { percent: percent.into(), ..TaxRate::default() };
            assert_eq!(tax.rate_micros(), rate, "{percent}");
        }
    }

    #[test]
    fn taxes_follow_the_customers_country() {
        let tax = |name: &str, country: &str| TaxRate {
            name: name.into(),
            percent: "10".into(),
            country: country.into(),
        };
        let billing =
            Billing { taxes: vec![tax("VAT", "DE"), tax("Levy", "")], ..Billing::default() };
        billing.validate().unwrap();
        let names = |country| -> Vec<String> {
            billing.taxes_in(country).into_iter().map(|tax| tax.name).collect()
        };
        assert_eq!(names(Some("DE")), ["VAT", "Levy"]);
        assert_eq!(names(Some("FR")), ["Levy"]);
        assert_eq!(names(None), ["Levy"]);
    }
}
