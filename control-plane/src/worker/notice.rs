//! Mails about a workspace's bill: one job for each address, so that one that can't be reached holds
//! up no other. An invoice is attached as it is when the mail is sent.

use std::collections::BTreeSet;

use authsome_shared::id::{InvoiceId, WorkspaceId};

use crate::actor::Role;
use crate::app::App;
use crate::billing::document::invoice::{Texts, document};
use crate::billing::document::pdf;
use crate::billing::invoice::{store, whole};
use crate::billing::party;
use crate::jobs::{self, Job};
use crate::mail::{Attachment, Mail};
use crate::workspaces::member;

/// Those who look after the bill.
const ROLES: [Role; 3] = [Role::Owner, Role::Admin, Role::Billing];

/// Writes a job for each who is told, once, whatever their case.
pub async fn fan_out(
    app: &App,
    workspace: &WorkspaceId,
    invoice: Option<&InvoiceId>,
    subject: &str,
    text: &str,
) -> anyhow::Result<()> {
    let dashboard = app.config.platform.dashboard_url.trim_end_matches('/');
    let text = format!("{text}\n{dashboard}/workspace/{workspace}/billing\n");
    let mut tx = app.db.write().await?;
    let members = member::addresses(&mut tx, workspace, &ROLES).await?;
    let billing = party::profile(&mut tx, workspace).await?.email;
    let told: BTreeSet<String> =
        members.into_iter().chain(billing).map(|address| address.to_lowercase()).collect();
    for to in told {
        let (subject, text) = (subject.to_owned(), text.clone());
        let job = match invoice {
            Some(id) => Job::MailInvoice { to, invoice_id: id.clone(), subject, text },
            None => Job::mail(&app.sealer, &Mail { to, subject, text })?,
        };
        jobs::enqueue(&mut tx, &job).await?;
    }
    Ok(tx.commit().await?)
}

/// Sends a mail with the invoice's PDF; without it when the invoice is gone.
pub async fn send_invoice(app: &App, mail: &Mail, id: &InvoiceId) -> anyhow::Result<()> {
    let mut tx = app.db.read().await?;
    let Some(invoice) = store::by_id(&mut tx, id).await? else {
        drop(tx);
        return app.mailer.send(mail).await;
    };
    let whole = whole::of(&mut tx, invoice).await?;
    let now = tx.now();
    drop(tx);
    let document = document(&whole, Texts::of(&app.config), now);
    let name = document.file_name("pdf");
    let fonts = app.clone();
    let bytes = tokio::task::spawn_blocking(move || pdf(&document, &fonts.fonts)).await?;
    app.mailer.send_with(mail, Attachment { name, content_type: "application/pdf", bytes }).await
}
