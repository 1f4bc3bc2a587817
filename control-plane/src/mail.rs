//! Mail: by SMTP, or as a file per mail in `data_dir/mail`. Sending is a job, never part of a
//! request; a mail that can't be sent is tried again.

use std::path::{Path, PathBuf};

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{self, given};

/// A mail in plain text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
}

#[derive(Debug)]
enum Transport {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

#[derive(Debug)]
pub struct Mailer {
    from: Mailbox,
    transport: Transport,
}

impl Mailer {
    pub fn new(settings: &config::Mail, data_dir: &Path) -> anyhow::Result<Self> {
        let from = settings.from.parse().context("mail.from is not an address")?;
        let transport = match given(&settings.smtp_url) {
            Some(url) => Transport::Smtp(
                AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose())
                    .context("mail.smtp_url must look like smtp://user:password@host:587")?
                    .build(),
            ),
            None => Transport::Folder(data_dir.join("mail")),
        };
        Ok(Self { from, transport })
    }

    pub async fn send(&self, mail: &Mail) -> anyhow::Result<()> {
        let message = Message::builder()
            .from(self.from.clone())
            .to(mail.to.parse().with_context(|| format!("not an address: {:?}", mail.to))?)
            .subject(&mail.subject)
            .body(mail.text.clone())
            .context("composing a mail")?;
        match &self.transport {
            Transport::Smtp(transport) => {
                transport.send(message).await.context("sending a mail by SMTP")?;
            }
            Transport::Folder(folder) => {
                tokio::fs::create_dir_all(folder).await.context("creating the mail folder")?;
                // Named by time; renamed into place, so that whoever watches sees whole mails.
                let path = folder.join(format!("{}.eml", Uuid::now_v7()));
                let temporary = path.with_extension("tmp");
                tokio::fs::write(&temporary, message.formatted())
                    .await
                    .context("writing a mail")?;
                tokio::fs::rename(&temporary, &path).await.context("writing a mail")?;
            }
        }
        Ok(())
    }
}
