//! What happens to an account apart from signing in: a forgotten password, another password, the
//! proof of its e-mail address, another address. Each change of what opens the account is told to its
//! owner by mail.
//!
//! Whoever resets the password by mail owns the address. If nobody had proved it before, anything
//! that was put into the account until then (a second factor, linked identities) may be a trap laid
//! by somebody who registered the address first, and is removed.

use authsome_shared::code::Code;
use authsome_shared::id::UserId;
use authsome_shared::secret::Secret;
use chrono::TimeDelta;
use serde_json::json;

use super::mail_token::{self, Purpose, Spent};
use super::throttle::{self, Subject};
use super::user::{self, User};
use super::{admin, gate, linked, mfa, notice, session};
use crate::actor::{Actor, Origin};
use crate::app::App;
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::idempotency;
use crate::jobs::{self, Job};

/// Mails that anybody may cause to one address within the window of failed sign-ins.
const MAILS: i64 = 5;

/// Has a mail sent that proves the account's address.
pub async fn ask_for_proof(tx: &mut Tx, user: &User) -> Result<()> {
    let job = Job::VerifyEmail { user_id: user.id.clone() };
    Ok(jobs::enqueue(tx, &job).await?)
}

/// The same, as the account wants it again.
pub async fn ask_again(tx: &mut Tx, app: &App, actor: &Actor) -> Result<()> {
    let user = user::by_id(tx, &actor.user_id).await?;
    if user.email_verified {
        let message = "The e-mail address is verified already";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    let subject = Subject::mail(user.id.as_str());
    throttle::count_up_to(tx, &app.config.identity, &subject, MAILS).await?;
    tx.audit(Entry::by(actor, "user.verification_requested").on("user", &user.id));
    ask_for_proof(tx, &user).await
}

/// The job of [`ask_for_proof`].
pub async fn send_proof(tx: &mut Tx, app: &App, id: &UserId) -> Result<()> {
    let user = match user::by_id(tx, id).await {
        Err(Error::NotFound(_)) => return Ok(()),
        found => found?,
    };
    if user.email_verified {
        return Ok(());
    }
    let lifetime = TimeDelta::hours(app.config.identity.email_verification_hours.into());
    let token =
        mail_token::create(tx, id, Purpose::EmailVerification, &user.email, lifetime).await?;
    notice::send(tx, app, notice::proof(app, &user.email, &token)).await
}

/// Takes what a mail's link says: the address is proved, or becomes the account's.
pub async fn verify_email(
    tx: &mut Tx,
    app: &App,
    token: &Secret<String>,
    origin: &Origin,
) -> Result<User> {
    let purposes = [Purpose::EmailVerification, Purpose::EmailChange];
    let Some(spent) = mail_token::spend(tx, token, purposes).await? else {
        return Err(wrong_token());
    };
    let before = user::by_id(tx, &spent.user_id).await?;
    if spent.purpose == Purpose::EmailVerification && before.email != spent.email {
        return Err(wrong_token());
    }
    user::verify_email(tx, &before.id, &spent.email).await?;
    let state = |email: &str, verified: bool| json!({ "email": email, "emailVerified": verified });
    let entry = Entry::by_user(&before.id, &before.email, origin, "user.email_verified");
    tx.audit(
        entry
            .on("user", &before.id)
            .change(state(&before.email, before.email_verified), state(&spent.email, true)),
    );
    if before.email != spent.email {
        // Links that went to the old address are good for nothing now.
        mail_token::withdraw(tx, &before.id, Purpose::PasswordReset).await?;
        mail_token::withdraw(tx, &before.id, Purpose::EmailVerification).await?;
        notice::send(tx, app, notice::email_changed(&before.email, &spent.email)).await?;
    }
    user::by_id(tx, &before.id).await
}

/// Has a mail sent to another address; the address is the account's once its link was followed.
pub async fn change_email(
    app: &App,
    actor: &Actor,
    email: &str,
    password: Option<Secret<String>>,
) -> Result<Tx> {
    let email = user::normalise_email(email);
    let mut checks = Checks::default();
    checks.check(user::is_email(&email), "email", "`email` must be an e-mail address");
    checks.finish()?;
    confirm_password(app, &actor.user_id, "password", password).await?;
    let mut tx = idempotency::begin(app).await?;
    if user::by_email(&mut tx, &email).await?.is_some() {
        let message = "An account with this e-mail address exists already";
        return Err(Error::Conflict(Code::AlreadyExists, message.into()));
    }
    mail_token::withdraw(&mut tx, &actor.user_id, Purpose::EmailChange).await?;
    let lifetime = TimeDelta::hours(app.config.identity.email_verification_hours.into());
    let token =
        mail_token::create(&mut tx, &actor.user_id, Purpose::EmailChange, &email, lifetime).await?;
    let entry = Entry::by(actor, "user.email_change_requested").on("user", &actor.user_id);
    tx.audit(entry.after(json!({ "email": email })));
    let user = user::by_id(&mut tx, &actor.user_id).await?;
    notice::send(&mut tx, app, notice::new_email(app, &email, &token)).await?;
    notice::send(&mut tx, app, notice::email_change_asked(&user.email, &email)).await?;
    Ok(tx)
}

/// Has a mail sent with which a new password can be set, if the address has an account. What is done
/// here is the same whether it has one; the job finds out.
pub async fn forgot_password(tx: &mut Tx, app: &App, email: &str) -> Result<()> {
    let email = user::normalise_email(email);
    let mut checks = Checks::default();
    checks.check(user::is_email(&email), "email", "`email` must be an e-mail address");
    checks.finish()?;
    let subject = Subject::mail(&email);
    match throttle::count_up_to(tx, &app.config.identity, &subject, MAILS).await {
        // Told to nobody: mails enough are on their way.
        Err(Error::RateLimited { .. }) => Ok(()),
        counted => {
            counted?;
            Ok(jobs::enqueue(tx, &Job::PasswordReset { email }).await?)
        }
    }
}

/// The job of [`forgot_password`].
pub async fn send_reset(tx: &mut Tx, app: &App, email: &str) -> Result<()> {
    let Some((user, _)) = user::by_email(tx, email).await? else { return Ok(()) };
    let lifetime = TimeDelta::minutes(app.config.identity.password_reset_minutes.into());
    let token =
        mail_token::create(tx, &user.id, Purpose::PasswordReset, &user.email, lifetime).await?;
    let entry = Entry::by_system("identity", "user.password_reset_sent");
    tx.audit(entry.on("user", &user.id));
    notice::send(tx, app, notice::reset(app, &user.email, &token)).await
}

/// Sets a new password by a mail's link: all sessions end, and guesses are forgotten.
pub async fn reset_password(
    app: &App,
    token: &Secret<String>,
    password: Secret<String>,
    origin: &Origin,
) -> Result<Tx> {
    let mut checks = Checks::default();
    user::check_password(&mut checks, "password", &password);
    checks.finish()?;
    // Nonsense costs no hash.
    let mut tx = app.db.read().await?;
    let stands = mail_token::stands(&mut tx, token, Purpose::PasswordReset).await?;
    drop(tx);
    if !stands {
        return Err(wrong_token());
    }
    let hash = app.passwords.hash(password).await?;

    let mut tx = idempotency::begin(app).await?;
    let purposes = [Purpose::PasswordReset, Purpose::PasswordReset];
    let spent = mail_token::spend(&mut tx, token, purposes).await?;
    let Some(Spent { user_id, email, .. }) = spent else { return Err(wrong_token()) };
    let user = user::by_id(&mut tx, &user_id).await?;
    if user.email != email {
        return Err(wrong_token());
    }
    if !user.email_verified {
        mfa::remove(&mut tx, &user_id).await?;
        linked::remove_all(&mut tx, &user_id).await?;
    }
    user::verify_email(&mut tx, &user_id, &email).await?;
    // Whoever registered it, from here on only the address's owner gets in.
    admin::verified(&mut tx, &app.config.platform.admins, &email).await?;
    user::set_password(&mut tx, &user_id, &hash).await?;
    tx.audit(Entry::by_user(&user_id, &email, origin, "user.password_reset").on("user", &user_id));
    let entry = Entry::by_user(&user_id, &email, origin, "session.revoked");
    session::revoke_all(&mut tx, &user_id, None, &entry).await?;
    throttle::clear(&mut tx, app, &Subject::password(&email)).await?;
    forget_pending(&mut tx, &user_id).await?;
    notice::send(&mut tx, app, notice::password_changed(&email)).await?;
    Ok(tx)
}

/// Sets a new password as the signed-in account, which knows the old one: its other sessions end.
pub async fn change_password(
    app: &App,
    actor: &Actor,
    current: Secret<String>,
    new: Secret<String>,
) -> Result<Tx> {
    let mut checks = Checks::default();
    user::check_password(&mut checks, "newPassword", &new);
    checks.finish()?;
    let mut tx = app.db.read().await?;
    let has_one = user::password_hash(&mut tx, &actor.user_id).await?.is_some();
    drop(tx);
    if !has_one {
        let message = "The account has no password yet: set one by \"forgot password\"";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    confirm_password(app, &actor.user_id, "currentPassword", Some(current)).await?;
    let hash = app.passwords.hash(new).await?;
    let mut tx = idempotency::begin(app).await?;
    user::set_password(&mut tx, &actor.user_id, &hash).await?;
    tx.audit(Entry::by(actor, "user.password_changed").on("user", &actor.user_id));
    let entry = Entry::by(actor, "session.revoked");
    session::revoke_all(&mut tx, &actor.user_id, Some(&actor.session_id), &entry).await?;
    forget_pending(&mut tx, &actor.user_id).await?;
    let user = user::by_id(&mut tx, &actor.user_id).await?;
    notice::send(&mut tx, app, notice::password_changed(&user.email)).await?;
    Ok(tx)
}

/// Sign-ins and mails' links that the old password, or somebody who knew it, has begun.
async fn forget_pending(tx: &mut Tx, user: &UserId) -> Result<()> {
    mfa::forget_asked(tx, user).await?;
    for purpose in [Purpose::PasswordReset, Purpose::EmailChange] {
        mail_token::withdraw(tx, user, purpose).await?;
    }
    Ok(())
}

/// A signed-in account shows its password again. Guesses are counted before they are looked at. An
/// account without a password has nothing to show.
pub async fn confirm_password(
    app: &App,
    user: &UserId,
    field: &str,
    password: Option<Secret<String>>,
) -> Result<()> {
    let mut tx = app.db.read().await?;
    let Some(hash) = user::password_hash(&mut tx, user).await? else { return Ok(()) };
    drop(tx);
    let Some(password) = password else {
        return Err(Error::invalid(field, "missing_field", format!("`{field}` is required")));
    };
    let subject = Subject::confirmation(user);
    gate::count(app, &subject).await?;
    if !app.passwords.verify(password, Some(hash)).await? {
        return Err(Error::invalid(field, "invalid_value", format!("`{field}` is wrong")));
    }
    let mut tx = app.db.write().await?;
    throttle::clear(&mut tx, app, &subject).await?;
    Ok(tx.commit().await?)
}

fn wrong_token() -> Error {
    Error::invalid("token", "invalid_value", "The link is wrong, was used, or has expired")
}
