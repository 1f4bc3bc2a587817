//! `Idempotency-Key`: a request that is sent again has one effect and the same answer.
//!
//! The claim on a key and the answer are rows of the transaction that has the effect. So a crash
//! leaves either all three or none, and nothing needs a lease: of two requests at once the second
//! waits at the claim until the first has committed, and then is answered what the first was. A
//! request that fails has no effect and leaves no claim; sent again, it is tried again.
//!
//! The claim of the request in hand is the task's: [`begin`] and [`record`] do nothing in a request
//! without a key. Reading the header and replaying are for `http/idempotency.rs`. Answers are sealed
//! under the master key, since they may hold secrets, and forgotten after [`KEPT`].

use std::cell::Cell;

use authsome_shared::code::Code;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::sealed::Sealer;
use crate::{execute, fetch_optional};

/// How long an answer is kept.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

const PURPOSE: &str = "idempotent answer";

/// What a request claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose key it is: keys of different callers are different.
    pub scope: String,
    /// As the caller gave it.
    pub key: String,
    /// Of method, target and body.
    pub fingerprint: String,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// JSON, or empty.
    pub body: String,
    /// Values of `Set-Cookie`.
    #[serde(default)]
    pub cookies: Vec<String>,
}

/// A claim and how it fared.
#[derive(Debug)]
struct InHand {
    claim: Claim,
    lost: Cell<bool>,
}

tokio::task_local! {
    static IN_HAND: InHand;
}

/// Runs a request that carries a key. Answers what it does, and whether another request had
/// claimed the key before, so that its answer is to be replayed.
pub async fn scope<T>(claim: Claim, request: impl Future<Output = T>) -> (T, bool) {
    let in_hand = InHand { claim, lost: Cell::new(false) };
    IN_HAND
        .scope(in_hand, async {
            let outcome = request.await;
            (outcome, IN_HAND.with(|in_hand| in_hand.lost.get()))
        })
        .await
}

fn claim_in_hand() -> Option<Claim> {
    IN_HAND.try_with(|in_hand| in_hand.claim.clone()).ok()
}

/// A writing transaction that holds the request's claim, if it has one. Every `POST` begins its
/// effect with it and ends with [`record`].
pub async fn begin(app: &App) -> Result<Tx> {
    let mut tx = app.db.write().await?;
    let Some(claim) = claim_in_hand() else { return Ok(tx) };
    let now = tx.now();
    let expired = "delete from idempotency_keys where scope = $1 and key = $2 and expires_at <= $3";
    execute!(tx, sqlx::query(expired).bind(&claim.scope).bind(&claim.key).bind(now))?;
    // Waits, on PostgreSQL, for a transaction that has claimed the key and not ended yet.
    let claimed = execute!(
        tx,
        sqlx::query(
            "insert into idempotency_keys (scope, key, fingerprint, created_at, expires_at) \
             values ($1, $2, $3, $4, $5) on conflict (scope, key) do nothing"
        )
        .bind(&claim.scope)
        .bind(&claim.key)
        .bind(&claim.fingerprint)
        .bind(now)
        .bind(now + KEPT)
    )?;
    if claimed == 0 {
        IN_HAND.with(|in_hand| in_hand.lost.set(true));
        return Err(conflict());
    }
    Ok(tx)
}

/// Stores the answer that the transaction is about to be committed with.
pub async fn record(tx: &mut Tx, sealer: &Sealer, answer: &Answer) -> Result<()> {
    let Some(claim) = claim_in_hand() else { return Ok(()) };
    let clear = serde_json::to_vec(answer).map_err(Error::internal)?;
    let touched = execute!(
        tx,
        sqlx::query("update idempotency_keys set sealed_answer = $1 where scope = $2 and key = $3")
            .bind(sealer.seal(PURPOSE, &clear))
            .bind(&claim.scope)
            .bind(&claim.key)
    )?;
    if touched == 1 {
        return Ok(());
    }
    Err(Error::internal(anyhow::anyhow!("the transaction was not begun with its claim")))
}

/// Gives the claim back in a transaction that is about to be committed with an error's effect: the
/// request, sent again, is tried again.
pub async fn let_go(tx: &mut Tx) -> Result<()> {
    let Some(claim) = claim_in_hand() else { return Ok(()) };
    let delete = "delete from idempotency_keys where scope = $1 and key = $2";
    execute!(tx, sqlx::query(delete).bind(&claim.scope).bind(&claim.key))?;
    Ok(())
}

/// The answer that the claimed key was given before, if it was used. Another request under the same
/// key is a conflict.
pub async fn find(tx: &mut Tx, sealer: &Sealer, claim: &Claim) -> Result<Option<Answer>> {
    let now = tx.now();
    let row: Option<(String, Option<String>)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select fingerprint, sealed_answer from idempotency_keys \
             where scope = $1 and key = $2 and expires_at > $3"
        )
        .bind(&claim.scope)
        .bind(&claim.key)
        .bind(now)
    )?;
    let Some((fingerprint, sealed)) = row else { return Ok(None) };
    if fingerprint != claim.fingerprint {
        return Err(conflict());
    }
    let sealed = sealed.ok_or_else(|| Error::internal(anyhow::anyhow!("a claim has no answer")))?;
    let clear = sealer.open(PURPOSE, &sealed).map_err(Error::Internal)?;
    Ok(Some(serde_json::from_slice(&clear).map_err(Error::internal)?))
}

fn conflict() -> Error {
    let message = "This Idempotency-Key was used for another request: use a new one";
    Error::Conflict(Code::IdempotencyConflict, message.into())
}

/// Forgets answers that have been kept long enough.
pub async fn prune(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    let delete = "delete from idempotency_keys where expires_at <= $1";
    Ok(execute!(tx, sqlx::query(delete).bind(now))?)
}
