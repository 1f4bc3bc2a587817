//! What a person sees of their sessions, and when each was last seen: noted in memory at every
//! request and written together every few seconds, so that reading costs no write. A crash loses the
//! last few seconds' notes, nothing else.

use std::collections::HashMap;

use authsome_shared::id::{SessionId, UserId};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::actor::Actor;
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one};

/// A session as its owner sees it.
#[derive(Debug, sqlx::FromRow)]
pub struct Overview {
    pub id: SessionId,
    /// `password`, or the identity provider's id.
    pub method: String,
    pub address: String,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
    /// To a few seconds.
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// A page of an account's sessions that stand, the newest first.
pub async fn list(tx: &mut Tx, user: &UserId, page: PageParams) -> Result<Page<Overview>> {
    let now = tx.now();
    let rows = fetch_all!(
        tx,
        sqlx::query_as(
            "select id, method, address, user_agent, created_at, last_seen_at, expires_at \
             from sessions where user_id = $1 and revoked_at is null and expires_at > $2 \
             order by created_at desc, id desc limit $3 offset $4"
        )
        .bind(user)
        .bind(now)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from sessions \
             where user_id = $1 and revoked_at is null and expires_at > $2"
        )
        .bind(user)
        .bind(now)
    )?;
    Ok(page.of(rows, total))
}

/// Ends one of the actor's sessions.
pub async fn revoke_one(tx: &mut Tx, actor: &Actor, session: &SessionId) -> Result<()> {
    let now = tx.now();
    let ended = execute!(
        tx,
        sqlx::query(
            "update sessions set revoked_at = $1 \
             where id = $2 and user_id = $3 and revoked_at is null and expires_at > $1"
        )
        .bind(now)
        .bind(session)
        .bind(&actor.user_id)
    )?;
    if ended == 0 {
        return Err(Error::NotFound("session"));
    }
    tx.audit(Entry::by(actor, "session.revoked").on("session", session));
    Ok(())
}

/// When sessions were last seen, until it is written.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<SessionId, DateTime<Utc>>>);

impl Seen {
    pub fn note(&self, session: &SessionId, now: DateTime<Utc>) {
        self.0.lock().insert(session.clone(), now);
    }

    /// Nothing to write?
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Writes what was noted. When it can't, the notes are lost.
    pub async fn write(&self, tx: &mut Tx) -> Result<()> {
        let noted = std::mem::take(&mut *self.0.lock());
        // In one order everywhere, so that two replicas can't wait for each other's rows.
        let mut noted: Vec<_> = noted.into_iter().collect();
        noted.sort_unstable();
        for (session, at) in noted {
            execute!(
                tx,
                sqlx::query(
                    "update sessions set last_seen_at = $1 where id = $2 and last_seen_at < $1"
                )
                .bind(at)
                .bind(&session)
            )?;
        }
        Ok(())
    }
}
