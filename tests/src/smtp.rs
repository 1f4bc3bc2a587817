//! A mail server that we did not write: aiosmtpd (`PyPI`), with its mails in a Maildir.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::clients;
use crate::files;
use crate::process::Process;
use crate::split::free_port;
use crate::wait;

pub struct MailServer {
    port: u16,
    process: Option<Process>,
    data: TempDir,
}

impl MailServer {
    /// `None` when it is not installed.
    pub async fn start() -> Option<Self> {
        let data = TempDir::new().expect("a temporary folder");
        let mut server = Self { port: free_port(), process: None, data };
        server.start_again().await.then_some(server)
    }

    /// `smtp://…`.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill_9();
        }
    }

    /// On the same port, with the same mails. `false` when it is not installed.
    pub async fn start_again(&mut self) -> bool {
        let Some(program) = clients::python_tool("aiosmtpd") else { return false };
        let address = format!("127.0.0.1:{}", self.port);
        let mut command = Command::new(program);
        command.args(["-n", "-l", &address, "-c", "aiosmtpd.handlers.Mailbox"]);
        command.arg(self.data.path().join("mail"));
        let mut process = Process::spawn("aiosmtpd", &mut command);
        wait::until("aiosmtpd answers", Duration::from_secs(30), async || {
            process.assert_running();
            TcpStream::connect(&address).await.ok()
        })
        .await;
        self.process = Some(process);
        true
    }

    /// Every mail taken so far.
    pub fn mails(&self) -> Vec<String> {
        let folder = self.data.path().join("mail/new");
        if !folder.exists() {
            return vec![];
        }
        let read = |file| std::fs::read_to_string(file).ok();
        files::all(&folder).into_iter().filter_map(read).collect()
    }

    /// Waits for a mail to somebody about something.
    pub async fn mail(&self, to: &str, subject: &str) -> String {
        wait::until(&format!("{subject:?} to {to}"), Duration::from_mins(1), async || {
            self.mails().into_iter().find(|mail| {
                mail.contains(&format!("To: {to}")) && mail.contains(&format!("Subject: {subject}"))
            })
        })
        .await
    }
}

/// The link in a mail.
#[track_caller]
pub fn link(mail: &str) -> String {
    let link = mail.lines().find(|line| line.starts_with("http"));
    link.unwrap_or_else(|| panic!("no link: {mail}")).trim().to_owned()
}

/// The token in a mail's link.
#[track_caller]
pub fn token(mail: &str) -> String {
    let link = link(mail);
    link.split_once("?token=").unwrap_or_else(|| panic!("no token: {link}")).1.to_owned()
}
