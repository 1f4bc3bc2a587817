//! Stripe, the collector, behind the one seam that the rest of billing sees: bring an invoice to
//! Stripe and have it paid ([`collect`]), take up what Stripe tells ([`event`]), say what Stripe has
//! of our invoices ([`compare`]), and keep a workspace's card (`billing::payment_method`).
//!
//! Our figures are the truth: Stripe is told lines and sums, computes nothing, and is asked whether
//! its total is ours to the unit. No call is made inside of a transaction; what a call is about to
//! do is noted before it ([`attempt`]), so that one whose answer is lost is found again.

mod attempt;
pub mod client;
pub mod collect;
pub mod collection;
pub mod compare;
pub mod customer;
pub mod event;
mod follow;
mod lines;
pub mod object;
mod signature;
pub mod tax_rate;

use authsome_shared::secret::Secret;

use crate::config;
use crate::error::{Error, Result};
pub use client::{Client, Failure};

/// The settings in use, with a client.
#[derive(Debug)]
pub struct Stripe {
    pub client: Client,
    pub webhook_secret: Secret<String>,
    /// How old a webhook may be, in seconds; how far ahead of our clock, too.
    pub tolerance_seconds: i64,
    pub publishable_key: Option<String>,
}

impl Stripe {
    /// `None` when there is no secret key: then the platform collects by itself.
    pub fn new(settings: &config::Stripe) -> anyhow::Result<Option<Self>> {
        if !settings.is_configured() {
            return Ok(None);
        }
        let publishable_key = settings.publishable_key.clone();
        Ok(Some(Self {
            client: Client::new(settings)?,
            webhook_secret: settings.webhook_secret.clone(),
            tolerance_seconds: settings.webhook_tolerance_seconds.into(),
            publishable_key: Some(publishable_key).filter(|key| !key.is_empty()),
        }))
    }
}

/// The collector, where there is one.
pub fn configured(stripe: Option<&Stripe>) -> Result<&Stripe> {
    stripe.ok_or(Error::PaymentsNotConfigured)
}
