//! Settings of Stripe, the collector. What they mean: `config/control-plane.toml`.

use anyhow::ensure;
use authsome_shared::secret::Secret;
use serde::{Deserialize, Serialize};

use super::value::check_http_url;

/// What Stripe can't be told in our minor units: currencies with three decimals are charged in tens
/// of them only, and these two are counted in hundredths that they don't have.
const REFUSED: [&str; 2] = ["ISK", "UGX"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stripe {
    pub secret_key: Secret<String>,
    pub publishable_key: String,
    pub webhook_secret: Secret<String>,
    pub webhook_tolerance_seconds: u32,
    pub api_url: String,
    pub timeout_seconds: u32,
    pub tax_rates: bool,
}

impl Default for Stripe {
    fn default() -> Self {
        Self {
            secret_key: Secret::default(),
            publishable_key: String::new(),
            webhook_secret: Secret::default(),
            webhook_tolerance_seconds: 300,
            api_url: "https://api.stripe.com".into(),
            timeout_seconds: 30,
            tax_rates: false,
        }
    }
}

impl Stripe {
    /// Is it the collector?
    pub fn is_configured(&self) -> bool {
        !self.secret_key.expose().is_empty()
    }

    /// `currency` with its number of decimals is the platform's.
    pub(super) fn validate(&self, currency: &str, decimals: u32) -> anyhow::Result<()> {
        check_http_url("billing.stripe.api_url", &self.api_url)?;
        let range = 1..=100;
        let timeout = self.timeout_seconds;
        ensure!(range.contains(&timeout), "billing.stripe.timeout_seconds must be 1 to 100");
        ensure!(
            (1..=3_600).contains(&self.webhook_tolerance_seconds),
            "billing.stripe.webhook_tolerance_seconds must be 1 to 3600"
        );
        if !self.is_configured() {
            return Ok(());
        }
        let printable = self.secret_key.expose().bytes().all(|b| b.is_ascii_graphic());
        ensure!(printable, "billing.stripe.secret_key holds characters that no key has");
        ensure!(
            !self.secret_key.expose().starts_with("pk_"),
            "billing.stripe.secret_key is a publishable key"
        );
        ensure!(
            !self.webhook_secret.expose().is_empty(),
            "billing.stripe.webhook_secret is missing: without it nobody would learn what was paid"
        );
        ensure!(
            decimals < 3 && !REFUSED.contains(&currency),
            "billing.currency {currency} can't be collected by Stripe to the unit"
        );
        Ok(())
    }
}
