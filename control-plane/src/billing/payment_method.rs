//! What a workspace pays with. Stripe holds it; here stands what may be shown of it. It is set by an
//! id that the holder's browser got from Stripe, so that no card number ever comes here; what Stripe
//! changes of it by itself comes by webhook.

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::stripe::client::{Failure, Form};
use super::stripe::object::{PaymentMethod, PortalSession, Reference, SetupIntent};
use super::stripe::{Stripe, collection, customer};
use crate::actor::Access;
use crate::app::App;
use crate::audit;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::{execute, fetch_optional, random};

const FIELD: &str = "stripePaymentMethodId";

/// What may be shown.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Shown {
    pub stripe_id: String,
    /// As Stripe calls it; `card` has the fields below.
    pub kind: String,
    pub brand: Option<String>,
    pub last4: Option<String>,
    pub exp_month: Option<i64>,
    pub exp_year: Option<i64>,
}

impl Shown {
    fn audited(&self) -> Value {
        json!({
            "stripePaymentMethodId": self.stripe_id, "type": self.kind, "brand": self.brand,
            "last4": self.last4, "expMonth": self.exp_month, "expYear": self.exp_year,
        })
    }
}

impl From<PaymentMethod> for Shown {
    fn from(method: PaymentMethod) -> Self {
        let PaymentMethod { id, kind, card, .. } = method;
        let mut shown =
            Self { stripe_id: id, kind, brand: None, last4: None, exp_month: None, exp_year: None };
        if let Some(card) = card {
            shown.brand = Some(card.brand);
            shown.last4 = Some(card.last4);
            shown.exp_month = Some(card.exp_month);
            shown.exp_year = Some(card.exp_year);
        }
        shown
    }
}

/// Of the workspace that the access is to.
pub async fn get(tx: &mut Tx, access: &Access) -> Result<Option<Shown>> {
    of(tx, access.workspace_id()).await
}

/// Of any workspace, for jobs.
pub async fn of(tx: &mut Tx, workspace_id: &WorkspaceId) -> Result<Option<Shown>> {
    Ok(fetch_optional!(
        tx,
        sqlx::query_as(
            "select stripe_id, kind, brand, last4, exp_month, exp_year from payment_methods \
             where workspace_id = $1"
        )
        .bind(workspace_id)
    )?)
}

/// The workspace that pays with it.
pub async fn whose(tx: &mut Tx, stripe_id: &str) -> Result<Option<WorkspaceId>> {
    let select = "select workspace_id from payment_methods where stripe_id = $1";
    let row: Option<(WorkspaceId,)> = fetch_optional!(tx, sqlx::query_as(select).bind(stripe_id))?;
    Ok(row.map(|(workspace,)| workspace))
}

/// Is the id one that Stripe could have given?
fn check(id: &str) -> Result<()> {
    let fine = id.strip_prefix("pm_").is_some_and(|rest| {
        (1..=250).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
    if fine {
        return Ok(());
    }
    let message =
        format!("`{FIELD}` must be the id of a payment method at Stripe, such as pm_1Abc");
    Err(Error::invalid(FIELD, "invalid_value", message))
}

/// Makes it the customer's own, and what its invoices are paid with. Makes calls: no transaction may
/// be open. [`store`] is to follow.
pub async fn attach(
    app: &App,
    stripe: &Stripe,
    workspace_id: &WorkspaceId,
    id: &str,
) -> Result<Shown> {
    check(id)?;
    let mut customer = customer::ensure(app, stripe, workspace_id).await?;
    let attached = match attach_to(stripe, &customer, id).await {
        // Somebody deleted the customer at Stripe.
        Err(failure) if failure.is_missing("customer") => {
            let mut tx = app.db.write().await?;
            customer::forget(&mut tx, workspace_id, &customer).await?;
            tx.commit().await?;
            customer = customer::ensure(app, stripe, workspace_id).await?;
            attach_to(stripe, &customer, id).await
        }
        other => other,
    };
    let method = attached.map_err(|failure| match failure {
        Failure::Refused { status: 400 | 404, message, .. } => {
            Error::invalid(FIELD, "invalid_value", format!("`{FIELD}`: {message}"))
        }
        other => other.into(),
    })?;
    let form = Form::new().with("invoice_settings[default_payment_method]", &method.id);
    let path = format!("customers/{customer}");
    stripe.client.post::<Reference>(&path, &form, &once("default")).await?;
    Ok(method.into())
}

async fn attach_to(stripe: &Stripe, customer: &str, id: &str) -> Result<PaymentMethod, Failure> {
    let path = format!("payment_methods/{id}/attach");
    let form = Form::new().with("customer", customer);
    // A second time it changes nothing, and Stripe would keep a refusal under a key for a day.
    stripe.client.post(&path, &form, &once("attach")).await
}

/// A key for calls that may be made again under another.
fn once(what: &str) -> String {
    format!("{what}-{}", random::token())
}

/// Notes what was attached, and has open invoices tried with it. Answers the one that it took the place of, for [`discard`].
pub async fn store(tx: &mut Tx, access: &Access, method: &Shown) -> Result<Option<Shown>> {
    let now = tx.now();
    let before = get(tx, access).await?;
    customer::is_latest(tx, access.workspace_id(), now).await?;
    write(tx, access.workspace_id(), method).await?;
    collection::retry_open(tx, access.workspace_id()).await?;
    let entry = access.audit("payment_method.set").on("payment_method", &method.stripe_id);
    tx.audit(match &before {
        Some(before) => entry.change(before.audited(), method.audited()),
        None => entry.after(method.audited()),
    });
    Ok(before.filter(|before| before.stripe_id != method.stripe_id))
}

/// Takes up what Stripe, asked at `as_of`, says of a workspace's payment method. Answers whether there
/// is another one than before, so that what is open can be tried with it.
pub async fn follow(
    tx: &mut Tx,
    workspace_id: &WorkspaceId,
    now: Option<PaymentMethod>,
    as_of: DateTime<Utc>,
) -> Result<bool> {
    if !customer::is_latest(tx, workspace_id, as_of).await? {
        return Ok(false);
    }
    let before = of(tx, workspace_id).await?;
    let now = now.map(Shown::from);
    if before == now || !exists(tx, workspace_id).await? {
        return Ok(false);
    }
    let by = |action| audit::Entry::by_system("stripe", action).in_workspace(workspace_id);
    match (&before, &now) {
        (_, Some(method)) => {
            write(tx, workspace_id, method).await?;
            let entry = by("payment_method.changed").on("payment_method", &method.stripe_id);
            let before = before.as_ref().map_or(json!({}), Shown::audited);
            tx.audit(entry.change(before, method.audited()));
        }
        (Some(method), None) => {
            remove(tx, workspace_id).await?;
            let entry = by("payment_method.removed").on("payment_method", &method.stripe_id);
            tx.audit(entry.before(method.audited()));
        }
        (None, None) => {}
    }
    Ok(now.is_some())
}

/// A workspace that is purged has nothing to be shown any more.
async fn exists(tx: &mut Tx, workspace_id: &WorkspaceId) -> Result<bool> {
    let select = "select id from workspaces where id = $1";
    let row: Option<(String,)> = fetch_optional!(tx, sqlx::query_as(select).bind(workspace_id))?;
    Ok(row.is_some())
}

/// Takes it from the customer at Stripe. One that is gone already is fine. Makes a call.
pub async fn discard(stripe: &Stripe, method: &Shown) -> Result<()> {
    let path = format!("payment_methods/{}/detach", method.stripe_id);
    match stripe.client.post::<Reference>(&path, &Form::new(), &once("detach")).await {
        Ok(_) | Err(Failure::Refused { status: 400 | 404, .. }) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// Forgets it here.
pub async fn forget(tx: &mut Tx, access: &Access) -> Result<()> {
    let now = tx.now();
    customer::is_latest(tx, access.workspace_id(), now).await?;
    let Some(method) = get(tx, access).await? else { return Ok(()) };
    remove(tx, access.workspace_id()).await?;
    let entry = access.audit("payment_method.removed").on("payment_method", &method.stripe_id);
    tx.audit(entry.before(method.audited()));
    Ok(())
}

/// What a browser needs to have its holder enter a payment method at Stripe. Makes calls.
pub async fn begin_setup(
    app: &App,
    stripe: &Stripe,
    workspace_id: &WorkspaceId,
) -> Result<SetupIntent> {
    let customer = customer::ensure(app, stripe, workspace_id).await?;
    let form = Form::new()
        .with("customer", customer)
        .with("usage", "off_session")
        .with("payment_method_types[]", "card")
        .with(customer::WORKSPACE, workspace_id);
    Ok(stripe.client.post("setup_intents", &form, &once("setup")).await?)
}

/// A page of Stripe's, for a while, on which a member sees and changes what is paid with. Makes calls.
pub async fn open_portal(
    app: &App,
    stripe: &Stripe,
    workspace_id: &WorkspaceId,
    return_url: &str,
) -> Result<PortalSession> {
    let customer = customer::ensure(app, stripe, workspace_id).await?;
    let form = Form::new().with("customer", customer).with("return_url", return_url);
    Ok(stripe.client.post("billing_portal/sessions", &form, &once("portal")).await?)
}

async fn write(tx: &mut Tx, workspace_id: &WorkspaceId, method: &Shown) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into payment_methods (workspace_id, stripe_id, kind, brand, last4, exp_month, \
             exp_year, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8) \
             on conflict (workspace_id) do update set stripe_id = excluded.stripe_id, \
             kind = excluded.kind, brand = excluded.brand, last4 = excluded.last4, \
             exp_month = excluded.exp_month, exp_year = excluded.exp_year, \
             updated_at = excluded.updated_at"
        )
        .bind(workspace_id)
        .bind(&method.stripe_id)
        .bind(&method.kind)
        .bind(&method.brand)
        .bind(&method.last4)
        .bind(method.exp_month)
        .bind(method.exp_year)
        .bind(now)
    )?;
    Ok(())
}

async fn remove(tx: &mut Tx, workspace_id: &WorkspaceId) -> Result<()> {
    let delete = "delete from payment_methods where workspace_id = $1";
    execute!(tx, sqlx::query(delete).bind(workspace_id))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_stripe_could_give_are_taken() {
        for good in ["pm_1", "pm_1Pgc75B7WZ01zgkWlHVgdEGJ", "pm_card_visa"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = format!("pm_{}", "a".repeat(251));
        for bad in ["", "pm_", "card_1", "pm_1/detach", "pm_é", "pm_1?x=y", " pm_1", &long] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
