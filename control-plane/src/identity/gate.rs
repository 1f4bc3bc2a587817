//! The way in for guesses: counts each against what it guesses before it is looked at, a few at a
//! time. A flood of guesses at one account queues here, in memory, instead of holding the database's
//! connections while they wait for the account's row; so others go on. Once an account's allowance is
//! used up, that is remembered for a second, and the flood costs no writes.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::device::{self, Device};
use super::throttle::{self, Subject};
use crate::app::App;
use crate::db::Db;
use crate::error::{Error, Result};

/// How long a refusal is believed without asking the database, which another replica may have told
/// otherwise.
const BELIEVED: TimeDelta = TimeDelta::seconds(1);

/// Refusals remembered before old ones are swept out.
const SWEEP_AT: usize = 1_000;

/// Where guesses queue.
#[derive(Debug)]
pub struct Gate {
    permits: Semaphore,
    refusals: Mutex<HashMap<Subject, Refusal>>,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    since: DateTime<Utc>,
    retry_after: u64,
}

impl Gate {
    /// Leaves most of the database's connections to others.
    pub fn new(max_connections: u32) -> Self {
        let permits = usize::try_from(max_connections / 4).unwrap_or(1).max(1);
        Self { permits: Semaphore::new(permits), refusals: Mutex::default() }
    }

    async fn enter(&self) -> Result<SemaphorePermit<'_>> {
        self.permits.acquire().await.map_err(Error::internal)
    }

    fn refusal(&self, subject: &Subject, now: DateTime<Utc>) -> Option<Error> {
        let refusals = self.refusals.lock();
        let refusal = refusals.get(subject).filter(|refusal| refusal.since + BELIEVED > now)?;
        Some(Error::RateLimited { retry_after: refusal.retry_after })
    }

    fn remember(&self, subject: &Subject, retry_after: u64, now: DateTime<Utc>) {
        let mut refusals = self.refusals.lock();
        if refusals.len() >= SWEEP_AT {
            refusals.retain(|_, refusal| refusal.since + BELIEVED > now);
        }
        refusals.insert(subject.clone(), Refusal { since: now, retry_after });
    }

    /// A refusal no longer holds: the count was cleared.
    pub fn forget(&self, subject: &Subject) {
        self.refusals.lock().remove(subject);
    }
}

/// Counts a guess; an error when no more are looked at.
pub async fn count(app: &App, subject: &Subject) -> Result<()> {
    let _permit = app.gate.enter().await?;
    count_inside(app, subject).await
}

/// The same for the password of an e-mail address, by where the guess comes from: what it was counted
/// against.
pub async fn count_password(app: &App, email: &str, device: &Device) -> Result<Subject> {
    let _permit = app.gate.enter().await?;
    let subject = if is_known(&app.db, email, device).await? {
        Subject::password_from(email, device)
    } else {
        Subject::password(email)
    };
    count_inside(app, &subject).await?;
    Ok(subject)
}

async fn is_known(db: &Db, email: &str, device: &Device) -> Result<bool> {
    let mut tx = db.read().await?;
    Ok(device::is_known(&mut tx, email, device).await?)
}

async fn count_inside(app: &App, subject: &Subject) -> Result<()> {
    let now = app.clock.now();
    if let Some(refusal) = app.gate.refusal(subject, now) {
        return Err(refusal);
    }
    let mut tx = app.db.write().await?;
    let counted = throttle::count_attempt(&mut tx, &app.config.identity, subject).await;
    tx.commit().await?;
    if let Err(Error::RateLimited { retry_after }) = &counted {
        app.gate.remember(subject, *retry_after, now);
    }
    counted
}
