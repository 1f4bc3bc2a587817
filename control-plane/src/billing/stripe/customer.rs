//! A workspace's customer at Stripe: made once, found again when the answer was lost.

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::Stripe;
use super::attempt::Attempt;
use super::client::{Failure, Form};
use super::object::{Customer, Reference};
use crate::app::App;
use crate::billing::party::{self, Party};
use crate::db::Tx;
use crate::error::Result;
use crate::{execute, fetch_one, fetch_optional, random};

/// In the metadata of everything of ours at Stripe.
pub const WORKSPACE: &str = "metadata[authsome_workspace]";

/// The same, as it is read.
pub const WORKSPACE_KEY: &str = "authsome_workspace";

/// Stripe's clock may be so far from ours, in seconds.
const SKEW: i64 = 2 * 86_400;

/// The customer of a workspace, if it is known to be there.
pub async fn known(tx: &mut Tx, workspace_id: &WorkspaceId) -> Result<Option<String>> {
    let select = "select customer_id from stripe_customers where workspace_id = $1";
    let row: Option<(Option<String>,)> =
        fetch_optional!(tx, sqlx::query_as(select).bind(workspace_id))?;
    Ok(row.and_then(|(customer,)| customer))
}

/// Whose customer it is, if it is one of ours.
pub async fn owner(tx: &mut Tx, customer: &str) -> Result<Option<WorkspaceId>> {
    let select = "select workspace_id from stripe_customers where customer_id = $1";
    let row: Option<(WorkspaceId,)> = fetch_optional!(tx, sqlx::query_as(select).bind(customer))?;
    Ok(row.map(|(workspace,)| workspace))
}

/// The customer of a workspace; made when there is none. Makes calls: no transaction may be open.
pub async fn ensure(app: &App, stripe: &Stripe, workspace_id: &WorkspaceId) -> Result<String> {
    let mut tx = app.db.write().await?;
    let (customer, attempt) = read(&mut tx, workspace_id).await?;
    if let Some(customer) = customer {
        return Ok(customer);
    }
    let (attempt, look_first) = attempt.next(tx.now());
    note(&mut tx, workspace_id, None, &attempt).await?;
    let first = first_attempted_at(&mut tx, workspace_id).await?;
    let form = describe(&mut tx, app, workspace_id).await?;
    tx.commit().await?;

    let found = if look_first { look(stripe, workspace_id, first).await? } else { None };
    let made = match found {
        Some(id) => Ok(Reference { id }),
        None => {
            let key = format!("{workspace_id}-customer-{}", attempt.number);
            stripe.client.post::<Reference>("customers", &form, &key).await
        }
    };
    let mut tx = app.db.write().await?;
    match made {
        Ok(Reference { id }) => {
            note(&mut tx, workspace_id, Some(&id), &attempt).await?;
            tx.commit().await?;
            Ok(id)
        }
        Err(failure) => {
            if matches!(failure, Failure::Broken { .. }) {
                note(&mut tx, workspace_id, None, &attempt.after_failure()).await?;
                tx.commit().await?;
            }
            Err(failure.into())
        }
    }
}

/// Tells Stripe who the customer is by now: its mails and pages say so. Makes a call.
pub async fn refresh(
    app: &App,
    stripe: &Stripe,
    workspace_id: &WorkspaceId,
    customer: &str,
) -> Result<Result<(), Failure>> {
    let mut tx = app.db.read().await?;
    let form = describe(&mut tx, app, workspace_id).await?;
    drop(tx);
    // A second time it changes nothing.
    let key = format!("customer-{}", random::token());
    let told = stripe.client.post::<Reference>(&format!("customers/{customer}"), &form, &key).await;
    Ok(told.map(|_| ()))
}

/// The customer is no longer there: another is made when it is needed.
pub async fn forget(tx: &mut Tx, workspace_id: &WorkspaceId, customer: &str) -> Result<()> {
    let (known, attempt) = read(tx, workspace_id).await?;
    if known.as_deref() == Some(customer) {
        note(tx, workspace_id, None, &attempt.ended()).await?;
    }
    Ok(())
}

/// One that an attempt made whose answer was lost.
async fn look(
    stripe: &Stripe,
    workspace_id: &WorkspaceId,
    since: DateTime<Utc>,
) -> Result<Option<String>, Failure> {
    // By time and not by Stripe's search, which is minutes behind.
    let form = Form::new().with("created[gte]", since.timestamp() - SKEW);
    let ours = |customer: &Customer| {
        customer.metadata.get(WORKSPACE_KEY).is_some_and(|id| id == workspace_id.as_str())
    };
    let found = stripe.client.find("customers", &form, ours).await?;
    Ok(found.into_iter().next().map(|customer| customer.id))
}

async fn first_attempted_at(tx: &mut Tx, workspace_id: &WorkspaceId) -> Result<DateTime<Utc>> {
    let select = "select first_attempted_at from stripe_customers where workspace_id = $1";
    let (at,): (DateTime<Utc>,) = fetch_one!(tx, sqlx::query_as(select).bind(workspace_id))?;
    Ok(at)
}

/// Notes that Stripe was asked at `as_of` what the customer pays with, and answers whether that is
/// the latest that is known: of two that ask at once, the earlier may be heard later.
pub async fn is_latest(
    tx: &mut Tx,
    workspace_id: &WorkspaceId,
    as_of: DateTime<Utc>,
) -> Result<bool> {
    let update = "update stripe_customers set checked_at = $1 \
                  where workspace_id = $2 and checked_at <= $1";
    Ok(execute!(tx, sqlx::query(update).bind(as_of).bind(workspace_id))? == 1)
}

async fn read(tx: &mut Tx, workspace_id: &WorkspaceId) -> Result<(Option<String>, Attempt)> {
    let select = format!(
        "select customer_id, attempt, attempted_at from stripe_customers \
         where workspace_id = $1{}",
        tx.for_update()
    );
    let row: Option<(Option<String>, i64, Option<DateTime<Utc>>)> =
        fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select.clone())).bind(workspace_id))?;
    Ok(match row {
        Some((customer, number, began_at)) => (customer, Attempt { number, began_at }),
        None => (None, Attempt::default()),
    })
}

async fn note(
    tx: &mut Tx,
    workspace_id: &WorkspaceId,
    customer: Option<&str>,
    attempt: &Attempt,
) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into stripe_customers (workspace_id, customer_id, attempt, attempted_at, \
             first_attempted_at, checked_at) values ($1, $2, $3, $4, $5, $5) on conflict (workspace_id) do update set \
             customer_id = excluded.customer_id, attempt = excluded.attempt, \
             attempted_at = excluded.attempted_at"
        )
        .bind(workspace_id)
        .bind(customer)
        .bind(attempt.number)
        .bind(attempt.began_at)
        .bind(now)
    )?;
    Ok(())
}

/// Who the customer is: as on invoices.
async fn describe(tx: &mut Tx, app: &App, workspace_id: &WorkspaceId) -> Result<Form> {
    let issuer = &app.config.billing.issuer;
    let Party { name, email, address, .. } =
        party::parties(tx, issuer, workspace_id).await?.customer;
    let form = Form::new()
        .with(WORKSPACE, workspace_id)
        .with("name", name)
        .maybe("email", email)
        .maybe("address[line1]", address.line1)
        .maybe("address[line2]", address.line2)
        .maybe("address[city]", address.city)
        .maybe("address[postal_code]", address.postal_code)
        .maybe("address[state]", address.state)
        .maybe("address[country]", address.country);
    Ok(form)
}
