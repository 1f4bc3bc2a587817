//! Which operation a request asks for, and what `expand` adds to its answer.

use serde_json::{Value, json};

use crate::form::Params;
use crate::refusal::Refusal;
use crate::store::Store;
use crate::{cards, customers, invoices, payments};

/// Carries out one request. `path` is without `/v1/`.
pub fn call(
    store: &mut Store,
    method: &str,
    path: &str,
    params: &Params<'_>,
) -> Result<Value, Refusal> {
    let segments: Vec<&str> = path.split('/').collect();
    let mut answer = match (method, segments.as_slice()) {
        ("POST", ["customers"]) => customers::create(store, params),
        ("GET", ["customers"]) => customers::list(store, params),
        ("GET", ["customers", id]) => customers::retrieve(store, id),
        ("POST", ["customers", id]) => customers::update(store, id, params),
        ("DELETE", ["customers", id]) => customers::delete(store, id),
        ("GET", ["customers", id, "payment_methods"]) => cards::list(store, params, Some(id)),
        ("POST", ["payment_methods"]) => cards::create(store, params),
        ("GET", ["payment_methods"]) => cards::list(store, params, None),
        ("GET", ["payment_methods", id]) => cards::retrieve(store, id),
        ("POST", ["payment_methods", id, "attach"]) => cards::attach(store, id, params),
        ("POST", ["payment_methods", id, "detach"]) => cards::detach(store, id),
        ("POST", ["setup_intents"]) => cards::create_setup_intent(store, params),
        ("GET", ["setup_intents", id]) => store.get("setup_intent", id, "id"),
        ("POST", ["setup_intents", id, "confirm"]) => {
            cards::confirm_setup_intent(store, id, params)
        }
        ("POST", ["invoiceitems"]) => invoices::create_item(store, params),
        ("GET", ["invoiceitems"]) => invoices::list_items(store, params),
        ("GET", ["invoiceitems", id]) => store.get("invoiceitem", id, "id"),
        ("DELETE", ["invoiceitems", id]) => invoices::delete_item(store, id),
        ("POST", ["invoices"]) => invoices::create(store, params),
        ("GET", ["invoices"]) => invoices::list(store, params),
        ("GET", ["invoices", id]) => store.get("invoice", id, "id"),
        ("POST", ["invoices", id]) => invoices::update(store, id, params),
        ("DELETE", ["invoices", id]) => invoices::delete(store, id),
        ("GET", ["invoices", id, "lines"]) => invoices::list_lines(store, id, params),
        ("POST", ["invoices", id, "finalize"]) => invoices::finalize(store, id, params),
        ("POST", ["invoices", id, "pay"]) => payments::pay(store, id, params),
        ("POST", ["invoices", id, "send"]) => invoices::send(store, id),
        ("POST", ["invoices", id, "void"]) => invoices::give_up(store, id, "void"),
        ("POST", ["invoices", id, "mark_uncollectible"]) => {
            invoices::give_up(store, id, "uncollectible")
        }
        ("GET", ["invoice_payments"]) => payments::list_payments(store, params),
        ("GET", ["payment_intents", id]) => store.get("payment_intent", id, "id"),
        ("GET", ["charges", id]) => store.get("charge", id, "id"),
        ("POST", ["refunds"]) => payments::refund(store, params),
        ("POST", ["credit_notes"]) => payments::credit(store, params),
        ("GET", ["credit_notes"]) => payments::list_credits(store, params),
        ("GET", ["credit_notes", id]) => store.get("credit_note", id, "id"),
        ("POST", ["billing_portal", "sessions"]) => customers::open_portal(store, params),
        ("POST", ["tax_rates"]) => customers::create_tax_rate(store, params),
        ("GET", ["tax_rates", id]) => store.get("tax_rate", id, "id"),
        ("GET", ["tax_rates"]) => store.page("tax_rate", "/v1/tax_rates", params, |_| true),
        ("GET", ["events"]) => store.page("event", "/v1/events", params, |event| {
            params.text("type").is_none_or(|kind| event["type"] == kind)
        }),
        ("GET", ["events", id]) => store.get("event", id, "id"),
        ("POST", ["webhook_endpoints"]) => listen(store, params),
        _ => Err(Refusal::new(
            404,
            "invalid_request_error",
            format!("Unrecognized request URL ({method}: /v1/{path})."),
        )),
    }?;
    if answer["object"] == "invoice" && answer["deleted"] != true {
        answer = invoices::shown(&answer);
    }
    for path in params.list("expand") {
        let steps: Vec<&str> = path.split('.').collect();
        expand(store, &mut answer, &steps, &path)?;
    }
    Ok(answer)
}

fn listen(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["url", "enabled_events", "description", "metadata", "api_version"])?;
    let mut endpoint = store.fresh("webhook_endpoint", "we");
    endpoint["url"] = params.required("url")?.into();
    endpoint["enabled_events"] = json!(params.list("enabled_events"));
    endpoint["description"] = json!(params.text("description"));
    let id = endpoint["id"].as_str().unwrap_or_default().to_owned();
    let secret = format!("whsec_{}", store.id("secret"));
    store.secrets.insert(id, secret.clone());
    store.insert("webhook_endpoint", endpoint.clone());
    // Shown only here.
    endpoint["secret"] = secret.into();
    Ok(endpoint)
}

/// Puts an object in the place of its id.
fn expand(store: &Store, value: &mut Value, steps: &[&str], path: &str) -> Result<(), Refusal> {
    let [step, rest @ ..] = steps else { return Ok(()) };
    let refusal = || {
        let message = format!("This property cannot be expanded ({path}).");
        Refusal::invalid(message).param("expand.0")
    };
    let place = value.get_mut(*step).ok_or_else(refusal)?;
    if let Some(items) = place.as_array_mut() {
        return items.iter_mut().try_for_each(|item| expand(store, item, rest, path));
    }
    if let Some(object) = place.as_str().and_then(|id| store.anything(id)) {
        *place = object.clone();
    }
    if place.is_null() {
        return Ok(());
    }
    if place.is_string() {
        return Err(refusal());
    }
    expand(store, place, rest, path)
}
