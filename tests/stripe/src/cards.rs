//! Payment methods and setup intents: cards with Stripe's test names, some of which fail in the way
//! that their name says.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::form::Params;
use crate::refusal::Refusal;
use crate::store::Store;

/// What becomes of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeds,
    Declined,
    InsufficientFunds,
    /// The holder has to confirm it.
    RequiresAction,
}

impl Outcome {
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Succeeds => None,
            Self::Declined => Some(Refusal::card(
                "card_declined",
                Some("generic_decline"),
                "Your card was declined.",
            )),
            Self::InsufficientFunds => Some(Refusal::card(
                "card_declined",
                Some("insufficient_funds"),
                "Your card has insufficient funds.",
            )),
            Self::RequiresAction => Some(Refusal::card(
                "invoice_payment_intent_requires_action",
                None,
                "This payment requires additional user action before it can be completed \
                 successfully. Payment can be completed using the PaymentIntent associated with the \
                 invoice.",
            )),
        }
    }
}

/// A test card.
struct Card {
    brand: &'static str,
    last4: &'static str,
    /// When it is attached to a customer.
    attach: Outcome,
    /// When it is charged.
    charge: Outcome,
}

/// By Stripe's names for tests, of payment methods (`pm_card_…`) and tokens (`tok_…`).
fn card(name: &str) -> Option<Card> {
    use Outcome::{Declined, InsufficientFunds, RequiresAction, Succeeds};
    let (brand, last4, attach, charge) = match name {
        "visa" => ("visa", "4242", Succeeds, Succeeds),
        "mastercard" => ("mastercard", "4444", Succeeds, Succeeds),
        "amex" => ("amex", "8431", Succeeds, Succeeds),
        "chargeDeclined" => ("visa", "0002", Declined, Declined),
        "chargeCustomerFail" => ("visa", "0341", Succeeds, Declined),
        "visa_chargeDeclinedInsufficientFunds" => ("visa", "9995", InsufficientFunds, Declined),
        "authenticationRequired" => ("visa", "3184", Succeeds, RequiresAction),
        _ => return None,
    };
    Some(Card { brand, last4, attach, charge })
}

fn named(id: &str) -> Option<Card> {
    card(id.strip_prefix("pm_card_").or_else(|| id.strip_prefix("tok_"))?)
}

fn make(store: &mut Store, card: &Card) -> Value {
    let mut method = store.fresh("payment_method", "pm");
    method["card"]["brand"] = card.brand.into();
    method["card"]["display_brand"] = card.brand.into();
    method["card"]["last4"] = card.last4.into();
    method["card"]["exp_month"] = 12.into();
    method["card"]["exp_year"] = 2034.into();
    if let Some(id) = method["id"].as_str() {
        store.outcomes.insert(id.to_owned(), card.charge);
        if card.attach != Outcome::Succeeds {
            store.outcomes.insert(format!("attach {id}"), card.attach);
        }
    }
    store.insert("payment_method", method.clone());
    method
}

/// The payment method with this id; one of Stripe's test names is another one each time.
fn found(store: &mut Store, id: &str, param: &str) -> Result<Value, Refusal> {
    match named(id) {
        Some(card) if id.starts_with("pm_card_") => Ok(make(store, &card)),
        _ => store.get("payment_method", id, param),
    }
}

pub fn create(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["type", "card", "billing_details", "metadata"])?;
    if params.required("type")? != "card" {
        return Err(Refusal::invalid("The stand-in knows cards only").param("type"));
    }
    let token = params.required("card.token")?;
    let card = named(token).ok_or_else(|| Refusal::missing("token", token, "card.token"))?;
    let mut method = make(store, &card);
    params.metadata(&mut method["metadata"]);
    store.put("payment_method", &method);
    Ok(method)
}

pub fn retrieve(store: &mut Store, id: &str) -> Result<Value, Refusal> {
    found(store, id, "id")
}

pub fn list(store: &Store, params: &Params<'_>, of: Option<&str>) -> Result<Value, Refusal> {
    let customer = of.or_else(|| params.text("customer")).map(ToOwned::to_owned);
    if let Some(customer) = &customer {
        store.get("customer", customer, "customer")?;
    }
    store.page("payment_method", "/v1/payment_methods", params, |method| {
        customer.as_deref().map_or(method["customer"].is_string(), |id| method["customer"] == id)
    })
}

pub fn attach(store: &mut Store, id: &str, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["customer"])?;
    let customer = params.required("customer")?;
    store.get("customer", customer, "customer")?;
    let mut method = found(store, id, "id")?;
    if method["customer"] == customer {
        return Ok(method);
    }
    if method["customer"].is_string() {
        return Err(Refusal::invalid(
            "The payment method you provided has already been attached to a customer.",
        ));
    }
    let own = method["id"].as_str().unwrap_or_default().to_owned();
    if store.outcomes.contains_key(&format!("detached {own}")) {
        return Err(Refusal::invalid(
            "This PaymentMethod was previously used without being attached to a Customer or was \
             detached from a Customer, and may not be used again.",
        ));
    }
    let outcome = store.outcomes.get(&format!("attach {own}"));
    if let Some(refusal) = outcome.and_then(|outcome| outcome.refusal()) {
        return Err(refusal);
    }
    method["customer"] = customer.into();
    store.put("payment_method", &method);
    store.emit("payment_method.attached", &method);
    Ok(method)
}

pub fn detach(store: &mut Store, id: &str) -> Result<Value, Refusal> {
    let mut method = store.get("payment_method", id, "id")?;
    let Some(customer) = method["customer"].as_str().map(ToOwned::to_owned) else {
        return Err(Refusal::invalid(
            "The payment method you provided is not attached to a customer so detachment is \
             impossible.",
        ));
    };
    method["customer"] = Value::Null;
    store.put("payment_method", &method);
    store.outcomes.insert(format!("detached {id}"), Outcome::Declined);
    let mut owner = store.get("customer", &customer, "customer")?;
    if owner["invoice_settings"]["default_payment_method"] == id {
        owner["invoice_settings"]["default_payment_method"] = Value::Null;
        store.put("customer", &owner);
        store.emit("customer.updated", &owner);
    }
    store.emit("payment_method.detached", &method);
    Ok(method)
}

/// As when the bank sends the holder a new card (`payment_method.automatically_updated`).
pub fn replace(store: &mut Store, id: &str, last4: &str, exp_year: i64) -> Result<Value, Refusal> {
    let mut method = store.get("payment_method", id, "id")?;
    method["card"]["last4"] = last4.into();
    method["card"]["exp_year"] = exp_year.into();
    store.put("payment_method", &method);
    store.emit("payment_method.automatically_updated", &method);
    Ok(method)
}

pub fn create_setup_intent(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["customer", "usage", "payment_method_types", "metadata", "description"])?;
    if let Some(customer) = params.text("customer") {
        store.get("customer", customer, "customer")?;
    }
    let mut intent = store.fresh("setup_intent", "seti");
    intent["customer"] = json!(params.text("customer"));
    if let Some(usage) = params.text("usage") {
        intent["usage"] = usage.into();
    }
    let secret = format!("{}_secret_{}", intent["id"].as_str().unwrap_or_default(), store.id("s"));
    intent["client_secret"] = secret.into();
    params.metadata(&mut intent["metadata"]);
    store.insert("setup_intent", intent.clone());
    store.emit("setup_intent.created", &intent);
    Ok(intent)
}

/// What the holder's browser does with the client secret.
pub fn confirm_setup_intent(
    store: &mut Store,
    id: &str,
    params: &Params<'_>,
) -> Result<Value, Refusal> {
    params.only(&["payment_method", "return_url"])?;
    let mut intent = store.get("setup_intent", id, "id")?;
    if intent["status"] == "succeeded" {
        let refusal = Refusal::invalid("This SetupIntent has already succeeded.");
        return Err(refusal.code("setup_intent_unexpected_state"));
    }
    let method = found(store, params.required("payment_method")?, "payment_method")?;
    let method = method["id"].as_str().unwrap_or_default().to_owned();
    if let Some(customer) = intent["customer"].as_str() {
        attach(store, &method, &Params(&json!({ "customer": customer })))?;
    }
    intent["payment_method"] = method.into();
    intent["status"] = "succeeded".into();
    store.put("setup_intent", &intent);
    store.emit("setup_intent.succeeded", &intent);
    Ok(intent)
}
