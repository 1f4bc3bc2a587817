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
use authsome_shared::id::{WebhookId, WorkspaceId};
use chrono::TimeDelta;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::courier::{Attempted, Courier};
use super::delivery::Status;
use super::queue::{self, Claimed, Due, Full, Tried};
use super::retry::{Outcome, Verdict, verdict};
use super::{Webhook, store};
use crate::actor::Role;
use crate::app::App;
use crate::audit::Entry;
use crate::config;
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
            Some(ended) = dispatcher.attempts.join_next() => dispatcher.leave(ended),
            () = tokio::time::sleep(pause) => {}
        }
    }
    while let Some(ended) = dispatcher.attempts.join_next().await {
        dispatcher.leave(ended);
    }
}

/// Sends everything that is due now, and answers how many attempts that took. For tests.
pub async fn run_due(app: &App) -> anyhow::Result<usize> {
    let mut dispatcher = Dispatcher::new(app.clone(), CancellationToken::new());
    let mut attempts = 0;
    loop {
        dispatcher.start_due().await?;
        let Some(ended) = dispatcher.attempts.join_next().await else { return Ok(attempts) };
        dispatcher.leave(ended);
        attempts += 1;
    }
}

/// Whose place an attempt has.
#[derive(Debug, Clone)]
struct Place {
    webhook: WebhookId,
    workspace: WorkspaceId,
    failing: bool,
}

struct Dispatcher {
    app: App,
    stop: CancellationToken,
    courier: Option<Arc<Courier>>,
    places: Places,
    attempts: JoinSet<Place>,
    /// What a died attempt can't say of itself.
    under_way: HashMap<tokio::task::Id, Place>,
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
            let attempt = attempt(
                self.app.clone(),
                self.stop.clone(),
                Arc::clone(courier),
                claimed,
                place.clone(),
            );
            let handle = self.attempts.spawn(attempt);
            self.under_way.insert(handle.id(), place.clone());
        }
        Ok(started)
    }

    /// An attempt has ended: its place is free.
    fn leave(&mut self, ended: Result<Place, tokio::task::JoinError>) {
        let place = match ended {
            Ok(place) => Some(place),
            Err(error) => {
                tracing::error!(%error, "an attempt at a delivery died; its claim will run out");
                self.under_way.get(&error.id()).cloned()
            }
        };
        if let Some(place) = place {
            self.places.leave(&place);
        }
        if self.attempts.is_empty() {
            self.under_way.clear();
        }
    }
}

/// Tries a claimed delivery and stores what came of it.
async fn attempt(
    app: App,
    stop: CancellationToken,
    courier: Arc<Courier>,
    claimed: Claimed,
    place: Place,
) -> Place {
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
    place
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

/// The attempts under way, against their bounds.
#[derive(Debug)]
struct Places {
    total: usize,
    per_workspace: usize,
    per_endpoint: usize,
    taken: usize,
    failing: usize,
    webhooks: HashMap<WebhookId, usize>,
    /// All, and those to webhooks that fail.
    workspaces: HashMap<WorkspaceId, (usize, usize)>,
}

impl Places {
    fn new(settings: &config::Webhooks) -> Self {
        Self {
            total: settings.parallel,
            per_workspace: settings.parallel_per_workspace,
            per_endpoint: settings.parallel_per_endpoint,
            taken: 0,
            failing: 0,
            webhooks: HashMap::new(),
            workspaces: HashMap::new(),
        }
    }

    /// At most half, and always one.
    fn half(bound: usize) -> usize {
        (bound / 2).max(1)
    }

    fn room(&self) -> usize {
        self.total - self.taken
    }

    fn room_for(&self, place: &Place) -> usize {
        let webhook = self.webhooks.get(&place.webhook).copied().unwrap_or_default();
        let (all, failing) = self.workspaces.get(&place.workspace).copied().unwrap_or_default();
        let mut room = self.room().min(self.per_workspace - all).min(self.per_endpoint - webhook);
        if place.failing {
            room = room
                .min(Self::half(self.total).saturating_sub(self.failing))
                .min(Self::half(self.per_workspace).saturating_sub(failing));
        }
        room
    }

    fn full(&self) -> Full {
        let workspaces = |is_full: &dyn Fn(usize, usize) -> bool| {
            let full = self.workspaces.iter().filter(|(_, (all, failing))| is_full(*all, *failing));
            full.map(|(id, _)| id.clone()).collect()
        };
        let webhooks = self.webhooks.iter().filter(|(_, taken)| **taken >= self.per_endpoint);
        Full {
            webhooks: webhooks.map(|(id, _)| id.clone()).collect(),
            workspaces: workspaces(&|all, _| all >= self.per_workspace),
            failing_in: workspaces(&|_, failing| failing >= Self::half(self.per_workspace)),
            failing: self.failing >= Self::half(self.total),
        }
    }

    fn take(&mut self, place: &Place) {
        self.taken += 1;
        *self.webhooks.entry(place.webhook.clone()).or_default() += 1;
        let (all, failing) = self.workspaces.entry(place.workspace.clone()).or_default();
        *all += 1;
        if place.failing {
            *failing += 1;
            self.failing += 1;
        }
    }

    fn leave(&mut self, place: &Place) {
        self.taken -= 1;
        if let Some(taken) = self.webhooks.get_mut(&place.webhook) {
            *taken -= 1;
            if *taken == 0 {
                self.webhooks.remove(&place.webhook);
            }
        }
        if let Some((all, failing)) = self.workspaces.get_mut(&place.workspace) {
            *all -= 1;
            *failing -= usize::from(place.failing);
            if *all == 0 {
                self.workspaces.remove(&place.workspace);
            }
        }
        self.failing -= usize::from(place.failing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let settings = config::Webhooks {
            parallel: 8,
            parallel_per_workspace: 4,
            parallel_per_endpoint: 2,
            ..config::Webhooks::default()
        };
        Places::new(&settings)
    }

    fn place(workspace: &WorkspaceId, failing: bool) -> Place {
        Place { webhook: WebhookId::new(), workspace: workspace.clone(), failing }
    }

    #[test]
    fn an_endpoint_and_a_workspace_have_their_bounds() {
        let mut places = places();
        let (one, other) = (WorkspaceId::new(), WorkspaceId::new());
        let (first, second) = (place(&one, false), place(&one, false));
        for _ in 0..2 {
            places.take(&first);
            places.take(&second);
        }
        assert_eq!(places.room_for(&first), 0);
        assert_eq!(places.room_for(&place(&one, false)), 0);
        assert_eq!(places.room_for(&place(&other, false)), 2);
        let full = places.full();
        assert_eq!((full.webhooks.len(), full.workspaces), (2, vec![one.clone()]));
        places.leave(&first);
        assert_eq!(places.room_for(&first), 1);
    }

    #[test]
    fn failing_endpoints_leave_half_of_the_places() {
        let mut places = places();
        let workspaces = [WorkspaceId::new(), WorkspaceId::new(), WorkspaceId::new()];
        let failing: Vec<Place> = workspaces.iter().map(|id| place(id, true)).collect();
        for place in &failing[..2] {
            assert_eq!(places.room_for(place), 2);
            places.take(place);
            places.take(place);
        }
        assert!(places.full().failing);
        assert_eq!(places.room_for(&failing[2]), 0);
        assert_eq!(places.full().failing_in.len(), 2);
        assert_eq!(places.room_for(&place(&workspaces[0], true)), 0);
        assert_eq!(places.room_for(&place(&workspaces[0], false)), 2);
        for place in &failing[..2] {
            places.leave(place);
            places.leave(place);
        }
        assert_eq!((places.room(), places.failing), (8, 0));
        assert!(places.webhooks.is_empty() && places.workspaces.is_empty());
    }
}
