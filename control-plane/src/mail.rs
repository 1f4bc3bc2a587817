//! Mail: by SMTP, or as a file per mail in `data_dir/mail`. Sending is a job, never part of a
//! request; a mail that can't be sent is tried again.

use std::path::{Path, PathBuf};

use anyhow::Context;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{self, Body, Mailbox, MessageBuilder, MultiPart, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{self, given};

/// Longest line of a mail in bytes (RFC 5322, section 2.1.1).
const MAX_LINE: usize = 998;

/// A mail in plain text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// A file that goes with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub name: String,
    /// Such as `application/pdf`.
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
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

    /// As it is, so that links stay whole for whoever reads the file or the source; encoded only
    /// where a mail server might not take it otherwise.
    fn body(&self, text: &str) -> Body {
        let plain = match (&self.transport, text.is_ascii()) {
            (_, true) => ContentTransferEncoding::SevenBit,
            (Transport::Folder(_), false) => ContentTransferEncoding::EightBit,
            (Transport::Smtp(_), false) => return Body::new(text.to_owned()),
        };
        if text.lines().any(|line| line.len() > MAX_LINE) {
            return Body::new(text.to_owned());
        }
        let lines: Vec<&str> = text.lines().collect();
        Body::dangerous_pre_encoded((lines.join("\r\n") + "\r\n").into_bytes(), plain)
    }

    pub async fn send(&self, mail: &Mail) -> anyhow::Result<()> {
        let builder = self.builder(mail)?.header(ContentType::TEXT_PLAIN);
        self.pass_on(builder.body(self.body(&mail.text)).context("composing a mail")?).await
    }

    /// The same with a file.
    pub async fn send_with(&self, mail: &Mail, file: Attachment) -> anyhow::Result<()> {
        let kind = ContentType::parse(file.content_type).context("the type of an attachment")?;
        let text = SinglePart::builder().header(ContentType::TEXT_PLAIN);
        let parts = MultiPart::mixed()
            .singlepart(text.body(self.body(&mail.text)))
            .singlepart(message::Attachment::new(file.name).body(file.bytes, kind));
        let message = self.builder(mail)?.multipart(parts).context("composing a mail")?;
        self.pass_on(message).await
    }

    fn builder(&self, mail: &Mail) -> anyhow::Result<MessageBuilder> {
        let to = mail.to.parse().with_context(|| format!("not an address: {:?}", mail.to))?;
        Ok(Message::builder().from(self.from.clone()).to(to).subject(&mail.subject))
    }

    async fn pass_on(&self, message: Message) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use authsome_shared::secret::Secret;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// Longer than a line may be in the encodings that break links.
    const LINK: &str =
        "http://127.0.0.1:8080/dashboard/invitations/accept?token=inv_JaG1rwBLz-LPTBS0ZLm";

    fn mail() -> Mail {
        Mail {
            to: "bob@example.com".into(),
            subject: "Ünïcode, and a line\r\nBcc: eve@example.com".into(),
            text: format!("Hello Zoë\n.\n{LINK}\nBob\n"),
        }
    }

    /// A server that takes one mail and returns its envelope and its data (RFC 5321).
    async fn take_one(listener: TcpListener) -> Vec<String> {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await.unwrap();
        let mut taken = Vec::new();
        let mut data = false;
        while let Some(line) = lines.next_line().await.unwrap() {
            let answer = match line.as_str() {
                "." if data => {
                    data = false;
                    "250 taken\r\n"
                }
                _ if data => "",
                "DATA" => {
                    data = true;
                    "354 go on\r\n"
                }
                "QUIT" => "221 bye\r\n",
                _ => "250 fine\r\n",
            };
            write.write_all(answer.as_bytes()).await.unwrap();
            let quit = line == "QUIT" || answer == "250 taken\r\n";
            taken.push(line);
            if quit {
                break;
            }
        }
        taken
    }

    #[tokio::test]
    async fn mail_goes_out_by_smtp_to_its_one_recipient() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(take_one(listener));
        let settings = config::Mail { smtp_url: Secret::new(url), ..config::Mail::default() };
        let mailer = Mailer::new(&settings, Path::new("/nowhere")).unwrap();
        mailer.send(&mail()).await.unwrap();
        let taken = server.await.unwrap();
        let recipients: Vec<&String> =
            taken.iter().filter(|line| line.starts_with("RCPT TO")).collect();
        assert_eq!(recipients, ["RCPT TO:<bob@example.com>"]);
        assert!(!taken.iter().any(|line| line.starts_with("Bcc")), "{taken:?}");
        assert!(taken.iter().any(|line| line == "Bob"), "{taken:?}");
    }

    #[tokio::test]
    async fn without_a_server_mail_becomes_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(&config::Mail::default(), folder.path()).unwrap();
        mailer.send(&mail()).await.unwrap();
        let files: Vec<_> = std::fs::read_dir(folder.path().join("mail")).unwrap().collect();
        assert_eq!(files.len(), 1);
        let text = std::fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
        assert!(text.contains("To: bob@example.com"), "{text}");
        assert!(text.contains(LINK), "{text}");
    }

    #[tokio::test]
    async fn a_file_goes_with_a_mail_whose_text_can_still_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(&config::Mail::default(), folder.path()).unwrap();
        let bytes = b"%PDF-1.7 \x00\xff".to_vec();
        let content_type = "application/pdf";
        let file = Attachment { name: "INV-000042.pdf".into(), content_type, bytes };
        mailer.send_with(&mail(), file).await.unwrap();
        let mut files = std::fs::read_dir(folder.path().join("mail")).unwrap();
        let text = std::fs::read_to_string(files.next().unwrap().unwrap().path()).unwrap();
        for part in ["multipart/mixed", LINK, "application/pdf", "filename=\"INV-000042.pdf\""] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("JVBERi0xLjcgAP8="), "the file in base 64: {text}");
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_an_error_to_try_again() {
        let url = "smtp://127.0.0.1:1".to_owned();
        let settings = config::Mail { smtp_url: Secret::new(url), ..config::Mail::default() };
        let mailer = Mailer::new(&settings, Path::new("/nowhere")).unwrap();
        assert!(mailer.send(&mail()).await.is_err());
    }
}
