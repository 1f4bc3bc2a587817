//! Single-use tokens in the links of mails: stored as digests, each for one purpose and one address,
//! spent by the statement that reads them.

use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use chrono::{DateTime, TimeDelta, Utc};

use super::token::{OneTimeToken, digest};
use crate::db::Tx;
use crate::error::Result;
use crate::{execute, fetch_optional};

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Purpose {
    PasswordReset,
    EmailVerification,
    EmailChange,
}

/// A token that stood.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Spent {
    pub user_id: UserId,
    pub purpose: Purpose,
    /// Where the mail went.
    pub email: String,
    pub expires_at: DateTime<Utc>,
}

/// Makes a token.
pub async fn create(
    tx: &mut Tx,
    user: &UserId,
    purpose: Purpose,
    email: &str,
    lifetime: TimeDelta,
) -> Result<Secret<String>> {
    let now = tx.now();
    let token = OneTimeToken::new("mt_");
    execute!(
        tx,
        sqlx::query(
            "insert into mail_tokens (digest, user_id, purpose, email, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6)"
        )
        .bind(&token.digest)
        .bind(user)
        .bind(purpose)
        .bind(email)
        .bind(now)
        .bind(now + lifetime)
    )?;
    Ok(token.clear)
}

/// Does the token stand? It stays as it is.
pub async fn stands(tx: &mut Tx, token: &Secret<String>, purpose: Purpose) -> Result<bool> {
    let now = tx.now();
    let row: Option<(UserId,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select user_id from mail_tokens \
             where digest = $1 and purpose = $2 and expires_at > $3"
        )
        .bind(digest(token.expose()))
        .bind(purpose)
        .bind(now)
    )?;
    Ok(row.is_some())
}

/// Spends a token of one of two purposes; of parallel attempts one gets it.
pub async fn spend(
    tx: &mut Tx,
    token: &Secret<String>,
    purposes: [Purpose; 2],
) -> Result<Option<Spent>> {
    let now = tx.now();
    let spent: Option<Spent> = fetch_optional!(
        tx,
        sqlx::query_as(
            "delete from mail_tokens where digest = $1 and purpose in ($2, $3) \
             returning user_id, purpose, email, expires_at"
        )
        .bind(digest(token.expose()))
        .bind(purposes[0])
        .bind(purposes[1])
    )?;
    Ok(spent.filter(|token| token.expires_at > now))
}

/// Takes back an account's tokens of a purpose.
pub async fn withdraw(tx: &mut Tx, user: &UserId, purpose: Purpose) -> Result<()> {
    let delete = "delete from mail_tokens where user_id = $1 and purpose = $2";
    execute!(tx, sqlx::query(delete).bind(user).bind(purpose))?;
    Ok(())
}

/// Forgets those that have expired.
pub async fn prune(tx: &mut Tx) -> sqlx::Result<u64> {
    let now = tx.now();
    execute!(tx, sqlx::query("delete from mail_tokens where expires_at <= $1").bind(now))
}
