//! Background jobs: what must happen after a transaction has committed, written in that same
//! transaction. Each is claimed by one replica at a time, tried again with growing pauses, and
//! given up after its last attempt. A crash leaves the claim to expire; so every job must bear
//! being done twice. What each kind does: `worker`.

mod queue;

use anyhow::Context;
use authsome_shared::id::{ApplicationId, InvoiceId, UserId, WorkspaceId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::actor::Role;
use crate::error::{Error, Result};
use crate::mail::Mail;
use crate::sealed::Sealer;
use crate::workspaces::VersionOf;
pub use queue::{Claimed, claim, enqueue, finish, next_due, retry_after};

const MAIL_PURPOSE: &str = "mail";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Job {
    /// Bring an application from `provisioning` to `active` or `failed`.
    Provision { application_id: ApplicationId },
    /// Bring an application from `restarting` to `active` or `failed`.
    Restart { application_id: ApplicationId },
    /// Send a mail; sealed, because mails carry tokens.
    SendMail { sealed: String },
    /// Move the workspaces of a plan to another version of it as of `at`, or at the end of their
    /// month, from one id on.
    MoveSubscriptions { to: VersionOf, at: Option<DateTime<Utc>>, after: Option<WorkspaceId> },
    /// Send an account the link that proves its address.
    VerifyEmail { user_id: UserId },
    /// Send the link for a new password to an address, if it has an account.
    PasswordReset { email: String },
    /// Look at what an event of Stripe's is about.
    StripeEvent { event_id: String },
    /// Send a mail, which holds no secret, to everybody who has one of the roles by then.
    MailMembers { workspace_id: WorkspaceId, roles: Vec<Role>, subject: String, text: String },
    /// Send a mail about a workspace's bill, which holds no secret, to those who look after it by
    /// then and to its billing address; with the invoice that it is about.
    MailBilling {
        workspace_id: WorkspaceId,
        invoice_id: Option<InvoiceId>,
        subject: String,
        text: String,
    },
    /// Send one of these to one address.
    MailInvoice { to: String, invoice_id: InvoiceId, subject: String, text: String },
    /// Bring what is known of an invoice to whoever collects it.
    Collect { invoice_id: InvoiceId },
}

impl Job {
    pub fn mail(sealer: &Sealer, mail: &Mail) -> Result<Self> {
        let clear = serde_json::to_vec(mail).map_err(Error::internal)?;
        Ok(Self::SendMail { sealed: sealer.seal(MAIL_PURPOSE, &clear) })
    }

    /// What the jobs' table and the log call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Provision { .. } => "provision",
            Self::Restart { .. } => "restart",
            Self::SendMail { .. } => "send_mail",
            Self::MoveSubscriptions { .. } => "move_subscriptions",
            Self::Collect { .. } => "collect",
            Self::VerifyEmail { .. } => "verify_email",
            Self::PasswordReset { .. } => "password_reset",
            Self::StripeEvent { .. } => "stripe_event",
            Self::MailMembers { .. } => "mail_members",
            Self::MailBilling { .. } => "mail_billing",
            Self::MailInvoice { .. } => "mail_invoice",
        }
    }
}

/// The mail in a job.
pub fn open_mail(sealer: &Sealer, sealed: &str) -> anyhow::Result<Mail> {
    let clear = sealer.open(MAIL_PURPOSE, sealed)?;
    serde_json::from_slice(&clear).context("reading a sealed mail")
}
