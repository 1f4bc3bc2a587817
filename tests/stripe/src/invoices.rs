//! Invoices and their items, from the draft to the payment. How charges, refunds and credit notes
//! change them: `payments`.

use serde_json::{Value, json};

use crate::form::Params;
use crate::payments;
use crate::refusal::Refusal;
use crate::store::Store;

/// As many lines as an invoice may have.
const MAX_LINES: usize = 250;

/// Stripe charges no less; it asks for it with the next invoice.
const LEAST_CHARGE: i64 = 50;

const DAY: i64 = 86_400;

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn id_of(invoice: &Value) -> String {
    invoice["id"].as_str().unwrap_or_default().to_owned()
}

/// Checks that the invoice is in one of the states.
fn check_status(invoice: &Value, wanted: &[&str], otherwise: &str) -> Result<(), Refusal> {
    let status = invoice["status"].as_str().unwrap_or_default();
    if wanted.contains(&status) {
        return Ok(());
    }
    Err(Refusal::invalid(otherwise.to_owned()).code("invoice_not_editable"))
}

pub fn create(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&[
        "customer",
        "currency",
        "collection_method",
        "days_until_due",
        "auto_advance",
        "pending_invoice_items_behavior",
        "description",
        "metadata",
        "footer",
        "default_payment_method",
        "automatic_tax",
    ])?;
    let customer = store.get("customer", params.required("customer")?, "customer")?;
    let mut invoice = store.fresh("invoice", "in");
    let id = id_of(&invoice);
    invoice["customer"] = customer["id"].clone();
    invoice["customer_email"] = customer["email"].clone();
    invoice["customer_name"] = customer["name"].clone();
    invoice["currency"] = params.text("currency").unwrap_or("usd").to_lowercase().into();
    invoice["description"] = json!(params.text("description"));
    invoice["footer"] = json!(params.text("footer"));
    invoice["default_payment_method"] = json!(params.text("default_payment_method"));
    invoice["auto_advance"] = params.boolean("auto_advance")?.unwrap_or_default().into();
    let method = params.text("collection_method").unwrap_or("charge_automatically");
    invoice["collection_method"] = method.into();
    let days = params.integer("days_until_due")?;
    match (method, days) {
        ("charge_automatically", None) => {}
        ("charge_automatically", Some(_)) => {
            let message = "You can only specify `due_date` or `days_until_due` for invoices with \
                           `collection_method=send_invoice`.";
            return Err(Refusal::invalid(message).param("days_until_due"));
        }
        ("send_invoice", Some(days)) if days >= 0 => {
            invoice["due_date"] = (store.now() + days * DAY).into();
        }
        ("send_invoice", _) => {
            let message = "You must specify `due_date` or `days_until_due` for invoices with \
                           `collection_method=send_invoice`.";
            return Err(Refusal::invalid(message).param("days_until_due"));
        }
        _ => return Err(Refusal::invalid("Invalid collection_method").param("collection_method")),
    }
    invoice["period_start"] = store.now().into();
    invoice["period_end"] = store.now().into();
    invoice["lines"]["url"] = format!("/v1/invoices/{id}/lines").into();
    params.metadata(&mut invoice["metadata"]);
    store.insert("invoice", invoice.clone());
    if params.text("pending_invoice_items_behavior") == Some("include") {
        let pending: Vec<Value> = store
            .all("invoiceitem")
            .iter()
            .filter(|item| item["invoice"].is_null() && item["customer"] == invoice["customer"])
            .cloned()
            .collect();
        for mut item in pending {
            item["invoice"] = id.clone().into();
            store.put("invoiceitem", &item);
            add_line(store, &mut invoice, &item);
        }
    }
    recompute(store, &mut invoice);
    store.emit("invoice.created", &invoice);
    Ok(invoice)
}

/// Sums the lines, and what is due with the customer's balance.
fn recompute(store: &mut Store, invoice: &mut Value) {
    let lines = invoice["lines"]["data"].as_array();
    let total: i64 = lines.into_iter().flatten().map(|line| number(&line["amount"])).sum();
    for field in ["subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"] {
        invoice[field] = total.into();
    }
    let customer = invoice["customer"].as_str().unwrap_or_default();
    let balance = store.find("customer", customer).map_or(0, |found| number(&found["balance"]));
    invoice["starting_balance"] = balance.into();
    let due = (total + balance).max(0);
    invoice["amount_due"] = due.into();
    invoice["amount_remaining"] = due.into();
    store.put("invoice", invoice);
}

fn add_line(store: &mut Store, invoice: &mut Value, item: &Value) {
    let mut line = store.fresh("line_item", "il");
    for field in ["amount", "currency", "description", "discountable", "metadata", "period"] {
        line[field] = item[field].clone();
    }
    line["invoice"] = invoice["id"].clone();
    line["subtotal"] = item["amount"].clone();
    line["parent"] = json!({
        "type": "invoice_item_details",
        "invoice_item_details": {
            "invoice_item": item["id"], "proration": false, "proration_details": null,
            "subscription": null,
        },
        "subscription_item_details": null,
    });
    if let Some(data) = invoice["lines"]["data"].as_array_mut() {
        data.push(line);
    }
}

pub fn create_item(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&[
        "customer",
        "invoice",
        "amount",
        "currency",
        "description",
        "discountable",
        "metadata",
        "period",
    ])?;
    let customer = params.required("customer")?.to_owned();
    store.get("customer", &customer, "customer")?;
    params.required("amount")?;
    let amount = params.integer("amount")?.unwrap_or_default();
    let mut item = store.fresh("invoiceitem", "ii");
    item["customer"] = customer.clone().into();
    item["amount"] = amount.into();
    item["net_amount"] = amount.into();
    item["currency"] = params.required("currency")?.to_lowercase().into();
    item["date"] = store.now().into();
    item["description"] = json!(params.text("description"));
    // Only what is charged can be discounted.
    item["discountable"] = params.boolean("discountable")?.unwrap_or(amount >= 0).into();
    let (start, end) = (params.integer("period.start")?, params.integer("period.end")?);
    let now = store.now();
    item["period"] = json!({ "start": start.unwrap_or(now), "end": end.unwrap_or(now) });
    params.metadata(&mut item["metadata"]);
    if let Some(id) = params.text("invoice") {
        let mut invoice = store.get("invoice", id, "invoice")?;
        check_status(&invoice, &["draft"], "This invoice is no longer editable")?;
        if invoice["customer"] != customer.as_str() {
            let message = "The invoice does not belong to this customer";
            return Err(Refusal::invalid(message).param("invoice"));
        }
        if invoice["currency"] != item["currency"] {
            let message = "The invoice item's currency differs from the invoice's";
            return Err(Refusal::invalid(message).param("currency"));
        }
        if invoice["lines"]["data"].as_array().map_or(0, Vec::len) >= MAX_LINES {
            return Err(Refusal::invalid("An invoice can have at most 250 line items."));
        }
        item["invoice"] = id.into();
        add_line(store, &mut invoice, &item);
        recompute(store, &mut invoice);
        store.emit("invoice.updated", &invoice);
    }
    store.insert("invoiceitem", item.clone());
    store.emit("invoiceitem.created", &item);
    Ok(item)
}

pub fn delete_item(store: &mut Store, id: &str) -> Result<Value, Refusal> {
    let item = store.get("invoiceitem", id, "id")?;
    if let Some(invoice) = item["invoice"].as_str() {
        let mut invoice = store.get("invoice", invoice, "invoice")?;
        check_status(&invoice, &["draft"], "This invoice is no longer editable")?;
        if let Some(data) = invoice["lines"]["data"].as_array_mut() {
            data.retain(|line| line["parent"]["invoice_item_details"]["invoice_item"] != id);
        }
        recompute(store, &mut invoice);
    }
    store.remove("invoiceitem", id);
    Ok(json!({ "id": id, "object": "invoiceitem", "deleted": true }))
}

pub fn list_items(store: &Store, params: &Params<'_>) -> Result<Value, Refusal> {
    let known =
        ["customer", "invoice", "pending", "created", "limit", "starting_after", "ending_before"];
    params.only(&known)?;
    let pending = params.boolean("pending")?;
    store.page("invoiceitem", "/v1/invoiceitems", params, |item| {
        params.text("customer").is_none_or(|id| item["customer"] == id)
            && params.text("invoice").is_none_or(|id| item["invoice"] == id)
            && pending.is_none_or(|pending| item["invoice"].is_null() == pending)
    })
}

pub fn list(store: &Store, params: &Params<'_>) -> Result<Value, Refusal> {
    let known = [
        "customer",
        "status",
        "collection_method",
        "created",
        "limit",
        "starting_after",
        "ending_before",
    ];
    params.only(&known)?;
    let mut page = store.page("invoice", "/v1/invoices", params, |invoice| {
        params.text("customer").is_none_or(|id| invoice["customer"] == id)
            && params.text("status").is_none_or(|status| invoice["status"] == status)
    })?;
    page["data"].as_array_mut().into_iter().flatten().for_each(|invoice| *invoice = shown(invoice));
    Ok(page)
}

/// As Stripe shows it: with its first ten lines; the others are a list of their own.
pub fn shown(invoice: &Value) -> Value {
    let mut invoice = invoice.clone();
    if let Some(data) = invoice["lines"]["data"].as_array_mut() {
        let more = data.len() > 10;
        data.truncate(10);
        invoice["lines"]["has_more"] = more.into();
    }
    invoice
}

pub fn list_lines(store: &Store, id: &str, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["limit", "starting_after", "ending_before"])?;
    let invoice = store.get("invoice", id, "id")?;
    let lines = invoice["lines"]["data"].as_array().cloned().unwrap_or_default();
    let limit = usize::try_from(params.integer("limit")?.unwrap_or(10)).unwrap_or(10);
    let after = params.text("starting_after");
    let from = match after {
        Some(after) => lines.iter().position(|line| line["id"] == after).map_or(0, |at| at + 1),
        None => 0,
    };
    let data: Vec<&Value> = lines.iter().skip(from).take(limit).collect();
    let has_more = lines.len() > from + data.len();
    let url = format!("/v1/invoices/{id}/lines");
    Ok(json!({ "object": "list", "data": data, "has_more": has_more, "url": url }))
}

pub fn update(store: &mut Store, id: &str, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["auto_advance", "metadata", "description", "default_payment_method"])?;
    let mut invoice = store.get("invoice", id, "id")?;
    if let Some(auto) = params.boolean("auto_advance")? {
        invoice["auto_advance"] = auto.into();
    }
    for name in ["description", "default_payment_method"] {
        if let Some(text) = params.text(name) {
            invoice[name] = text.into();
        }
    }
    params.metadata(&mut invoice["metadata"]);
    store.put("invoice", &invoice);
    store.emit("invoice.updated", &invoice);
    Ok(invoice)
}

pub fn delete(store: &mut Store, id: &str) -> Result<Value, Refusal> {
    let invoice = store.get("invoice", id, "id")?;
    check_status(&invoice, &["draft"], "You can only delete draft invoices")?;
    store.remove("invoice", id);
    store.emit("invoice.deleted", &invoice);
    Ok(json!({ "id": id, "object": "invoice", "deleted": true }))
}

pub fn finalize(store: &mut Store, id: &str, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["auto_advance"])?;
    let mut invoice = store.get("invoice", id, "id")?;
    let message = "This invoice is already finalized, you can't re-finalize a non-draft invoice.";
    check_status(&invoice, &["draft"], message)?;
    recompute(store, &mut invoice);
    if let Some(auto) = params.boolean("auto_advance")? {
        invoice["auto_advance"] = auto.into();
    }
    let customer_id = invoice["customer"].as_str().unwrap_or_default().to_owned();
    let mut customer = store.get("customer", &customer_id, "customer")?;
    let sequence = number(&customer["next_invoice_sequence"]);
    let prefix = customer["invoice_prefix"].as_str().unwrap_or_default();
    invoice["number"] = format!("{prefix}-{sequence:04}").into();
    customer["next_invoice_sequence"] = (sequence + 1).into();
    let balance = number(&customer["balance"]);
    let total = number(&invoice["total"]);
    // A credit is used as far as it goes; what is owed is asked for now.
    let mut ending = (total + balance).min(0);
    let due = number(&invoice["amount_due"]);
    let too_little = due > 0 && due < LEAST_CHARGE;
    if too_little {
        ending = due;
        invoice["amount_due"] = 0.into();
        invoice["amount_remaining"] = 0.into();
    }
    customer["balance"] = ending.into();
    invoice["ending_balance"] = ending.into();
    store.put("customer", &customer);
    let now = store.now();
    invoice["status"] = "open".into();
    invoice["effective_at"] = now.into();
    invoice["status_transitions"]["finalized_at"] = now.into();
    invoice["hosted_invoice_url"] =
        format!("https://invoice.stripe.com/i/acct_1StandIn/test_{id}?s=ap").into();
    invoice["invoice_pdf"] =
        format!("https://pay.stripe.com/invoice/acct_1StandIn/test_{id}/pdf?s=ap").into();
    store.put("invoice", &invoice);
    store.emit("invoice.finalized", &invoice);
    if number(&invoice["amount_due"]) == 0 {
        payments::mark_paid(store, &mut invoice, 0);
    } else {
        payments::expect(store, &invoice);
    }
    Ok(invoice)
}

pub fn send(store: &mut Store, id: &str) -> Result<Value, Refusal> {
    let mut invoice = store.get("invoice", id, "id")?;
    if invoice["collection_method"] != "send_invoice" {
        let message = "You can only manually send an invoice if its collection method is \
                       'send_invoice'.";
        return Err(Refusal::invalid(message));
    }
    if invoice["status"] == "draft" {
        invoice = finalize(store, id, &Params(&json!({})))?;
    }
    store.emit("invoice.sent", &invoice);
    Ok(invoice)
}

/// `void` or `uncollectible`.
pub fn give_up(store: &mut Store, id: &str, status: &str) -> Result<Value, Refusal> {
    let mut invoice = store.get("invoice", id, "id")?;
    let wanted: &[&str] = if status == "void" { &["open", "uncollectible"] } else { &["open"] };
    let message = format!("You can only make open invoices {status}. This one is not.");
    check_status(&invoice, wanted, &message)?;
    let now = store.now();
    invoice["status"] = status.into();
    invoice["auto_advance"] = false.into();
    let (transition, event) = match status {
        "void" => ("voided_at", "invoice.voided"),
        _ => ("marked_uncollectible_at", "invoice.marked_uncollectible"),
    };
    invoice["status_transitions"][transition] = now.into();
    if status == "void" {
        invoice["amount_remaining"] = 0.into();
    }
    store.put("invoice", &invoice);
    store.emit(event, &invoice);
    Ok(invoice)
}
