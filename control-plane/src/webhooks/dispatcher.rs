//! Sends what is due, apart from the jobs: makes deliveries of events, claims them within bounds,
//! tries each, and stores what came of it. Attempts to one endpoint, of one workspace, and in all
//! are bounded, and endpoints that fail have at most half of the places: one that is slow or dead
//! takes nobody else's.
//!
//! A stop gives attempts a moment to end and gives the others back; a crash leaves their claims to
//! run out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::courier::{Attempted, Courier};
use super::delivery::Status;
use super::places::{Place, Places};
use super::queue::{self, Claimed, Due, Tried};
use super::retry::{Outcome, Verdict, verdict};
use super::{Webhook, store};
use crate::actor::Role;
use crate::app::App;
use crate::audit::Entry;
use crate::db::{Topic, Tx};
use crate::error::Result;
use crate::jobs::{self, Job};
use crate::{platform, random};

/// Never sleep longer than this: a wake may be lost with a broken connection.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// After a failed look at the database.
const PAUSE: Duration = Duration::from_secs(1);

/// How much longer a claim holds than an attempt may take.
const MARGIN: TimeDelta = TimeDelta::seconds(10);

/// What attempts under way have to end in at a stop.
const GRACE: Duration = Duration::from_secs(2);

/// Webhooks looked at in one go.
const LOOK: usize = 64;

/// Sends until `stop`.
pub async fn run(app: App, stop: CancellationToken) {
    let mut wake = app.db.subscribe(Topic::Events);
    let mut dispatcher = Dispatcher::new(app, stop.clone());
    while !stop.is_cancelled() {
        wake.borrow_and_update();
        let pause = match dispatcher.start_due().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "webhooks can't be sent");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = wake.changed() => {}
            Some(ended) = dispatcher.attempts.join_next_with_id() => dispatcher.leave(ended),
            () = tokio::time::sleep(pause) => {}
        }
    }
    while let Some(ended) = dispatcher.attempts.join_next_with_id().await {
        dispatcher.leave(ended);
    }
}

/// Sends everything that is due now, and answers how many attempts that took. For tests.
pub async fn run_due(app: &App) -> anyhow::Result<usize> {
    let mut dispatcher = Dispatcher::new(app.clone(), CancellationToken::new());
    let mut attempts = 0;
    loop {
        dispatcher.start_due().await?;
        let Some(ended) = dispatcher.attempts.join_next_with_id().await else {
            return Ok(attempts);
        };
        dispatcher.leave(ended);
        attempts += 1;
    }
}

struct Dispatcher {
    app: App,
    stop: CancellationToken,
    courier: Option<Arc<Courier>>,
    places: Places,
    attempts: JoinSet<()>,
    /// The places that attempts have.
    under_way: HashMap<task::Id, Place>,
}

impl Dispatcher {
    fn new(app: App, stop: CancellationToken) -> Self {
        let places = Places::new(&app.config.webhooks);
        let (attempts, under_way) = (JoinSet::new(), HashMap::new());
        Self { app, stop, courier: None, places, attempts, under_way }
    }

    /// Makes deliveries of new events, and starts as many attempts as there are due ones and places;
    /// answers how long it is until more fall due.
    async fn start_due(&mut self) -> anyhow::Result<Duration> {
        while self.fan_out().await? > 0 {}
        let courier = self.courier().await?;
        loop {
            let mut tx = self.app.db.read().await?;
            let due = if self.places.room() == 0 {
                vec![]
            } else {
                queue::due(&mut tx, &self.places.full(), LOOK).await?
            };
            let next = queue::next_due(&mut tx).await?;
            let pause = next.map(|next| (next - tx.now()).to_std().unwrap_or_default());
            drop(tx);
            let mut started = 0;
            for due in due {
                started += self.start(&courier, &due).await?;
            }
            if started == 0 {
                let pause = pause.unwrap_or(LONGEST_SLEEP);
                return Ok(pause.clamp(Duration::from_millis(20), LONGEST_SLEEP));
            }
        }
    }

    async fn fan_out(&self) -> Result<usize> {
        let mut tx = self.app.db.read().await?;
        if !crate::events::are_waiting(&mut tx).await? {
            return Ok(0);
        }
        drop(tx);
        let mut tx = self.app.db.write().await?;
        let events = queue::fan_out(&mut tx).await?;
        tx.commit().await?;
        Ok(events)
    }

    /// Made anew when the operator has come to allow other addresses.
    async fn courier(&mut self) -> anyhow::Result<Arc<Courier>> {
        let mut tx = self.app.db.read().await?;
        let allow = platform::settings(&mut tx).await?.egress_allow;
        drop(tx);
        if let Some(courier) = self.courier.as_ref().filter(|courier| courier.is_for(&allow)) {
            return Ok(Arc::clone(courier));
        }
        let timeout = Duration::from_secs(self.app.config.webhooks.timeout_seconds.into());
        let courier = Arc::new(Courier::new(&self.app.resolver, &allow, timeout)?);
        self.courier = Some(Arc::clone(&courier));
        Ok(courier)
    }

    /// Claims what a webhook has places for, and starts it.
    async fn start(&mut self, courier: &Arc<Courier>, due: &Due) -> anyhow::Result<usize> {
        let Due { id, workspace_id, failing } = due;
        let place =
            Place { webhook: id.clone(), workspace: workspace_id.clone(), failing: *failing };
        let room = self.places.room_for(&place);
        if room == 0 {
            return Ok(0);
        }
        let timeout = TimeDelta::seconds(self.app.config.webhooks.timeout_seconds.into());
        let mut tx = self.app.db.write().await?;
        let claimed = queue::claim(&mut tx, &self.app, id, room, timeout + MARGIN).await?;
        tx.commit().await?;
        let started = claimed.len();
        for claimed in claimed {
            self.places.take(&place);
            let attempt =
                attempt(self.app.clone(), self.stop.clone(), Arc::clone(courier), claimed);
            let handle = self.attempts.spawn(attempt);
            self.under_way.insert(handle.id(), place.clone());
        }
        Ok(started)
    }

    /// An attempt has ended: its place is free.
    fn leave(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "an attempt at a delivery died; its claim will run out");
                error.id()
            }
        };
        if let Some(place) = self.under_way.remove(&id) {
            self.places.leave(&place);
        }
        debug_assert_eq!(
            self.under_way.len(),
            self.attempts.len(),
            "only what is under way is kept"
        );
    }
}

/// Tries a claimed delivery and stores what came of it.
async fn attempt(app: App, stop: CancellationToken, courier: Arc<Courier>, claimed: Claimed) {
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let stored = tokio::select! {
        attempted = courier.attempt(&claimed, app.clock.now()) => {
            store_attempt(&app, &claimed, attempted).await
        }
        () = stopped => give_back(&app, &claimed).await,
    };
    if let Err(error) = stored {
        let error = format!("{error:#}");
        tracing::warn!(delivery = %claimed.id, error, "a delivery is left to its claim's end");
    }
}

async fn give_back(app: &App, claimed: &Claimed) -> anyhow::Result<()> {
    let mut tx = app.db.write().await?;
    queue::give_back(&mut tx, claimed).await?;
    Ok(tx.commit().await?)
}

async fn store_attempt(app: &App, claimed: &Claimed, attempted: Attempted) -> anyhow::Result<()> {
    let mut tx = app.db.write().await?;
    conclude(&mut tx, app, claimed, &attempted).await.context("storing an attempt")?;
    Ok(tx.commit().await?)
}

/// What an attempt makes of its delivery and its webhook.
async fn conclude(tx: &mut Tx, app: &App, claimed: &Claimed, attempted: &Attempted) -> Result<()> {
    // Either may have been deleted in the meantime.
    let Some(mut webhook) = store::by_id(tx, &claimed.webhook).await? else { return Ok(()) };
    let Some((before, status)) = queue::attempts_before(tx, &claimed.id).await? else {
        return Ok(());
    };
    let settings = &app.config.webhooks;
    let number = before + 1;
    let verdict = verdict(&attempted.outcome, number, &settings.retry_seconds, random::fraction());
    let error = error_of(&attempted.outcome);
    let (status_code, response) = match &attempted.outcome {
        Outcome::Answered { status, excerpt, .. } => {
            (Some(i64::from(*status)), Some(excerpt.as_str()))
        }
        Outcome::Unanswered(_) => (None, None),
    };
    let tried = Tried {
        number,
        started_at: attempted.started_at,
        duration_ms: i64::try_from(attempted.took.as_millis()).unwrap_or(i64::MAX),
        status: status_code,
        error: error.as_deref(),
        response,
    };
    queue::record(tx, &claimed.id, &tried).await?;
    // Ended by somebody else: its webhook was disabled, or the claim ran out under a slow database.
    if status == Status::Pending || verdict == Verdict::Delivered {
        let (status, due_at) = match verdict {
            Verdict::Delivered => (Status::Delivered, None),
            Verdict::Retry(pause) => (Status::Pending, Some(tx.now() + pause)),
            Verdict::Failed | Verdict::Gone => (Status::Failed, None),
        };
        queue::conclude(tx, &webhook.id, &claimed.id, status, due_at).await?;
    }
    if !webhook.enabled {
        return Ok(());
    }
    let now = tx.now();
    if verdict == Verdict::Delivered {
        if webhook.failing_since.take().is_some() {
            store::update(tx, &webhook).await?;
        }
        return Ok(());
    }
    let since = *webhook.failing_since.get_or_insert(now);
    let patience = TimeDelta::hours(settings.disable_after_hours.into());
    if verdict == Verdict::Gone {
        let reason = "the endpoint answered 410 Gone";
        return disable(tx, webhook, reason.to_owned()).await;
    }
    if now - since >= patience {
        let reason = format!("every attempt has failed since {}", since.format("%F %R UTC"));
        return disable(tx, webhook, reason).await;
    }
    store::update(tx, &webhook).await
}

/// Why an attempt did not deliver.
fn error_of(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Answered { status: 200..=299, .. } => None,
        Outcome::Answered { status: status @ 300..=399, .. } => {
            Some(format!("the endpoint answered {status}; redirects are not followed"))
        }
        Outcome::Answered { status, .. } => Some(format!("the endpoint answered {status}")),
        Outcome::Unanswered(reason) => Some(reason.clone()),
    }
}

/// Sends no more to a webhook until somebody enables it again, and tells its workspace's owners.
async fn disable(tx: &mut Tx, mut webhook: Webhook, reason: String) -> Result<()> {
    queue::end_pending(tx, &webhook.id, "the webhook was disabled").await?;
    let before = webhook.audited();
    webhook.enabled = false;
    webhook.updated_at = tx.now();
    webhook.failing_since = None;
    jobs::enqueue(tx, &disabled_mail(&webhook, &reason)).await?;
    tracing::info!(webhook = %webhook.id, reason, "a webhook was disabled");
    webhook.disabled_reason = Some(reason);
    let entry =
        Entry::by_system("webhooks", "webhook.disabled").in_workspace(&webhook.workspace_id);
    tx.audit(entry.on("webhook", &webhook.id).change(before, webhook.audited()));
    store::update(tx, &webhook).await
}

fn disabled_mail(webhook: &Webhook, reason: &str) -> Job {
    let Webhook { id, application_id, workspace_id, url, .. } = webhook;
    Job::MailMembers {
        workspace_id: workspace_id.clone(),
        roles: vec![Role::Owner],
        subject: "A webhook was disabled".into(),
        text: format!(
            "AuthSome Cloud sends no more events to this webhook: {reason}.\n\n\
             Endpoint: {url}\nWebhook: {id}\nApplication: {application_id}\n\n\
             Once the endpoint works again, enable the webhook:\n\n\
             PATCH /control/v1/applications/{application_id}/webhooks/{id}\n\
             {{\"enabled\": true}}\n\n\
             What happens until then is not sent. Deliveries that have failed can be replayed.\n"
        ),
    }
}
