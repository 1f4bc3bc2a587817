//! What becomes of an invoice at Stripe, becomes of ours: paid, refused, voided, given up
//! (`invoice::settle`). Told by `collect`, which has just asked, or by an event, which only says where
//! to look. Bringing it there is for `collect`. Fails when Stripe can't be asked.

use authsome_shared::id::InvoiceId;

use super::client::Form;
use super::collect::{BY, INVOICE_KEY};
use super::object::{self, InvoicePayment, List, PaymentIntent};
use super::{Stripe, collection};
use crate::app::App;
use crate::billing::credit;
use crate::billing::invoice::{settle, store};
use crate::error::Result;

/// Takes up what became of an invoice at Stripe. `reason`: why its payment failed, if it did.
pub(super) async fn follow(
    app: &App,
    id: &InvoiceId,
    theirs: &object::Invoice,
    reason: Option<String>,
) -> Result<()> {
    let mut tx = app.db.write().await?;
    let Some(ours) = store::hold(&mut tx, id).await? else { return Ok(()) };
    if !ours.status.is_open() {
        return Ok(());
    }
    match theirs.status.as_str() {
        "paid" => {
            let over = theirs.amount_paid.min(theirs.asked()) - ours.amount_due;
            settle::paid(&mut tx, BY, id, Some(&theirs.id)).await?;
            if over > 0 {
                credit::overpaid(&mut tx, &ours, over).await?;
            }
        }
        "void" => {
            settle::void(&mut tx, BY, id, "It was voided at Stripe").await?;
        }
        "uncollectible" => {
            let reason = "It was marked as uncollectible at Stripe";
            settle::failed(&mut tx, BY, id, reason).await?;
        }
        "open" => {
            if let Some(reason) = reason {
                settle::failed(&mut tx, BY, id, &reason).await?;
            }
        }
        _ => {}
    }
    Ok(tx.commit().await?)
}

/// Looks at an invoice that Stripe told of, and takes up its state. Makes calls.
pub async fn look(app: &App, stripe: &Stripe, stripe_invoice_id: &str) -> Result<()> {
    let path = format!("invoices/{stripe_invoice_id}");
    let theirs: object::Invoice = match stripe.client.get(&path, &Form::new()).await {
        Ok(theirs) => theirs,
        // A draft that was deleted.
        Err(failure) if failure.is_absent() => return Ok(()),
        Err(failure) => return Err(failure.into()),
    };
    let named = theirs.metadata.get(INVOICE_KEY).and_then(|id| id.parse::<InvoiceId>().ok());
    let Some(id) = named else { return Ok(()) };
    let reason = if theirs.status == "open" && theirs.attempted {
        Some(why_failed(stripe, &theirs).await?)
    } else {
        None
    };
    let mut tx = app.db.write().await?;
    let Some(mut collection) = collection::of(&mut tx, &id).await? else { return Ok(()) };
    // Of two with our id, only the one that we know counts.
    if collection.stripe_invoice_id.as_deref().is_some_and(|known| known != theirs.id) {
        return Ok(());
    }
    collection.take(&theirs);
    collection::put(&mut tx, &collection).await?;
    tx.commit().await?;
    follow(app, &id, &theirs, reason).await
}

/// What the card's issuer said last.
async fn why_failed(stripe: &Stripe, theirs: &object::Invoice) -> Result<String> {
    const UNKNOWN: &str = "The payment failed";
    let form = Form::new().with("invoice", &theirs.id);
    let payments: List<InvoicePayment> = stripe.client.get("invoice_payments", &form).await?;
    let intent = payments.data.into_iter().find_map(|payment| payment.payment.payment_intent);
    let Some(intent) = intent else { return Ok(UNKNOWN.into()) };
    let path = format!("payment_intents/{intent}");
    let intent: PaymentIntent = stripe.client.get(&path, &Form::new()).await?;
    let Some(error) = intent.last_payment_error else { return Ok(UNKNOWN.into()) };
    let message = error.message.unwrap_or_else(|| UNKNOWN.into());
    Ok(reason(&error.code.unwrap_or_default(), message, theirs.hosted_invoice_url.as_deref()))
}

/// Why a payment failed, for the workspace: in the issuer's words, or what is to be done.
pub(super) fn reason(code: &str, message: String, hosted_url: Option<&str>) -> String {
    match (code, hosted_url) {
        ("invoice_payment_intent_requires_action" | "authentication_required", Some(url)) => {
            format!("The card's holder has to confirm the payment at {url}")
        }
        _ => message,
    }
}
