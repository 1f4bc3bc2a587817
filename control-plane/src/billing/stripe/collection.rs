//! How far an invoice has come at Stripe: the row that survives a crash, and what Stripe last said.

use authsome_shared::id::{InvoiceId, WorkspaceId};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::attempt::Attempt;
use super::object;
use crate::billing::invoice::{Collector, Invoice, Status};
use crate::db::Tx;
use crate::error::Result;
use crate::jobs::{self, Job};
use crate::{execute, fetch_all, fetch_optional};

/// What it stands at; for people, since the next step is told from what Stripe has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Step {
    Create,
    Fill,
    Finalize,
    Pay,
    /// For its customer, or for Stripe's next try.
    Wait,
    Done,
    /// Something is not as it must be: `problem` says what.
    Stopped,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Collection {
    pub invoice_id: InvoiceId,
    pub workspace_id: WorkspaceId,
    pub customer_id: Option<String>,
    pub stripe_invoice_id: Option<String>,
    pub step: Step,
    attempt: i64,
    attempted_at: Option<DateTime<Utc>>,
    pub problem: Option<String>,
    pub hosted_url: Option<String>,
    pub stripe_status: Option<String>,
    /// In minor units, as those that follow.
    pub stripe_total: Option<i64>,
    pub stripe_paid: Option<i64>,
    pub refunded: i64,
    /// By credit notes that were made at Stripe.
    pub credited: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Collection {
    pub fn attempt(&self) -> Attempt {
        Attempt { number: self.attempt, began_at: self.attempted_at }
    }

    pub fn set_attempt(&mut self, attempt: &Attempt) {
        self.attempt = attempt.number;
        self.attempted_at = attempt.began_at;
    }

    /// The key of one of its calls.
    pub fn key(&self, what: &str) -> String {
        format!("{}-{what}-{}", self.invoice_id, self.attempt)
    }

    /// Takes up what Stripe says.
    pub fn take(&mut self, theirs: &object::Invoice) {
        self.stripe_invoice_id = Some(theirs.id.clone());
        self.customer_id = Some(theirs.customer.clone());
        self.stripe_status = Some(theirs.status.clone());
        self.stripe_total = Some(theirs.total);
        self.stripe_paid = Some(theirs.amount_paid);
        if theirs.hosted_invoice_url.is_some() {
            self.hosted_url.clone_from(&theirs.hosted_invoice_url);
        }
    }
}

/// The collection of an invoice; the first time it begins here.
pub async fn begin(tx: &mut Tx, invoice: &Invoice) -> Result<Collection> {
    if let Some(collection) = of(tx, &invoice.id).await? {
        return Ok(collection);
    }
    let now = tx.now();
    let collection = Collection {
        invoice_id: invoice.id.clone(),
        workspace_id: invoice.workspace_id.clone(),
        customer_id: None,
        stripe_invoice_id: None,
        step: Step::Create,
        attempt: 0,
        attempted_at: None,
        problem: None,
        hosted_url: None,
        stripe_status: None,
        stripe_total: None,
        stripe_paid: None,
        refunded: 0,
        credited: 0,
        created_at: now,
        updated_at: now,
    };
    put(tx, &collection).await?;
    Ok(collection)
}

/// Of an invoice, if it has begun.
pub async fn of(tx: &mut Tx, invoice: &InvoiceId) -> Result<Option<Collection>> {
    let select = format!("select * from collections where invoice_id = $1{}", tx.for_update());
    Ok(fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select.clone())).bind(invoice))?)
}

/// Where an open invoice can be paid at Stripe.
pub async fn payment_url(tx: &mut Tx, invoice: &Invoice) -> Result<Option<String>> {
    if !invoice.status.is_open() {
        return Ok(None);
    }
    Ok(of(tx, &invoice.id).await?.and_then(|collection| collection.hosted_url))
}

/// By the invoice's id at Stripe.
pub async fn of_stripes(tx: &mut Tx, stripe_invoice_id: &str) -> Result<Option<Collection>> {
    let select = "select * from collections where stripe_invoice_id = $1";
    Ok(fetch_optional!(tx, sqlx::query_as(select).bind(stripe_invoice_id))?)
}

pub async fn put(tx: &mut Tx, collection: &Collection) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into collections (invoice_id, workspace_id, customer_id, stripe_invoice_id, \
             step, attempt, attempted_at, problem, hosted_url, stripe_status, stripe_total, \
             stripe_paid, refunded, credited, created_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15) \
             on conflict (invoice_id) do update set customer_id = excluded.customer_id, \
             stripe_invoice_id = excluded.stripe_invoice_id, step = excluded.step, \
             attempt = excluded.attempt, attempted_at = excluded.attempted_at, \
             problem = excluded.problem, hosted_url = excluded.hosted_url, \
             stripe_status = excluded.stripe_status, stripe_total = excluded.stripe_total, \
             stripe_paid = excluded.stripe_paid, updated_at = excluded.updated_at"
        )
        .bind(&collection.invoice_id)
        .bind(&collection.workspace_id)
        .bind(&collection.customer_id)
        .bind(&collection.stripe_invoice_id)
        .bind(collection.step)
        .bind(collection.attempt)
        .bind(collection.attempted_at)
        .bind(&collection.problem)
        .bind(&collection.hosted_url)
        .bind(&collection.stripe_status)
        .bind(collection.stripe_total)
        .bind(collection.stripe_paid)
        .bind(collection.refunded)
        .bind(collection.credited)
        .bind(now)
    )?;
    Ok(())
}

/// Notes what was given back of it at Stripe.
pub async fn note_refunded(tx: &mut Tx, invoice: &InvoiceId, amount: i64) -> Result<()> {
    let update = "update collections set refunded = $1 where invoice_id = $2";
    execute!(tx, sqlx::query(update).bind(amount).bind(invoice))?;
    Ok(())
}

/// Notes what was credited of it at Stripe and not by us.
pub async fn note_credited(tx: &mut Tx, invoice: &InvoiceId, amount: i64) -> Result<()> {
    let update = "update collections set credited = $1 where invoice_id = $2";
    execute!(tx, sqlx::query(update).bind(amount).bind(invoice))?;
    Ok(())
}

/// Has a workspace's open invoices tried with what it pays with now.
pub async fn retry_open(tx: &mut Tx, workspace_id: &WorkspaceId) -> Result<()> {
    let open: Vec<(InvoiceId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select id from invoices where workspace_id = $1 and collector = $2 \
             and status in ($3, $4) order by period"
        )
        .bind(workspace_id)
        .bind(Collector::Stripe)
        .bind(Status::Pending)
        .bind(Status::Failed)
    )?;
    for (invoice_id,) in open {
        jobs::enqueue(tx, &Job::Collect { invoice_id }).await?;
    }
    Ok(())
}
