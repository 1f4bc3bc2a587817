//! What Stripe tells by webhook. An event says only what to look at: the object is fetched anew and
//! its state taken up, so that events may come twice, late and in any order. Each is kept by its id,
//! and looked at by a job.

use authsome_shared::id::WorkspaceId;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Failure, Form};
use super::object::{Charge, CreditNote, Customer, InvoicePayment, List, PaymentMethod};
use super::{Stripe, collect, collection, customer, follow, signature};
use crate::app::App;
use crate::billing::payment_method;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::jobs::{self, Job};
use crate::{execute, fetch_optional};

/// The beginnings of the kinds that are looked at; others are answered and forgotten.
const LOOKED_AT: [&str; 10] = [
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "payment_method.",
    "customer.updated",
    "customer.deleted",
    "charge.refunded",
    "credit_note.",
];

/// What a webhook says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Told {
    pub id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Data {
    object: Object,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Object {
    /// Some objects have none.
    #[serde(default)]
    id: String,
    #[serde(default)]
    customer: Value,
}

/// The event in a body whose signature is right.
pub fn read(stripe: &Stripe, signature: Option<&str>, body: &[u8], now: i64) -> Result<Told> {
    const HEADER: &str = "Stripe-Signature";
    let refuse = |why: &str| Error::invalid(HEADER, "invalid_value", why);
    let signature = signature.ok_or_else(|| refuse("The `Stripe-Signature` header is missing"))?;
    let secret = stripe.webhook_secret.expose();
    signature::verify(signature, body, secret, now, stripe.tolerance_seconds).map_err(refuse)?;
    let told: Told = serde_json::from_slice(body).map_err(|error| {
        Error::invalid("body", "invalid_json", format!("The body is no event of Stripe's: {error}"))
    })?;
    if !is_id(&told.id) {
        return Err(Error::invalid("id", "invalid_value", "`id` is no id of an event"));
    }
    Ok(told)
}

/// Of the alphabet of Stripe's ids: it becomes part of a path.
fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Keeps the event and has it looked at, once however often it comes.
pub async fn receive(tx: &mut Tx, told: &Told) -> Result<()> {
    let Told { id, kind, data: Data { object } } = told;
    if !LOOKED_AT.iter().any(|begin| kind.starts_with(begin)) || !is_id(&object.id) {
        return Ok(());
    }
    let now = tx.now();
    let customer = object.customer.as_str().filter(|id| is_id(id));
    let new = execute!(
        tx,
        sqlx::query(
            "insert into stripe_events (id, kind, object_id, customer_id, received_at) \
             values ($1, $2, $3, $4, $5) on conflict (id) do nothing"
        )
        .bind(id)
        .bind(kind)
        .bind(&object.id)
        .bind(customer)
        .bind(now)
    )?;
    if new == 1 {
        jobs::enqueue(tx, &Job::StripeEvent { event_id: id.clone() }).await?;
    }
    Ok(())
}

/// Looks at what an event is about. Makes calls: no transaction may be open.
pub async fn handle(app: &App, event_id: &str) -> Result<()> {
    let mut tx = app.db.read().await?;
    let select = "select kind, object_id, customer_id from stripe_events where id = $1";
    let row: Option<(String, String, Option<String>)> =
        fetch_optional!(tx, sqlx::query_as(select).bind(event_id))?;
    drop(tx);
    let Some((kind, object, customer)) = row else { return Ok(()) };
    let stripe = app.stripe()?;
    match kind.split_once('.').map_or(kind.as_str(), |(noun, _)| noun) {
        "payment_method" => {
            let mut tx = app.db.read().await?;
            let workspace = match customer {
                Some(customer) => customer::owner(&mut tx, &customer).await?,
                // One that was detached names nobody.
                None => payment_method::whose(&mut tx, &object).await?,
            };
            drop(tx);
            if let Some(workspace) = workspace {
                look_at_customer(app, stripe, &workspace).await?;
            }
        }
        "customer" => {
            let mut tx = app.db.read().await?;
            let workspace = customer::owner(&mut tx, &object).await?;
            drop(tx);
            if let Some(workspace) = workspace {
                look_at_customer(app, stripe, &workspace).await?;
            }
        }
        "invoice" => follow::look(app, stripe, &object).await?,
        "charge" => look_at_charge(app, stripe, &object).await?,
        "credit_note" => look_at_credit_note(app, stripe, &object).await?,
        _ => {}
    }
    let mut tx = app.db.write().await?;
    let now = tx.now();
    let update = "update stripe_events set handled_at = $1 where id = $2";
    execute!(tx, sqlx::query(update).bind(now).bind(event_id))?;
    Ok(tx.commit().await?)
}

/// Takes up what the workspace's customer pays with.
async fn look_at_customer(app: &App, stripe: &Stripe, workspace_id: &WorkspaceId) -> Result<()> {
    let mut tx = app.db.read().await?;
    let as_of = tx.now();
    let Some(id) = customer::known(&mut tx, workspace_id).await? else { return Ok(()) };
    drop(tx);
    let found = stripe.client.get::<Customer>(&format!("customers/{id}"), &Form::new()).await;
    let method = match found {
        Ok(Customer { deleted: false, invoice_settings, .. }) => {
            match invoice_settings.default_payment_method {
                None => None,
                Some(id) => {
                    let path = format!("payment_methods/{id}");
                    Some(stripe.client.get::<PaymentMethod>(&path, &Form::new()).await?)
                }
            }
        }
        Ok(_) | Err(Failure::Refused { status: 404, .. }) => {
            let mut tx = app.db.write().await?;
            payment_method::follow(&mut tx, workspace_id, None, as_of).await?;
            customer::forget(&mut tx, workspace_id, &id).await?;
            return Ok(tx.commit().await?);
        }
        Err(failure) => return Err(failure.into()),
    };
    let mut tx = app.db.write().await?;
    if payment_method::follow(&mut tx, workspace_id, method, as_of).await? {
        collection::retry_open(&mut tx, workspace_id).await?;
    }
    Ok(tx.commit().await?)
}

/// Notes what was given back of an invoice at Stripe. Ours stays paid: a refund is the operator's
/// doing, and the reconciliation names it.
async fn look_at_charge(app: &App, stripe: &Stripe, id: &str) -> Result<()> {
    let path = format!("charges/{id}");
    let charge: Charge = stripe.client.get(&path, &Form::new()).await?;
    let Some(intent) = &charge.payment_intent else { return Ok(()) };
    let form =
        Form::new().with("payment[type]", "payment_intent").with("payment[payment_intent]", intent);
    let payments: List<InvoicePayment> = stripe.client.get("invoice_payments", &form).await?;
    for payment in payments.data {
        let mut tx = app.db.write().await?;
        if let Some(known) = collection::of_stripes(&mut tx, &payment.invoice).await? {
            collection::note_refunded(&mut tx, &known.invoice_id, charge.amount_refunded).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Notes what was credited of an invoice at Stripe by somebody else than us.
async fn look_at_credit_note(app: &App, stripe: &Stripe, id: &str) -> Result<()> {
    let path = format!("credit_notes/{id}");
    let note: CreditNote = stripe.client.get(&path, &Form::new()).await?;
    let mut tx = app.db.read().await?;
    let Some(known) = collection::of_stripes(&mut tx, &note.invoice).await? else { return Ok(()) };
    drop(tx);
    let form = Form::new().with("invoice", &note.invoice);
    let foreign = |note: &CreditNote| {
        !note.metadata.contains_key(collect::INVOICE_KEY) && note.status != "void"
    };
    let notes = stripe.client.find("credit_notes", &form, foreign).await?;
    let credited = notes.iter().map(|note| note.amount).sum();
    let mut tx = app.db.write().await?;
    collection::note_credited(&mut tx, &known.invoice_id, credited).await?;
    tx.commit().await?;
    // It may be paid by it.
    follow::look(app, stripe, &note.invoice).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_what_to_look_at() {
        let text = r#"{"id":"evt_1","type":"payment_method.attached","extra":1,
            "data":{"object":{"id":"pm_1","customer":"cus_1","object":"payment_method"}}}"#;
        let told: Told = serde_json::from_str(text).unwrap();
        assert_eq!(told.kind, "payment_method.attached");
        assert_eq!(
            (told.data.object.id.as_str(), &told.data.object.customer),
            ("pm_1", &"cus_1".into())
        );
        for bad in ["", "evt_1/../x", "evt 1", "évt", &"e".repeat(256)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
