//! The second factor of an account: a code of an authenticator app, or one of ten recovery codes.
//! Seeds are sealed under the master key, recovery codes stored as digests; each time step and each
//! recovery code counts once. Guesses are counted per account before they are looked at, so that
//! parallel ones can't get past the limit.

use authsome_shared::code::Code;
use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::device::Device;
use super::session::{self, SignIn};
use super::throttle::{self, Subject};
use super::token::{OneTimeToken, digest};
use super::{gate, notice, totp, user};
use crate::actor::{Actor, Origin};
use crate::app::App;
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::{execute, fetch_one, fetch_optional, idempotency, random};

const PURPOSE: &str = "totp seed";

/// How long a sign-in waits for its second factor.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

const RECOVERY_CODES: usize = 10;

/// How an account's second factor stands.
#[derive(Debug, Clone)]
pub struct Standing {
    pub confirmed_at: Option<DateTime<Utc>>,
    pub recovery_codes_left: i64,
}

#[derive(sqlx::FromRow)]
struct Factor {
    sealed_secret: String,
    confirmed_at: Option<DateTime<Utc>>,
}

impl Factor {
    fn key(&self, app: &App) -> Result<[u8; 20]> {
        let key = app.sealer.open(PURPOSE, &self.sealed_secret).map_err(Error::Internal)?;
        key.try_into().map_err(|_| Error::Internal(anyhow::anyhow!("a seed of another length")))
    }
}

async fn factor(tx: &mut Tx, user: &UserId) -> Result<Option<Factor>> {
    Ok(fetch_optional!(
        tx,
        sqlx::query_as("select sealed_secret, confirmed_at from totp_factors where user_id = $1")
            .bind(user)
    )?)
}

/// Does signing in take a second factor?
pub async fn is_on(tx: &mut Tx, user: &UserId) -> Result<bool> {
    Ok(factor(tx, user).await?.is_some_and(|factor| factor.confirmed_at.is_some()))
}

pub async fn standing(tx: &mut Tx, user: &UserId) -> Result<Standing> {
    let confirmed_at = factor(tx, user).await?.and_then(|factor| factor.confirmed_at);
    Ok(Standing { confirmed_at, recovery_codes_left: left(tx, user).await? })
}

async fn left(tx: &mut Tx, user: &UserId) -> Result<i64> {
    let (left,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from recovery_codes where user_id = $1 and used_at is null"
        )
        .bind(user)
    )?;
    Ok(left)
}

/// Makes a key; it counts once a code of it was shown. One that was not confirmed is replaced.
pub async fn enrol(tx: &mut Tx, app: &App, actor: &Actor) -> Result<totp::Enrolment> {
    let user = &actor.user_id;
    if is_on(tx, user).await? {
        let message = "Two-factor sign-in is on already; turn it off first";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let now = tx.now();
    let key = random::totp_secret();
    execute!(
        tx,
        sqlx::query(
            "insert into totp_factors (user_id, sealed_secret, last_step, created_at) \
             values ($1, $2, 0, $3) on conflict (user_id) do update set \
             sealed_secret = excluded.sealed_secret, last_step = 0, \
             created_at = excluded.created_at"
        )
        .bind(user)
        .bind(app.sealer.seal(PURPOSE, &key))
        .bind(now)
    )?;
    tx.audit(Entry::by(actor, "totp.enrolled").on("user", user));
    let account = user::by_id(tx, user).await?;
    Ok(totp::enrolment(key, &account.email))
}

/// Turns the second factor on by a first code; the recovery codes, which are shown this once.
pub async fn confirm(app: &App, actor: &Actor, code: &str) -> Result<(Tx, Vec<Secret<String>>)> {
    let user = &actor.user_id;
    count(app, user, Phase::Enrolled).await?;
    let mut tx = idempotency::begin(app).await?;
    let factor = expect_factor(&mut tx, user, Phase::Enrolled).await?;
    if !take_step(&mut tx, app, user, &factor, code).await? {
        return Err(wrong_code());
    }
    let now = tx.now();
    let update = "update totp_factors set confirmed_at = $1 where user_id = $2";
    execute!(tx, sqlx::query(update).bind(now).bind(user))?;
    let codes = replace_codes(&mut tx, user).await?;
    throttle::clear(&mut tx, app, &Subject::code(user)).await?;
    tx.audit(Entry::by(actor, "totp.enabled").on("user", user));
    let account = user::by_id(&mut tx, user).await?;
    notice::send(&mut tx, app, notice::totp_enabled(&account.email)).await?;
    Ok((tx, codes))
}

/// Turns the second factor off. The caller has shown the password already.
pub async fn disable(app: &App, actor: &Actor, code: &str) -> Result<Tx> {
    let user = &actor.user_id;
    let mut tx = pass(app, user, code, &actor.origin).await?.ok_or_else(wrong_code)?;
    remove(&mut tx, user).await?;
    tx.audit(Entry::by(actor, "totp.disabled").on("user", user));
    let account = user::by_id(&mut tx, user).await?;
    notice::send(&mut tx, app, notice::totp_disabled(&account.email)).await?;
    Ok(tx)
}

/// Replaces the recovery codes.
pub async fn renew_codes(
    app: &App,
    actor: &Actor,
    code: &str,
) -> Result<(Tx, Vec<Secret<String>>)> {
    let user = &actor.user_id;
    let mut tx = pass(app, user, code, &actor.origin).await?.ok_or_else(wrong_code)?;
    let codes = replace_codes(&mut tx, user).await?;
    tx.audit(Entry::by(actor, "recovery_codes.replaced").on("user", user));
    let account = user::by_id(&mut tx, user).await?;
    notice::send(&mut tx, app, notice::recovery_codes_replaced(&account.email)).await?;
    Ok((tx, codes))
}

/// Removes the factor with all that belongs to it.
pub async fn remove(tx: &mut Tx, user: &UserId) -> Result<()> {
    for delete in [
        "delete from totp_factors where user_id = $1",
        "delete from recovery_codes where user_id = $1",
    ] {
        execute!(tx, sqlx::query(delete).bind(user))?;
    }
    forget_asked(tx, user).await
}

/// Remembers a sign-in whose first factor was right; what to answer.
pub async fn ask(tx: &mut Tx, user: &UserId, method: &str) -> Result<Error> {
    let now = tx.now();
    let token = OneTimeToken::new("mfa_");
    execute!(
        tx,
        sqlx::query(
            "insert into mfa_challenges (digest, user_id, method, created_at, expires_at) \
             values ($1, $2, $3, $4, $5)"
        )
        .bind(&token.digest)
        .bind(user)
        .bind(method)
        .bind(now)
        .bind(now + PATIENCE)
    )?;
    Ok(Error::MfaRequired {
        token: token.clear,
        methods: vec!["totp", "recovery_code"],
        expires_in: PATIENCE.num_seconds(),
    })
}

/// Finishes a sign-in by its second factor.
pub async fn finish(
    app: &App,
    token: &Secret<String>,
    code: &str,
    device: &Device,
) -> Result<(Tx, SignIn)> {
    const EXPIRED: Error =
        Error::Unauthenticated("The sign-in has expired or was finished; begin anew");
    let challenge = digest(token.expose());
    let mut tx = app.db.read().await?;
    let now = tx.now();
    let asked: Option<(UserId, String)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select user_id, method from mfa_challenges where digest = $1 and expires_at > $2"
        )
        .bind(&challenge)
        .bind(now)
    )?;
    drop(tx);
    let (user, method) = asked.ok_or(EXPIRED)?;
    let mut tx = pass(app, &user, code, &device.origin)
        .await?
        .ok_or(Error::Unauthenticated("The code is wrong"))?;
    let spent =
        execute!(tx, sqlx::query("delete from mfa_challenges where digest = $1").bind(&challenge))?;
    if spent == 0 {
        return Err(EXPIRED);
    }
    let user = user::by_id(&mut tx, &user).await?;
    let sign_in = session::open(&mut tx, app, user, &method, device).await?;
    Ok((tx, sign_in))
}

/// Drops an account's sign-ins that wait for their second factor.
pub async fn forget_asked(tx: &mut Tx, user: &UserId) -> Result<()> {
    let delete = "delete from mfa_challenges where user_id = $1";
    execute!(tx, sqlx::query(delete).bind(user))?;
    Ok(())
}

/// What a factor must be for a code to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Enrolled,
    On,
}

async fn expect_factor(tx: &mut Tx, user: &UserId, phase: Phase) -> Result<Factor> {
    let found = factor(tx, user).await?;
    let is_on = found.as_ref().map(|factor| factor.confirmed_at.is_some());
    let message = match (phase, is_on, found) {
        (Phase::Enrolled, Some(false), Some(factor)) | (Phase::On, Some(true), Some(factor)) => {
            return Ok(factor);
        }
        (Phase::Enrolled, Some(true), _) => "Two-factor sign-in is on already",
        (Phase::Enrolled, _, _) => "Begin with a new key: there is none to confirm",
        (Phase::On, _, _) => "Two-factor sign-in is off",
    };
    Err(Error::Conflict(Code::InvalidState, message.into()))
}

/// Counts a guess, if there is something to guess; the count stands whatever comes of it.
async fn count(app: &App, user: &UserId, phase: Phase) -> Result<()> {
    let mut tx = app.db.read().await?;
    expect_factor(&mut tx, user, phase).await?;
    drop(tx);
    gate::count(app, &Subject::code(user)).await
}

/// Counts a guess and looks at it. A right code is spent in the transaction that comes back.
async fn pass(app: &App, user: &UserId, code: &str, origin: &Origin) -> Result<Option<Tx>> {
    count(app, user, Phase::On).await?;
    let mut tx = idempotency::begin(app).await?;
    let factor = expect_factor(&mut tx, user, Phase::On).await?;
    let right = if code.trim().len() == totp::DIGITS {
        take_step(&mut tx, app, user, &factor, code.trim()).await?
    } else {
        take_recovery_code(&mut tx, app, user, code, origin).await?
    };
    if !right {
        return Ok(None);
    }
    throttle::clear(&mut tx, app, &Subject::code(user)).await?;
    Ok(Some(tx))
}

/// Spends a code's time step: later than every step before it, so none counts twice.
async fn take_step(
    tx: &mut Tx,
    app: &App,
    user: &UserId,
    factor: &Factor,
    code: &str,
) -> Result<bool> {
    let Some(step) = totp::step_of(factor.key(app)?, code, tx.now()) else { return Ok(false) };
    let update = "update totp_factors set last_step = $1 where user_id = $2 and last_step < $1";
    Ok(execute!(tx, sqlx::query(update).bind(step).bind(user))? == 1)
}

async fn take_recovery_code(
    tx: &mut Tx,
    app: &App,
    user: &UserId,
    code: &str,
    origin: &Origin,
) -> Result<bool> {
    let now = tx.now();
    let taken = execute!(
        tx,
        sqlx::query(
            "update recovery_codes set used_at = $1 \
             where user_id = $2 and digest = $3 and used_at is null"
        )
        .bind(now)
        .bind(user)
        .bind(recovery_digest(user, code))
    )?;
    if taken == 0 {
        return Ok(false);
    }
    let account = user::by_id(tx, user).await?;
    let left = left(tx, user).await?;
    let entry = Entry::by_user(user, &account.email, origin, "recovery_code.used");
    tx.audit(entry.on("user", user).after(json!({ "left": left })));
    notice::send(tx, app, notice::recovery_code_used(&account.email, left)).await?;
    Ok(true)
}

async fn replace_codes(tx: &mut Tx, user: &UserId) -> Result<Vec<Secret<String>>> {
    let now = tx.now();
    let delete = "delete from recovery_codes where user_id = $1";
    execute!(tx, sqlx::query(delete).bind(user))?;
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        let code = random::recovery_code();
        execute!(
            tx,
            sqlx::query(
                "insert into recovery_codes (user_id, digest, created_at) values ($1, $2, $3)"
            )
            .bind(user)
            .bind(recovery_digest(user, &code))
            .bind(now)
        )?;
        codes.push(Secret::new(code));
    }
    Ok(codes)
}

/// However it was typed.
fn recovery_digest(user: &UserId, code: &str) -> String {
    let letters: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .take(64)
        .collect();
    digest(&format!("{user}:{letters}"))
}

fn wrong_code() -> Error {
    Error::invalid("code", "invalid_value", "The code is wrong, or was used already")
}

/// Forgets sign-ins that waited too long.
pub async fn prune(tx: &mut Tx) -> sqlx::Result<u64> {
    let now = tx.now();
    execute!(tx, sqlx::query("delete from mfa_challenges where expires_at <= $1").bind(now))
}
