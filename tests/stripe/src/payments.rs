//! What pays an invoice and what gives it back: payment intents, charges, refunds, credit notes.

use serde_json::{Value, json};

use crate::cards::Outcome;
use crate::form::Params;
use crate::invoices::{finalize, number};
use crate::refusal::Refusal;
use crate::store::Store;

/// Makes the payment intent that a finalized invoice waits for.
pub fn expect(store: &mut Store, invoice: &Value) {
    let mut intent = store.fresh("payment_intent", "pi");
    intent["amount"] = invoice["amount_due"].clone();
    intent["currency"] = invoice["currency"].clone();
    intent["customer"] = invoice["customer"].clone();
    let id = intent["id"].as_str().unwrap_or_default().to_owned();
    intent["client_secret"] = format!("{id}_secret_{}", store.id("s")).into();
    store.insert("payment_intent", intent);
    let mut payment = store.fresh("invoice_payment", "inpay");
    payment["invoice"] = invoice["id"].clone();
    payment["amount_requested"] = invoice["amount_due"].clone();
    payment["currency"] = invoice["currency"].clone();
    payment["livemode"] = false.into();
    payment["payment"] = json!({ "type": "payment_intent", "payment_intent": id });
    payment["status"] = "open".into();
    store.insert("invoice_payment", payment);
}

/// The invoice's own payment, and its intent.
fn payment_of(store: &Store, invoice: &Value) -> Option<(Value, Value)> {
    let payments = store.all("invoice_payment");
    let payment = payments.iter().find(|payment| payment["invoice"] == invoice["id"])?;
    let intent = payment["payment"]["payment_intent"].as_str()?;
    Some((payment.clone(), store.find("payment_intent", intent)?.clone()))
}

pub fn mark_paid(store: &mut Store, invoice: &mut Value, paid: i64) {
    let now = store.now();
    invoice["status"] = "paid".into();
    invoice["attempted"] = true.into();
    invoice["auto_advance"] = false.into();
    invoice["amount_paid"] = paid.into();
    invoice["amount_remaining"] = 0.into();
    invoice["next_payment_attempt"] = Value::Null;
    invoice["status_transitions"]["paid_at"] = now.into();
    store.put("invoice", invoice);
    store.emit("invoice.paid", invoice);
    store.emit("invoice.payment_succeeded", invoice);
}

pub fn pay(store: &mut Store, id: &str, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["payment_method", "off_session", "paid_out_of_band"])?;
    let mut invoice = store.get("invoice", id, "id")?;
    if invoice["status"] == "draft" {
        invoice = finalize(store, id, &Params(&json!({})))?;
    }
    match invoice["status"].as_str() {
        Some("open" | "uncollectible") => {}
        Some("paid") => {
            return Err(Refusal::invalid("Invoice is already paid").code("invoice_already_paid"));
        }
        _ => return Err(Refusal::invalid("You can't pay an invoice that is void.")),
    }
    let due = number(&invoice["amount_remaining"]);
    if params.boolean("paid_out_of_band")? == Some(true) {
        mark_paid(store, &mut invoice, due);
        return Ok(invoice);
    }
    let customer = store.get("customer", invoice["customer"].as_str().unwrap_or_default(), "id")?;
    let method = params
        .text("payment_method")
        .or_else(|| invoice["default_payment_method"].as_str())
        .or_else(|| customer["invoice_settings"]["default_payment_method"].as_str());
    let Some(method) = method.map(ToOwned::to_owned) else {
        return Err(Refusal::invalid(
            "There is no `default_payment_method` set on this Customer or Invoice. Please provide \
             one with the `payment_method` parameter.",
        )
        .code("missing"));
    };
    let found = store.get("payment_method", &method, "payment_method")?;
    if found["customer"] != customer["id"] {
        return Err(
            Refusal::invalid("The payment method is not the customer's.").param("payment_method")
        );
    }
    charge(store, &mut invoice, &method, due)?;
    Ok(invoice)
}

/// Charges the card; what the issuer says is the invoice's too.
fn charge(
    store: &mut Store,
    invoice: &mut Value,
    method: &str,
    amount: i64,
) -> Result<(), Refusal> {
    let outcome = store.outcomes.get(method).copied().unwrap_or(Outcome::Succeeds);
    let attempts = number(&invoice["attempt_count"]) + 1;
    invoice["attempt_count"] = attempts.into();
    invoice["attempted"] = true.into();
    let Some((mut payment, mut intent)) = payment_of(store, invoice) else {
        return Err(Refusal::invalid("The invoice has no payment"));
    };
    if let Some(refusal) = outcome.refusal() {
        if invoice["auto_advance"] == true {
            invoice["next_payment_attempt"] = (store.now() + 3 * 86_400).into();
        }
        let action = outcome == Outcome::RequiresAction;
        intent["status"] =
            if action { "requires_action" } else { "requires_payment_method" }.into();
        intent["last_payment_error"] = refusal.body()["error"].clone();
        store.put("payment_intent", &intent);
        store.put("invoice", invoice);
        if action {
            store.emit("invoice.payment_action_required", invoice);
        }
        store.emit("invoice.payment_failed", invoice);
        return Err(refusal.with("payment_intent", intent));
    }
    let mut charge = store.fresh("charge", "ch");
    charge["amount"] = amount.into();
    charge["amount_captured"] = amount.into();
    charge["captured"] = true.into();
    charge["currency"] = invoice["currency"].clone();
    charge["customer"] = invoice["customer"].clone();
    charge["description"] = Value::Null;
    charge["payment_intent"] = intent["id"].clone();
    charge["payment_method"] = method.into();
    intent["status"] = "succeeded".into();
    intent["amount_received"] = amount.into();
    intent["latest_charge"] = charge["id"].clone();
    intent["payment_method"] = method.into();
    let now = store.now();
    payment["status"] = "paid".into();
    payment["amount_paid"] = amount.into();
    payment["status_transitions"]["paid_at"] = now.into();
    store.insert("charge", charge.clone());
    store.put("payment_intent", &intent);
    store.put("invoice_payment", &payment);
    store.emit("charge.succeeded", &charge);
    store.emit("payment_intent.succeeded", &intent);
    mark_paid(store, invoice, amount);
    Ok(())
}

/// What Stripe does by itself with an invoice that advances.
pub fn retry(store: &mut Store, id: &str) -> Result<Value, Refusal> {
    let invoice = store.get("invoice", id, "id")?;
    if invoice["auto_advance"] != true {
        return Err(Refusal::invalid("Stripe tries only what advances by itself"));
    }
    pay(store, id, &Params(&json!({})))
}

pub fn list_payments(store: &Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["invoice", "payment", "status", "limit", "starting_after", "ending_before"])?;
    store.page("invoice_payment", "/v1/invoice_payments", params, |payment| {
        params.text("invoice").is_none_or(|id| payment["invoice"] == id)
            && params
                .text("payment.payment_intent")
                .is_none_or(|id| payment["payment"]["payment_intent"] == id)
            && params.text("status").is_none_or(|status| payment["status"] == status)
    })
}

pub fn refund(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["charge", "payment_intent", "amount", "reason", "metadata"])?;
    let id = match (params.text("charge"), params.text("payment_intent")) {
        (Some(id), _) => id.to_owned(),
        (None, Some(intent)) => {
            let intent = store.get("payment_intent", intent, "payment_intent")?;
            intent["latest_charge"].as_str().unwrap_or_default().to_owned()
        }
        (None, None) => return Err(Refusal::invalid("Missing required param: charge.")),
    };
    let mut charge = store.get("charge", &id, "charge")?;
    let left = number(&charge["amount"]) - number(&charge["amount_refunded"]);
    let amount = params.integer("amount")?.unwrap_or(left);
    if amount <= 0 || amount > left {
        let refusal = Refusal::invalid("Refund amount is greater than unrefunded amount on charge");
        return Err(refusal.code("charge_already_refunded").param("amount"));
    }
    let mut refund = store.fresh("refund", "re");
    refund["amount"] = amount.into();
    refund["charge"] = id.into();
    refund["currency"] = charge["currency"].clone();
    refund["payment_intent"] = charge["payment_intent"].clone();
    refund["reason"] = json!(params.text("reason"));
    params.metadata(&mut refund["metadata"]);
    charge["amount_refunded"] = (number(&charge["amount_refunded"]) + amount).into();
    charge["refunded"] = (amount == left).into();
    store.insert("refund", refund.clone());
    store.put("charge", &charge);
    store.emit("charge.refunded", &charge);
    Ok(refund)
}

pub fn credit(store: &mut Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["invoice", "amount", "credit_amount", "memo", "metadata", "reason"])?;
    let mut invoice = store.get("invoice", params.required("invoice")?, "invoice")?;
    params.required("amount")?;
    let amount = params.integer("amount")?.unwrap_or_default();
    let remaining = number(&invoice["amount_remaining"]);
    let (kind, field, most) = match invoice["status"].as_str() {
        Some("open") => ("pre_payment", "pre_payment_credit_notes_amount", remaining),
        Some("paid") => {
            ("post_payment", "post_payment_credit_notes_amount", number(&invoice["amount_paid"]))
        }
        _ => return Err(Refusal::invalid("You can only credit open and paid invoices")),
    };
    if amount <= 0 || amount > most - number(&invoice[field]).min(0) {
        let message = "The credit note's amount is more than can be credited";
        return Err(Refusal::invalid(message).param("amount"));
    }
    if kind == "post_payment" && params.integer("credit_amount")? != Some(amount) {
        let message = "The sum of credit amount, refund amount and out of band amount must equal \
                       the credit note's amount";
        return Err(Refusal::invalid(message).param("credit_amount"));
    }
    let mut note = store.fresh("credit_note", "cn");
    for total in ["amount", "subtotal", "subtotal_excluding_tax", "total"] {
        note[total] = amount.into();
    }
    note[format!("{kind}_amount")] = amount.into();
    note["type"] = kind.into();
    note["currency"] = invoice["currency"].clone();
    note["customer"] = invoice["customer"].clone();
    note["invoice"] = invoice["id"].clone();
    note["memo"] = json!(params.text("memo"));
    params.metadata(&mut note["metadata"]);
    invoice[field] = (number(&invoice[field]) + amount).into();
    if kind == "pre_payment" {
        invoice["amount_due"] = (number(&invoice["amount_due"]) - amount).into();
        invoice["amount_remaining"] = (remaining - amount).into();
    }
    store.insert("credit_note", note.clone());
    store.put("invoice", &invoice);
    store.emit("credit_note.created", &note);
    if kind == "pre_payment" && remaining == amount {
        mark_paid(store, &mut invoice, 0);
    }
    Ok(note)
}

pub fn list_credits(store: &Store, params: &Params<'_>) -> Result<Value, Refusal> {
    params.only(&["invoice", "customer", "limit", "starting_after", "ending_before"])?;
    store.page("credit_note", "/v1/credit_notes", params, |note| {
        params.text("invoice").is_none_or(|id| note["invoice"] == id)
            && params.text("customer").is_none_or(|id| note["customer"] == id)
    })
}
