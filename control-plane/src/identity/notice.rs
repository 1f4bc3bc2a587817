//! The texts of mails to an account's owner: links to follow, and word of what has changed. Sending is
//! a job in the same transaction as the change.

use authsome_shared::secret::Secret;

use crate::app::App;
use crate::db::Tx;
use crate::error::Result;
use crate::jobs::{self, Job};
use crate::mail::Mail;

/// What to do if it was somebody else.
const NOT_YOU: &str = "If this was not you, set a new password at once (\"forgot password\" on the \
                       login page): that ends every session.";

/// Has a mail sent.
pub async fn send(tx: &mut Tx, app: &App, mail: Mail) -> Result<()> {
    Ok(jobs::enqueue(tx, &Job::mail(&app.sealer, &mail)?).await?)
}

fn link(app: &App, page: &str, token: &Secret<String>) -> String {
    let dashboard = app.config.platform.dashboard_url.trim_end_matches('/');
    format!("{dashboard}/{page}?token={}", token.expose())
}

/// The link that proves an address.
pub fn proof(app: &App, to: &str, token: &Secret<String>) -> Mail {
    let hours = app.config.identity.email_verification_hours;
    let link = link(app, "verify-email", token);
    Mail {
        to: to.to_owned(),
        subject: "Verify your e-mail address".into(),
        text: format!(
            "Somebody, probably you, has an account on AuthSome Cloud with this address. To show \
             that it is yours, open\n\n{link}\n\nThe link works once, for {hours} hours. If you \
             have no account, do nothing.\n"
        ),
    }
}

/// The link with which a new address becomes the account's.
pub fn new_email(app: &App, to: &str, token: &Secret<String>) -> Mail {
    let hours = app.config.identity.email_verification_hours;
    let link = link(app, "verify-email", token);
    Mail {
        to: to.to_owned(),
        subject: "Confirm your new e-mail address".into(),
        text: format!(
            "To make this the address of your account on AuthSome Cloud, open\n\n{link}\n\n\
             The link works once, for {hours} hours. If you did not ask for it, do nothing.\n"
        ),
    }
}

/// To the old address, when a change was asked for.
pub fn email_change_asked(to: &str, new: &str) -> Mail {
    Mail {
        to: to.to_owned(),
        subject: "Your e-mail address is about to change".into(),
        text: format!(
            "Somebody signed in to your account on AuthSome Cloud has asked to make {new} its \
             address. Nothing changes until that address is confirmed.\n\n{NOT_YOU}\n"
        ),
    }
}

/// To the old address, when the change was confirmed.
pub fn email_changed(to: &str, new: &str) -> Mail {
    Mail {
        to: to.to_owned(),
        subject: "Your e-mail address was changed".into(),
        text: format!(
            "The address of your account on AuthSome Cloud is {new} now. If this was not you, write \
             to those who run this platform.\n"
        ),
    }
}

/// The link for a new password.
pub fn reset(app: &App, to: &str, token: &Secret<String>) -> Mail {
    let minutes = app.config.identity.password_reset_minutes;
    let link = link(app, "reset-password", token);
    Mail {
        to: to.to_owned(),
        subject: "Set a new password".into(),
        text: format!(
            "Somebody, probably you, has asked for a new password on AuthSome Cloud. To set it, \
             open\n\n{link}\n\nThe link works once, for {minutes} minutes. If you did not ask for \
             it, do nothing: your password stays as it is.\n"
        ),
    }
}

pub fn password_changed(to: &str) -> Mail {
    told(to, "Your password was changed", "Your password on AuthSome Cloud was changed.")
}

pub fn totp_enabled(to: &str) -> Mail {
    told(
        to,
        "Two-factor sign-in was turned on",
        "Signing in to your account on AuthSome Cloud now takes a code of an authenticator.",
    )
}

pub fn totp_disabled(to: &str) -> Mail {
    told(
        to,
        "Two-factor sign-in was turned off",
        "Signing in to your account on AuthSome Cloud no longer takes a code of an authenticator.",
    )
}

pub fn recovery_codes_replaced(to: &str) -> Mail {
    told(
        to,
        "Your recovery codes were replaced",
        "Your account on AuthSome Cloud has new recovery codes. The old ones no longer work.",
    )
}

pub fn recovery_code_used(to: &str, left: i64) -> Mail {
    let what = format!(
        "A recovery code was used to sign in to your account on AuthSome Cloud. {left} are left."
    );
    told(to, "A recovery code was used", &what)
}

pub fn identity_linked(to: &str, label: &str) -> Mail {
    let what = format!("Your account on AuthSome Cloud can now be signed in to with {label}.");
    told(to, "A new way to sign in", &what)
}

pub fn identity_unlinked(to: &str, label: &str) -> Mail {
    let what =
        format!("Your account on AuthSome Cloud can no longer be signed in to with {label}.");
    told(to, "A way to sign in was removed", &what)
}

fn told(to: &str, subject: &str, what: &str) -> Mail {
    Mail { to: to.to_owned(), subject: subject.to_owned(), text: format!("{what}\n\n{NOT_YOU}\n") }
}
