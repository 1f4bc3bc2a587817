//! Settings of billing. What they mean: `config/control-plane.toml`.

use serde::{Deserialize, Serialize};

use super::Stripe;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    pub stripe: Stripe,
}

impl Billing {
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        self.stripe.validate("USD", 2)
    }
}
