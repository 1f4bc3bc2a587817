//! Sessions: made at sign-in, prolonged by refresh tokens that each work once, ended by sign-out.
//! A refresh token presented twice ends its session: one of the two holders has stolen it.
//!
//! Signing in opens its own transactions, because hashing must not hold one and a count of guesses
//! must stand. The last one, with the effect, goes to the caller uncommitted.

mod list;

use authsome_shared::id::{SessionId, UserId};
use authsome_shared::secret::Secret;
use chrono::TimeDelta;
use serde_json::json;

pub use list::{Overview, Seen, list, revoke_one};

use super::device::{self, Device};
use super::token::{OneTimeToken, digest};
use super::user::{self, NewUser, User};
use super::{account, admin, gate, mfa, throttle};
use crate::actor::{Actor, Origin};
use crate::app::App;
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::{execute, fetch_all, fetch_optional, idempotency};

/// What a sign-in gives.
#[derive(Debug)]
pub struct SignIn {
    pub user: User,
    pub token: Secret<String>,
    pub refresh_token: Secret<String>,
    /// Lifetime of `token`, in seconds.
    pub expires_in: u64,
}

/// A session that stands.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
}

/// What a session says of a sign-in by password.
pub const PASSWORD: &str = "password";

const WRONG_CREDENTIALS: Error = Error::Unauthenticated("Wrong e-mail address or password");
const WRONG_REFRESH: Error = Error::Unauthenticated("The refresh token is invalid or expired");

/// Creates the account and signs it in.
pub async fn register(app: &App, new: NewUser, device: &Device) -> Result<(Tx, SignIn)> {
    new.check()?;
    let hash = app.passwords.hash(new.password.clone()).await?;
    let mut tx = idempotency::begin(app).await?;
    let user = user::create(&mut tx, &new, &hash).await?;
    let after = json!({ "email": user.email, "name": user.name });
    let entry = Entry::by_user(&user.id, &user.email, &device.origin, "user.registered");
    tx.audit(entry.on("user", &user.id).after(after));
    account::ask_for_proof(&mut tx, &user).await?;
    let sign_in = open(&mut tx, app, user, PASSWORD, device).await?;
    Ok((tx, sign_in))
}

/// Signs in by password. One answer, and one duration, for unknown accounts and wrong passwords.
pub async fn login(
    app: &App,
    email: &str,
    password: Secret<String>,
    device: &Device,
) -> Result<(Tx, SignIn)> {
    let email = user::normalise_email(email);
    if !user::is_email(&email) {
        // Has no account, and may hold what the databases refuse as text.
        app.passwords.verify(password, None).await?;
        return Err(WRONG_CREDENTIALS);
    }
    let subject = gate::count_password(app, &email, device).await?;
    let mut tx = app.db.read().await?;
    let (user, hash) = user::by_email(&mut tx, &email).await?.unzip();
    drop(tx);
    let matches = app.passwords.verify(password, hash.flatten()).await?;
    let Some(user) = user.filter(|_| matches) else { return Err(WRONG_CREDENTIALS) };

    let mut tx = idempotency::begin(app).await?;
    throttle::clear(&mut tx, app, &subject).await?;
    begin(tx, app, user, PASSWORD, device).await
}

/// Goes on after the first factor: signs in, or asks for the second factor. That asking is an error
/// to the caller, and committed here.
pub async fn begin(
    mut tx: Tx,
    app: &App,
    user: User,
    method: &str,
    device: &Device,
) -> Result<(Tx, SignIn)> {
    if mfa::is_on(&mut tx, &user.id).await? {
        admin::check_enabled(&mut tx, &user.id).await?;
        let asked = mfa::ask(&mut tx, &user.id, method).await?;
        idempotency::let_go(&mut tx).await?;
        tx.commit().await?;
        return Err(asked);
    }
    let sign_in = open(&mut tx, app, user, method, device).await?;
    Ok((tx, sign_in))
}

/// A new session of somebody who has shown all that must be shown.
pub async fn open(
    tx: &mut Tx,
    app: &App,
    user: User,
    method: &str,
    device: &Device,
) -> Result<SignIn> {
    let now = tx.now();
    let session = SessionId::new();
    let lifetime = TimeDelta::days(app.config.identity.refresh_token_days.into());
    admin::check_enabled(tx, &user.id).await?;
    execute!(
        tx,
        sqlx::query(
            "insert into sessions (id, user_id, method, address, user_agent, created_at, \
             last_seen_at, expires_at) values ($1, $2, $3, $4, $5, $6, $6, $7)"
        )
        .bind(&session)
        .bind(&user.id)
        .bind(method)
        .bind(device.address().to_string())
        .bind(&device.user_agent)
        .bind(now)
        .bind(now + lifetime)
    )?;
    let entry = Entry::by_user(&user.id, &user.email, &device.origin, "session.created");
    tx.audit(entry.on("session", &session).after(json!({ "method": method })));
    device::remember(tx, &user.id, device).await?;
    issue(tx, app, user, &session).await
}

/// Signs a token pair for a session; the session lives on for a whole lifetime from now.
async fn issue(tx: &mut Tx, app: &App, user: User, session: &SessionId) -> Result<SignIn> {
    let now = tx.now();
    let settings = &app.config.identity;
    let expires_at = now + TimeDelta::days(settings.refresh_token_days.into());
    let refresh = OneTimeToken::new("rt_");
    execute!(
        tx,
        sqlx::query(
            "insert into refresh_tokens (digest, session_id, created_at, expires_at) \
             values ($1, $2, $3, $4)"
        )
        .bind(&refresh.digest)
        .bind(session)
        .bind(now)
        .bind(expires_at)
    )?;
    execute!(
        tx,
        sqlx::query("update sessions set expires_at = $1, last_seen_at = $2 where id = $3")
            .bind(expires_at)
            .bind(now)
            .bind(session)
    )?;
    let expires_in = settings.access_token_seconds;
    let token = app.tokens.sign(&user.id, session, now, expires_in).map_err(Error::Internal)?;
    Ok(SignIn { user, token, refresh_token: refresh.clear, expires_in })
}

/// Trades a refresh token for a new pair. Of parallel attempts one wins; the others count as reuse
/// and end the session, the winner's new pair included. The transaction is the caller's to commit.
pub async fn refresh(app: &App, refresh_token: &Secret<String>) -> Result<(Tx, SignIn)> {
    let token = digest(refresh_token.expose());
    let mut tx = idempotency::begin(app).await?;
    let now = tx.now();
    let won: Option<Session> = fetch_optional!(
        tx,
        sqlx::query_as(
            "update refresh_tokens set used_at = $1 \
             where digest = $2 and used_at is null and expires_at > $1 \
             returning session_id as id, (select user_id from sessions \
                 where sessions.id = refresh_tokens.session_id) as user_id"
        )
        .bind(now)
        .bind(&token)
    )?;
    let Some(session) = won else {
        // Without the claim on an idempotency key: this is no answer to be given again.
        drop(tx);
        let mut tx = app.db.write().await?;
        revoke_family(&mut tx, &token).await?;
        tx.commit().await?;
        return Err(WRONG_REFRESH);
    };
    if !stands(&mut tx, &session.id).await? {
        return Err(WRONG_REFRESH);
    }
    let user = user::by_id(&mut tx, &session.user_id).await?;
    let sign_in = issue(&mut tx, app, user, &session.id).await?;
    Ok((tx, sign_in))
}

/// Ends the session that a used refresh token belongs to.
async fn revoke_family(tx: &mut Tx, token: &str) -> Result<()> {
    let now = tx.now();
    let ended: Option<(SessionId,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "update sessions set revoked_at = $1 where revoked_at is null and id in \
             (select session_id from refresh_tokens where digest = $2 and used_at is not null) \
             returning id"
        )
        .bind(now)
        .bind(token)
    )?;
    if let Some((id,)) = ended {
        tracing::warn!(session = %id, "a refresh token was used twice; its session has ended");
        tx.audit(Entry::by_system("identity", "session.reuse_detected").on("session", &id));
    }
    Ok(())
}

async fn stands(tx: &mut Tx, session: &SessionId) -> Result<bool> {
    let now = tx.now();
    let row: Option<(SessionId,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select id from sessions where id = $1 and revoked_at is null and expires_at > $2"
        )
        .bind(session)
        .bind(now)
    )?;
    Ok(row.is_some())
}

/// Ends a session: its tokens are refused from now on.
pub async fn revoke(tx: &mut Tx, actor: &Actor, session: &SessionId) -> Result<()> {
    tx.audit(Entry::by(actor, "session.revoked").on("session", session));
    let now = tx.now();
    execute!(
        tx,
        sqlx::query("update sessions set revoked_at = $1 where id = $2 and revoked_at is null")
            .bind(now)
            .bind(session)
    )?;
    Ok(())
}

/// Ends an account's sessions, but for `keep`; how many those were. `why` is the audit entry that each
/// is filed as.
pub async fn revoke_all(
    tx: &mut Tx,
    user: &UserId,
    keep: Option<&SessionId>,
    why: &Entry,
) -> Result<usize> {
    let now = tx.now();
    let ended: Vec<(SessionId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "update sessions set revoked_at = $1 where user_id = $2 and revoked_at is null \
             and id <> $3 returning id"
        )
        .bind(now)
        .bind(user)
        .bind(keep.map_or("", SessionId::as_str))
    )?;
    for (session,) in &ended {
        tx.audit(why.clone().on("session", session));
    }
    Ok(ended.len())
}

/// The caller behind an access token, while the session stands.
pub async fn authenticate(app: &App, token: &str) -> Result<Actor> {
    const INVALID: Error = Error::Unauthenticated("The access token is invalid or expired");
    let claims = app.tokens.verify(token, app.clock.now()).ok_or(INVALID)?;
    let mut tx = app.db.read().await?;
    let now = tx.now();
    let row: Option<(UserId, String, bool)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select users.id, users.email, users.platform_admin from sessions \
             join users on users.id = sessions.user_id \
             where sessions.id = $1 and sessions.user_id = $2 \
             and sessions.revoked_at is null and sessions.expires_at > $3 \
             and users.disabled_at is null"
        )
        .bind(&claims.sid)
        .bind(&claims.sub)
        .bind(now)
    )?;
    let (user_id, email, platform_admin) = row.ok_or(INVALID)?;
    app.seen.note(&claims.sid, now);
    let origin = Origin::default();
    Ok(Actor { user_id, session_id: claims.sid, email, platform_admin, origin })
}

/// Forgets sessions that can never be used again, and the expired tokens of those that can: a
/// session that is refreshed for years must not keep each of its tokens.
pub async fn prune(tx: &mut Tx) -> Result<u64> {
    let now = tx.now();
    let expired = "delete from refresh_tokens where expires_at <= $1";
    execute!(tx, sqlx::query(expired).bind(now))?;
    let delete = "delete from sessions where expires_at <= $1 or revoked_at <= $2";
    Ok(execute!(tx, sqlx::query(delete).bind(now).bind(now - TimeDelta::days(7)))?)
}
