//! Runs jobs as they fall due, and the hourly housekeeping: the one place that knows what each kind
//! of job does. A stop lets the jobs in hand end; a crash leaves their claims to expire.

mod billing;
mod notice;
mod retention;

use std::time::Duration;

use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::applications::{self, provision};
use crate::audit::chain;
use crate::billing::stripe;
use crate::db::Topic;
use crate::error::Error;
use crate::identity::{account, device, mail_token, mfa, oauth, session, throttle};
use crate::jobs::{self, Claimed, Job};
use crate::mail::Mail;
use crate::metering::breakdown;
use crate::webhooks::{self, dispatcher};
use crate::workspaces::{self, VersionOf, api_limit, member, subscription};
use crate::{idempotency, revisions};
pub use billing::run as run_billing;

const HOUSEKEEPING: Duration = Duration::from_hours(1);

/// Never sleep longer than this: a wake may be lost with a broken connection.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Between two writes of when sessions were last seen.
const SEEN: Duration = Duration::from_secs(10);

/// Jobs that run at once: one that waits for a slow upstream must not hold up the mail.
const PARALLEL: usize = 4;

/// The tasks that run jobs.
#[derive(Debug)]
pub struct Worker {
    tasks: Vec<JoinHandle<()>>,
}

impl Worker {
    pub fn start(app: &App, stop: &CancellationToken) -> Self {
        let mut tasks: Vec<_> =
            (0..PARALLEL).map(|_| tokio::spawn(work(app.clone(), stop.clone()))).collect();
        tasks.push(tokio::spawn(keep_house(app.clone(), stop.clone())));
        tasks.push(tokio::spawn(keep_counts(app.clone(), stop.clone())));
        tasks.push(tokio::spawn(write_seen(app.clone(), stop.clone())));
        tasks.push(tokio::spawn(billing::keep(app.clone(), stop.clone())));
        tasks.push(tokio::spawn(dispatcher::run(app.clone(), stop.clone())));
        Self { tasks }
    }

    /// Waits for the jobs in hand, after the token given to [`Worker::start`] was cancelled.
    pub async fn stopped(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker died");
            }
        }
    }
}

async fn work(app: App, stop: CancellationToken) {
    let mut wake = app.db.subscribe(Topic::Jobs);
    while !stop.is_cancelled() {
        wake.borrow_and_update();
        match run_one(&app).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(error = format!("{error:#}"), "jobs can't be read"),
        }
        let pause = until_due(&app).await.unwrap_or(Duration::from_secs(1));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = wake.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How long until the next job may be due.
async fn until_due(app: &App) -> anyhow::Result<Duration> {
    let mut tx = app.db.read().await?;
    let pause = match jobs::next_due(&mut tx).await? {
        Some(due) => (due - tx.now()).to_std().unwrap_or_default(),
        None => LONGEST_SLEEP,
    };
    Ok(pause.clamp(Duration::from_millis(50), LONGEST_SLEEP))
}

/// Runs every job that is due now, one after the other; returns how many. For tests.
pub async fn run_due(app: &App) -> anyhow::Result<usize> {
    let mut ran = 0;
    while run_one(app).await? {
        ran += 1;
    }
    Ok(ran)
}

/// Claims a job and runs it; `false` when none is due.
async fn run_one(app: &App) -> anyhow::Result<bool> {
    let mut tx = app.db.write().await?;
    let Some(job) = jobs::claim(&mut tx).await? else { return Ok(false) };
    tx.commit().await?;
    let outcome = Box::pin(perform(app, &job.payload.0)).await;
    if let Err(error) = &outcome {
        let (kind, attempt) = (job.payload.0.kind(), job.attempts + 1);
        tracing::warn!(job = %job.id, kind, attempt, error = format!("{error:#}"), "a job failed");
    }
    conclude(app, &job, outcome).await?;
    Ok(true)
}

async fn perform(app: &App, job: &Job) -> anyhow::Result<()> {
    match job {
        Job::Provision { application_id } | Job::Restart { application_id } => {
            provision::attempt(app, application_id).await
        }
        Job::SendMail { sealed } => {
            let mail = jobs::open_mail(&app.sealer, sealed)?;
            app.mailer.send(&mail).await
        }
        Job::MailMembers { workspace_id, roles, subject, text } => {
            let dashboard = app.config.platform.dashboard_url.trim_end_matches('/');
            let mut tx = app.db.write().await?;
            for to in member::addresses(&mut tx, workspace_id, roles).await? {
                let text = format!("{text}\n{dashboard}/workspace/{workspace_id}\n");
                let mail = Mail { to, subject: subject.clone(), text };
                jobs::enqueue(&mut tx, &Job::mail(&app.sealer, &mail)?).await?;
            }
            Ok(tx.commit().await?)
        }
        Job::MailBilling { workspace_id, invoice_id, subject, text } => {
            notice::fan_out(app, workspace_id, invoice_id.as_ref(), subject, text).await
        }
        Job::MailInvoice { to, invoice_id, subject, text } => {
            let mail = Mail { to: to.clone(), subject: subject.clone(), text: text.clone() };
            notice::send_invoice(app, &mail, invoice_id).await
        }
        Job::MoveSubscriptions { to, at, after } => move_all(app, *to, *at, after.as_ref()).await,
        Job::Collect { invoice_id } => billing::collect(app, invoice_id).await,
        Job::StripeEvent { event_id } => Ok(stripe::event::handle(app, event_id).await?),
        Job::VerifyEmail { user_id } => {
            let mut tx = app.db.write().await?;
            account::send_proof(&mut tx, app, user_id).await?;
            Ok(tx.commit().await?)
        }
        Job::PasswordReset { email } => {
            let mut tx = app.db.write().await?;
            account::send_reset(&mut tx, app, email).await?;
            Ok(tx.commit().await?)
        }
    }
}

/// One batch; the next is a job of its own, written with it.
async fn move_all(
    app: &App,
    to: VersionOf,
    at: Option<DateTime<Utc>>,
    after: Option<&WorkspaceId>,
) -> anyhow::Result<()> {
    let mut tx = app.db.write().await?;
    let last = subscription::move_all(&mut tx, to, at, after, workspaces::admin::BATCH).await?;
    if last.is_some() {
        jobs::enqueue(&mut tx, &Job::MoveSubscriptions { to, at, after: last }).await?;
    }
    Ok(tx.commit().await?)
}

async fn conclude(app: &App, job: &Claimed, outcome: anyhow::Result<()>) -> anyhow::Result<()> {
    let policy = Policy::of(app, &job.payload.0);
    match outcome {
        Ok(()) => {}
        Err(error) if job.attempts + 1 < policy.attempts => {
            let pause = policy.pause(job.attempts);
            let mut tx = app.db.write().await?;
            let reason = format!("{error:#}");
            if let Job::Provision { application_id } | Job::Restart { application_id } =
                &job.payload.0
            {
                let (attempt, of) = (job.attempts + 1, policy.attempts);
                provision::tell_failure(&mut tx, application_id, attempt, of, &reason).await?;
            }
            jobs::retry_after(&mut tx, &job.id, pause, &reason).await?;
            return Ok(tx.commit().await?);
        }
        Err(error) => {
            tracing::error!(job = %job.id, kind = job.payload.0.kind(), "a job was given up");
            if let Job::Provision { application_id } | Job::Restart { application_id } =
                &job.payload.0
            {
                provision::give_up(app, application_id, &format!("{error:#}")).await?;
            }
        }
    }
    let mut tx = app.db.write().await?;
    jobs::finish(&mut tx, &job.id).await?;
    Ok(tx.commit().await?)
}

/// How often a job is tried, and after which pauses.
struct Policy {
    attempts: i64,
    first_pause: TimeDelta,
}

impl Policy {
    fn of(app: &App, job: &Job) -> Self {
        match job {
            Job::Provision { .. } | Job::Restart { .. } => {
                let settings = &app.config.applications;
                let millis =
                    i64::try_from(settings.provision_backoff_ms).unwrap_or(i64::MAX / 1024);
                Self {
                    attempts: settings.provision_attempts.into(),
                    first_pause: TimeDelta::milliseconds(millis),
                }
            }
            Job::SendMail { .. }
            | Job::MailMembers { .. }
            | Job::MailBilling { .. }
            | Job::MailInvoice { .. }
            | Job::VerifyEmail { .. }
            | Job::PasswordReset { .. } => {
                Self { attempts: 10, first_pause: TimeDelta::seconds(5) }
            }
            // What proxies must know, and money, is not given up.
            Job::MoveSubscriptions { .. } | Job::Collect { .. } | Job::StripeEvent { .. } => {
                Self { attempts: i64::MAX, first_pause: TimeDelta::seconds(1) }
            }
        }
    }

    /// Doubles with each attempt made, up to an hour.
    fn pause(&self, attempts: i64) -> TimeDelta {
        let factor = 1 << attempts.clamp(0, 20);
        self.first_pause.checked_mul(factor).unwrap_or(TimeDelta::MAX).min(TimeDelta::hours(1))
    }
}

/// Exchanges the counts of API requests with other replicas, and saves the last at a stop.
async fn keep_counts(app: App, stop: CancellationToken) {
    loop {
        let stopping = stop.is_cancelled();
        if let Err(error) = save_counts(&app).await {
            tracing::warn!(%error, "counts of API requests could not be saved; they will be later");
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(api_limit::FLUSH) => {}
        }
    }
}

/// Public for tests.
pub async fn save_counts(app: &App) -> Result<(), Error> {
    let unflushed = app.api_limits.unflushed(app.clock.now());
    if unflushed.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.write().await?;
    let totals = unflushed.store(&mut tx).await?;
    tx.commit().await?;
    app.api_limits.flushed(unflushed, totals);
    Ok(())
}

async fn keep_house(app: App, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // Dropped in the middle, what it has committed stands, and the rest is for the next.
        let kept = tokio::select! {
            () = stop.cancelled() => return,
            kept = housekeeping(&app) => kept,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "housekeeping failed; it will be tried again");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
    }
}

/// Writes when sessions were last seen, every few seconds and at the end.
async fn write_seen(app: App, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SEEN) => {}
        }
        if let Err(error) = note_seen(&app).await {
            tracing::warn!(%error, "when sessions were last seen can't be written");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Writes when sessions were last seen. Public for tests.
pub async fn note_seen(app: &App) -> Result<(), Error> {
    if app.seen.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.write().await?;
    app.seen.write(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Removes what has had its time. Every replica may do it; doing it twice changes nothing. Public
/// for tests.
pub async fn housekeeping(app: &App) -> Result<(), Error> {
    let mut tx = app.db.write().await?;
    let keep = TimeDelta::hours(app.config.distribution.keep_revisions_hours.into());
    let before = tx.now() - keep;
    revisions::prune(&mut tx, before).await?;
    session::prune(&mut tx).await?;
    throttle::prune(&mut tx).await?;
    device::prune(&mut tx).await?;
    mail_token::prune(&mut tx).await?;
    mfa::prune(&mut tx).await?;
    oauth::prune(&mut tx).await?;
    idempotency::prune(&mut tx).await?;
    api_limit::prune(&mut tx).await?;
    chain::checkpoint(&mut tx, &app.sealer).await?;
    let keep = TimeDelta::days(app.config.webhooks.keep_days.into());
    let before = tx.now() - keep;
    webhooks::prune(&mut tx, before).await?;
    breakdown::keep_names(&mut tx).await?;
    let mut forgotten = applications::purge(&mut tx).await?;
    forgotten.extend(workspaces::purge(&mut tx).await?);
    if !forgotten.is_empty() {
        revisions::append(&mut tx, forgotten).await?;
    }
    tx.commit().await?;
    if let Err(error) = stripe::tax_rate::read(app).await {
        tracing::warn!(%error, "Stripe's tax rates can't be read; those that are known stay");
    }
    retention::run(app).await
}
