//! Customers, sessions of the billing portal, and tax rates.

use serde_json::{Value, json};

use crate::form::Params;
use crate::refusal::Refusal;
use crate::store::Store;

const FIELDS: [&str; 9] = [
    "name",
    "email",
    "phone",
    "description",
    "metadata",
    "address",
    "invoice_settings",
    "tax_exempt",
    "balance",
];

fn fill(store: &Store, customer: &mut Value, params: &Params<'_>) -> Result<(), Refusal> {
    params.only(&FIELDS)?;
    for name in ["name", "email", "phone", "description"] {
        if let Some(text) = params.text(name) {
            customer[name] = if text.is_empty() { Value::Null } else { text.into() };
        }
    }
    if let Some(exempt) = params.text("tax_exempt") {
        if !["none", "exempt", "reverse"].contains(&exempt) {
            let message = "Invalid tax_exempt: must be one of exempt, none, or reverse";
            return Err(Refusal::invalid(message).param("tax_exempt"));
        }
        customer["tax_exempt"] = exempt.into();
    }
    for name in ["line1", "line2", "city", "postal_code", "state", "country"] {
        if let Some(text) = params.text(&format!("address.{name}")) {
            customer["address"][name] = text.into();
        }
    }
    if let Some(balance) = params.integer("balance")? {
        customer["balance"] = balance.into();
    }
    let default = "invoice_settings.default_payment_method";
    if let Some(method) = params.text(default) {
        let found = store.get("payment_method", method, default)?;
        if found["customer"] != customer["id"] {
            return Err(Refusal::invalid(format!(
                "The customer does not have a payment method with the ID {method}. The payment \
                 method must be attached to the customer."
            ))
            .code("resource_missing")
            .param(default));
        }
        customer["invoice_settings"]["default_payment_method"] = method.into();
    }
    params.metadata(&mut customer["metadata"]);
    Ok(())
}

pub fn create(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    let mut customer = store.fresh("customer", "cus");
    fill(store, &mut customer, params)?;
    customer["invoice_prefix"] = format!("SI{:06}", store.all("customer").len() + 1).into();
    store.insert("customer", customer.clone());
    store.emit("customer.created", &customer);
    Ok(customer)
}

/// Also of one that was deleted, of which Stripe says just that.
pub fn retrieve(store: &Store, id: &str) -> Result<Value, Refusal> {
    let found = store.find("customer", id).cloned();
    found.ok_or_else(|| Refusal::missing("customer", id, "id"))
}

pub fn update(store: &mut Store, id: &str, params: &Params<'_>) -> Result<Value, Refusal> {
    let mut customer = store.get("customer", id, "id")?;
    fill(store, &mut customer, params)?;
    store.put("customer", &customer);
    store.emit("customer.updated", &customer);
    Ok(customer)
}

pub fn delete(store: &mut Store, id: &str) -> Result<Value, Refusal> {
    let customer = store.get("customer", id, "id")?;
    let deleted = json!({ "id": id, "object": "customer", "deleted": true });
    store.put("customer", &deleted);
    store.emit("customer.deleted", &customer);
    Ok(deleted)
}

pub fn list(store: &Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["email", "created", "limit", "starting_after", "ending_before"])?;
    store.page("customer", "/v1/customers", params, |customer| {
        params.text("email").is_none_or(|email| customer["email"] == email)
    })
}

pub fn open_portal(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["customer", "return_url", "configuration", "locale"])?;
    let customer = params.required("customer")?;
    store.get("customer", customer, "customer")?;
    let mut session = store.fresh("billing_portal.session", "bps");
    session["customer"] = customer.into();
    session["livemode"] = false.into();
    session["return_url"] = json!(params.text("return_url"));
    session["url"] =
        format!("https://billing.stripe.com/p/session/test_{}", store.id("portal")).into();
    Ok(session)
}

pub fn create_tax_rate(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["display_name", "percentage", "inclusive", "country", "metadata"])?;
    let percentage: f64 = params
        .required("percentage")?
        .parse()
        .map_err(|_| Refusal::invalid("Invalid decimal").param("percentage"))?;
    let mut rate = store.fresh("tax_rate", "txr");
    rate["display_name"] = params.required("display_name")?.into();
    rate["percentage"] = percentage.into();
    rate["inclusive"] = params.boolean("inclusive")?.unwrap_or_default().into();
    rate["country"] = json!(params.text("country"));
    for unset in ["description", "jurisdiction", "tax_type"] {
        rate[unset] = Value::Null;
    }
    params.metadata(&mut rate["metadata"]);
    store.insert("tax_rate", rate.clone());
    Ok(rate)
}
