//! Stripe's objects, as far as they concern us. A field that is not always there has a default.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    pub data: Vec<T>,
    pub has_more: bool,
}

/// What a list is paged by.
pub trait HasId {
    fn id(&self) -> &str;
}

#[derive(Debug, Clone, Deserialize)]
pub struct Customer {
    pub id: String,
    #[serde(default)]
    pub deleted: bool,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    #[serde(default)]
    pub invoice_settings: InvoiceSettings,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct InvoiceSettings {
    /// Its id.
    #[serde(default)]
    pub default_payment_method: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PaymentMethod {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub customer: Option<String>,
    #[serde(default)]
    pub card: Option<Card>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Card {
    pub brand: String,
    pub last4: String,
    pub exp_month: i64,
    pub exp_year: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Invoice {
    pub id: String,
    pub customer: String,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: String,
    pub currency: String,
    /// Of the lines, in minor units, like every amount here.
    pub total: i64,
    pub amount_due: i64,
    pub amount_paid: i64,
    pub amount_remaining: i64,
    /// Was a payment tried?
    #[serde(default)]
    pub attempted: bool,
    /// What its customer owed to Stripe's account before (negative: had with it), …
    #[serde(default)]
    pub starting_balance: Option<i64>,
    /// … and since it was finalized.
    #[serde(default)]
    pub ending_balance: Option<i64>,
    /// By credit notes at Stripe, before it was paid.
    #[serde(default)]
    pub pre_payment_credit_notes_amount: i64,
    /// By credit notes at Stripe, after it was paid.
    #[serde(default)]
    pub post_payment_credit_notes_amount: i64,
    /// Where its customer sees and pays it.
    #[serde(default)]
    pub hosted_invoice_url: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl Invoice {
    /// What it asks for, by itself.
    pub fn asked(&self) -> i64 {
        self.total - self.pre_payment_credit_notes_amount
    }

    /// What was asked for besides, because of the customer's balance at Stripe. Stripe charges no
    /// amounts of a few cents: it carries them over to the next invoice.
    pub fn carried(&self) -> i64 {
        match (self.starting_balance, self.ending_balance) {
            (Some(starting), Some(ending)) => starting - ending,
            _ => 0,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct InvoiceItem {
    pub id: String,
    pub amount: i64,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct InvoicePayment {
    pub id: String,
    pub invoice: String,
    pub payment: Payment,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Payment {
    #[serde(default)]
    pub payment_intent: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Charge {
    pub id: String,
    pub amount_refunded: i64,
    #[serde(default)]
    pub payment_intent: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct PaymentIntent {
    pub id: String,
    /// Why the last payment failed.
    #[serde(default)]
    pub last_payment_error: Option<PaymentError>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct PaymentError {
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct CreditNote {
    pub id: String,
    /// `issued` or `void`.
    #[serde(default)]
    pub status: String,
    pub invoice: String,
    pub amount: i64,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct SetupIntent {
    pub id: String,
    pub client_secret: String,
}

#[derive(Debug, Clone, Deserialize)]
pub struct PortalSession {
    pub url: String,
}

/// Of an answer, only whose it is.
#[derive(Debug, Clone, Deserialize)]
pub struct Reference {
    pub id: String,
}

macro_rules! has_id {
    ($($name:ident),*) => {
        $(impl HasId for $name {
            fn id(&self) -> &str {
                &self.id
            }
        })*
    };
}

has_id!(Customer, Invoice, InvoiceItem, InvoicePayment, CreditNote);
