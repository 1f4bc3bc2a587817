//! Brings an invoice of ours to Stripe and has it paid. Each step is told from what Stripe has at
//! that moment, so that a crash, a lost answer or somebody's hand at Stripe only changes where it
//! goes on from. What becomes of it there, becomes of ours (`follow`); a void, a payment by
//! other means and a credit of ours become Stripe's.
//!
//! Fails when Stripe can't be asked, refuses, or has another total than ours: then nothing is charged,
//! the collection says why, and it is tried again later. A declined card is no failure: the invoice
//! waits for Stripe's next try, or for another card.

use std::collections::BTreeMap;

use anyhow::anyhow;
use authsome_shared::id::InvoiceId;
use chrono::{DateTime, Utc};

use super::client::{Failure, Form};
use super::collection::{self, Collection, Step};
use super::follow::{follow, reason};
use super::lines::{self, Wanted};
use super::object::{self, Reference};
use super::{Stripe, customer};
use crate::app::App;
use crate::billing::invoice::settle::{self, By};
use crate::billing::invoice::{Collector, Invoice, Status, store};
use crate::billing::payment_method;
use crate::error::{Error, Result};

/// By which an invoice and its items are known at Stripe.
pub const INVOICE_KEY: &str = "authsome_invoice";
const LINE_KEY: &str = "authsome_line";

pub(super) const BY: By<'static> = By::System("stripe");

/// An invoice takes so many steps at most: more, and something undoes them.
const MOST_STEPS: usize = 20;

/// All that a step is told from.
struct Work<'a> {
    app: &'a App,
    stripe: &'a Stripe,
    ours: Invoice,
    collection: Collection,
    /// Was a call made before whose answer may be lost?
    look_first: bool,
    /// Does the workspace have something to pay with?
    has_method: bool,
    now: DateTime<Utc>,
}

/// What a step leads to.
enum Next {
    /// Look again, and go on.
    Go,
    End,
}

/// Takes an invoice as far as it gets. Makes calls: no transaction may be open.
pub async fn run(app: &App, stripe: &Stripe, id: &InvoiceId) -> Result<()> {
    for _ in 0..MOST_STEPS {
        let Some(mut work) = open(app, stripe, id).await? else { return Ok(()) };
        // On the heap: it is large, and part of every job's future.
        match Box::pin(work.step()).await {
            Ok(Next::Go) => {}
            Ok(Next::End) => return Ok(()),
            Err(error) => return Err(work.fail(error).await),
        }
    }
    Err(Error::internal(anyhow!("collecting {id} does not come to an end")))
}

async fn open<'a>(app: &'a App, stripe: &'a Stripe, id: &InvoiceId) -> Result<Option<Work<'a>>> {
    let mut tx = app.db.write().await?;
    let Some(ours) = store::by_id(&mut tx, id).await? else { return Ok(None) };
    if ours.collector != Collector::Stripe || ours.status == Status::Draft {
        return Ok(None);
    }
    let mut collection = collection::begin(&mut tx, &ours).await?;
    let now = tx.now();
    let (attempt, look_first) = collection.attempt().next(now);
    let never = collection.stripe_invoice_id.is_none() && !look_first;
    if never && !ours.status.is_open() {
        // Nothing of it is at Stripe, and nothing need be.
        collection.step = Step::Done;
        collection::put(&mut tx, &collection).await?;
        tx.commit().await?;
        return Ok(None);
    }
    collection.set_attempt(&attempt);
    collection::put(&mut tx, &collection).await?;
    let has_method = payment_method::of(&mut tx, &ours.workspace_id).await?.is_some();
    tx.commit().await?;
    Ok(Some(Work { app, stripe, ours, collection, look_first, has_method, now }))
}

/// Why a step did not succeed.
enum Trouble {
    Stripe(Failure),
    /// What is there is not as it must be; a person has to look.
    Wrong(String),
    Ours(Error),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Stripe(failure)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl Work<'_> {
    async fn step(&mut self) -> Result<Next, Trouble> {
        let Some(theirs) = self.theirs().await? else {
            return if self.ours.status.is_open() {
                self.create().await
            } else {
                self.done().await
            };
        };
        self.collection.take(&theirs);
        self.save().await?;
        match (theirs.status.as_str(), self.ours.status) {
            ("draft", Status::Pending | Status::Failed) => self.fill_and_finalize(&theirs).await,
            ("draft", _) => {
                self.stripe.client.delete::<Reference>(&self.path("")).await?;
                self.done().await
            }
            ("open", Status::Pending | Status::Failed) => self.pay(&theirs).await,
            ("open" | "uncollectible", Status::Paid) => {
                if self.credit(&theirs).await? {
                    return Ok(Next::Go);
                }
                let form = Form::new().with("paid_out_of_band", true);
                self.post("pay", &form).await?;
                self.done().await
            }
            ("open" | "uncollectible", Status::Void) => {
                self.post("void", &Form::new()).await?;
                self.done().await
            }
            ("void", Status::Paid | Status::Void) | ("paid", Status::Paid) => self.done().await,
            ("paid", Status::Void) => {
                let paid = self.ours.currency.format(theirs.amount_paid);
                let problem = format!("it is void, and {paid} was paid of it at Stripe");
                tracing::error!(invoice = %self.ours.id, problem, "collecting stopped");
                self.collection.step = Step::Stopped;
                self.collection.problem = Some(problem);
                self.save().await?;
                Ok(Next::End)
            }
            ("paid" | "void" | "uncollectible", _) => {
                follow(self.app, &self.ours.id, &theirs, None).await?;
                self.done().await
            }
            (other, _) => Err(Trouble::Wrong(format!("Stripe calls it {other:?}"))),
        }
    }

    /// The invoice as Stripe has it now. One whose answer was lost is looked for.
    async fn theirs(&mut self) -> Result<Option<object::Invoice>, Trouble> {
        if let Some(id) = &self.collection.stripe_invoice_id {
            let found = self.stripe.client.get(&format!("invoices/{id}"), &Form::new()).await;
            return match found {
                // Somebody deleted the draft.
                Err(failure) if failure.is_absent() => {
                    self.collection.stripe_invoice_id = None;
                    self.collection.set_attempt(&self.collection.attempt().after_failure());
                    self.save().await?;
                    Ok(None)
                }
                Err(failure) => Err(failure.into()),
                Ok(found) => Ok(Some(found)),
            };
        }
        let Some(customer) = self.collection.customer_id.as_ref().filter(|_| self.look_first)
        else {
            return Ok(None);
        };
        let form = Form::new().with("customer", customer);
        let ours = |invoice: &object::Invoice| {
            let id = invoice.metadata.get(INVOICE_KEY);
            id.is_some_and(|id| id == self.ours.id.as_str())
        };
        let found = self.stripe.client.find("invoices", &form, ours).await?;
        if found.len() > 1 {
            let ids: Vec<String> = found.into_iter().map(|invoice| invoice.id).collect();
            let ids = ids.join(", ");
            return Err(Trouble::Wrong(format!("it is at Stripe more than once: {ids}")));
        }
        Ok(found.into_iter().next())
    }

    async fn create(&mut self) -> Result<Next, Trouble> {
        let workspace = &self.ours.workspace_id;
        let customer = customer::ensure(self.app, self.stripe, workspace).await?;
        // Before the call: it says where to look for what becomes of it.
        self.collection.customer_id = Some(customer.clone());
        self.collection.step = Step::Create;
        self.save().await?;
        let form = Form::new()
            .with("customer", &customer)
            .with("currency", self.ours.currency.as_str().to_lowercase())
            .with("auto_advance", false)
            .with("pending_invoice_items_behavior", "exclude")
            .with("description", format!("Invoice {}", self.ours.name()))
            .with(format!("metadata[{INVOICE_KEY}]"), &self.ours.id)
            .with("metadata[authsome_number]", self.ours.name())
            .with(customer::WORKSPACE, workspace);
        let form = if self.has_method {
            form.with("collection_method", "charge_automatically")
        } else {
            form.with("collection_method", "send_invoice").with("days_until_due", self.days())
        };
        let key = self.collection.key("create");
        let made = match customer::refresh(self.app, self.stripe, workspace, &customer).await? {
            Ok(()) => self.stripe.client.post::<object::Invoice>("invoices", &form, &key).await,
            Err(failure) => Err(failure),
        };
        match made {
            Ok(made) => {
                self.collection.take(&made);
                self.save().await?;
                Ok(Next::Go)
            }
            // Somebody deleted the customer at Stripe.
            Err(failure) if failure.is_missing("customer") || failure.is_absent() => {
                let mut tx = self.app.db.write().await?;
                customer::forget(&mut tx, workspace, &customer).await?;
                tx.commit().await?;
                self.collection.customer_id = None;
                self.collection.set_attempt(&self.collection.attempt().after_failure());
                self.save().await?;
                Ok(Next::Go)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Until it is due, in whole days.
    fn days(&self) -> i64 {
        let left = self.ours.due_at.map_or(0, |due| (due - self.now).num_seconds());
        (left.max(0) + 86_399) / 86_400
    }

    async fn fill_and_finalize(&mut self, theirs: &object::Invoice) -> Result<Next, Trouble> {
        self.collection.step = Step::Fill;
        self.save().await?;
        let mut tx = self.app.db.read().await?;
        let lines = store::lines(&mut tx, &self.ours.id).await?;
        drop(tx);
        let wanted = lines::of(&self.ours, &lines).map_err(Trouble::Wrong)?;
        let form = Form::new().with("invoice", &theirs.id);
        let there =
            self.stripe.client.find("invoiceitems", &form, |_: &object::InvoiceItem| true).await?;
        let mut there: BTreeMap<i64, object::InvoiceItem> = there
            .into_iter()
            .filter_map(|item| Some((item.metadata.get(LINE_KEY)?.parse().ok()?, item)))
            .collect();
        for line in &wanted {
            match there.remove(&line.position) {
                Some(item) if item.amount == line.amount => {}
                Some(item) => {
                    self.drop_item(&item).await?;
                    self.add_item(theirs, line).await?;
                }
                None => self.add_item(theirs, line).await?,
            }
        }
        for item in there.values() {
            self.drop_item(item).await?;
        }
        let path = self.path("");
        let filled: object::Invoice = self.stripe.client.get(&path, &Form::new()).await?;
        if filled.total != self.ours.amount_due {
            let currency = &self.ours.currency;
            let (total, due) =
                (currency.format(filled.total), currency.format(self.ours.amount_due));
            return Err(Trouble::Wrong(format!("Stripe's total is {total}, and ours is {due}")));
        }
        self.collection.step = Step::Finalize;
        self.save().await?;
        // Where there is a card, Stripe tries again by itself if the first time fails.
        let form = Form::new().with("auto_advance", self.has_method);
        self.post("finalize", &form).await?;
        Ok(Next::Go)
    }

    async fn add_item(&self, theirs: &object::Invoice, line: &Wanted) -> Result<(), Trouble> {
        let Wanted { position, description, amount, period } = line;
        let description: String = description.chars().take(500).collect();
        let form = Form::new()
            .with("customer", &theirs.customer)
            .with("invoice", &theirs.id)
            .with("currency", self.ours.currency.as_str().to_lowercase())
            .with("amount", amount)
            .with("description", description)
            // Our discounts are lines: none of Stripe's may come on top.
            .with("discountable", false)
            .with(format!("metadata[{LINE_KEY}]"), position)
            .with(format!("metadata[{INVOICE_KEY}]"), &self.ours.id)
            .maybe("period[start]", period.map(|(start, _)| start))
            .maybe("period[end]", period.map(|(_, end)| end));
        let key = self.collection.key(&format!("line-{position}-{amount}"));
        self.stripe.client.post::<Reference>("invoiceitems", &form, &key).await?;
        Ok(())
    }

    async fn drop_item(&self, item: &object::InvoiceItem) -> Result<(), Trouble> {
        match self.stripe.client.delete::<Reference>(&format!("invoiceitems/{}", item.id)).await {
            Err(failure) if !failure.is_absent() => Err(failure.into()),
            _ => Ok(()),
        }
    }

    /// Takes off at Stripe what our credit notes took off after it was made there; `false` when there
    /// is nothing.
    async fn credit(&self, theirs: &object::Invoice) -> Result<bool, Trouble> {
        let due = theirs.asked();
        let over = due - self.ours.amount_due;
        let credited = self.ours.credited > 0 && theirs.status == "open";
        if over <= 0 || !credited {
            return Ok(false);
        }
        let form = Form::new()
            .with("invoice", &theirs.id)
            .with("amount", over)
            .with("memo", format!("Credit notes of invoice {}", self.ours.name()))
            .with(format!("metadata[{INVOICE_KEY}]"), &self.ours.id);
        let key = self.collection.key(&format!("credit-{due}-{over}"));
        self.stripe.client.post::<Reference>("credit_notes", &form, &key).await?;
        Ok(true)
    }

    async fn pay(&mut self, theirs: &object::Invoice) -> Result<Next, Trouble> {
        if self.credit(theirs).await? {
            return Ok(Next::Go);
        }
        if !self.has_method {
            if self.collection.step == Step::Finalize {
                // Stripe's mail to its customer. One that was made for a card is not sent.
                match self.post("send", &Form::new()).await {
                    Ok(()) | Err(Trouble::Stripe(Failure::Refused { status: 400, .. })) => {}
                    Err(trouble) => return Err(trouble),
                }
            }
            self.collection.step = Step::Wait;
            self.save().await?;
            return Ok(Next::End);
        }
        self.collection.step = Step::Pay;
        self.save().await?;
        let form = Form::new().with("off_session", true);
        let failure = match self.post("pay", &form).await {
            Ok(()) => return Ok(Next::Go),
            Err(Trouble::Stripe(failure)) => failure,
            Err(trouble) => return Err(trouble),
        };
        match failure {
            Failure::Card { code, message } => {
                let reason = reason(&code, message, self.collection.hosted_url.as_deref());
                let mut tx = self.app.db.write().await?;
                settle::failed(&mut tx, BY, &self.ours.id, &reason).await?;
                // Stripe would repeat this answer under this key.
                self.collection.set_attempt(&self.collection.attempt().after_failure());
                self.collection.step = Step::Wait;
                self.collection.problem = Some(reason);
                collection::put(&mut tx, &self.collection).await?;
                tx.commit().await?;
                Ok(Next::End)
            }
            failure @ Failure::Refused { .. } => {
                // It may have been paid, or ended, in between.
                let now: object::Invoice =
                    self.stripe.client.get(&self.path(""), &Form::new()).await?;
                if now.status == "open" { Err(failure.into()) } else { Ok(Next::Go) }
            }
            failure => Err(failure.into()),
        }
    }

    /// The path of the invoice at Stripe, or of one of its actions.
    fn path(&self, action: &str) -> String {
        let id = self.collection.stripe_invoice_id.as_deref().unwrap_or_default();
        format!("invoices/{id}{action}")
    }

    async fn post(&self, action: &str, form: &Form) -> Result<(), Trouble> {
        let (path, key) = (self.path(&format!("/{action}")), self.collection.key(action));
        self.stripe.client.post::<Reference>(&path, form, &key).await?;
        Ok(())
    }

    async fn save(&self) -> Result<()> {
        let mut tx = self.app.db.write().await?;
        collection::put(&mut tx, &self.collection).await?;
        Ok(tx.commit().await?)
    }

    async fn done(&mut self) -> Result<Next, Trouble> {
        self.collection.step = Step::Done;
        self.collection.problem = None;
        self.save().await?;
        Ok(Next::End)
    }

    /// Notes why it stands still.
    async fn fail(&mut self, trouble: Trouble) -> Error {
        let id = &self.ours.id;
        let (error, problem) = match trouble {
            Trouble::Ours(error) => return error,
            Trouble::Wrong(what) => {
                tracing::error!(invoice = %id, problem = what, "collecting stopped");
                self.collection.step = Step::Stopped;
                (Error::internal(anyhow!("collecting {id}: {what}")), what)
            }
            Trouble::Stripe(failure) => {
                if matches!(failure, Failure::Broken { .. }) {
                    let attempt = self.collection.attempt().after_failure();
                    self.collection.set_attempt(&attempt);
                }
                let problem = failure.to_string();
                (Error::internal(anyhow!(failure).context(format!("collecting {id}"))), problem)
            }
        };
        self.collection.problem = Some(problem);
        match self.save().await {
            Ok(()) => error,
            Err(unsaved) => unsaved,
        }
    }
}
