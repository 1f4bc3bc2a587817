//! One control plane per test, served in-process: no port, no worker, no time that passes by itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use authsome_control_plane::actor::Role;
use authsome_control_plane::app::App;
use authsome_control_plane::config::Config;
use authsome_control_plane::db::Tx;
use authsome_control_plane::webhooks::dispatcher;
use authsome_control_plane::{execute, fetch_one, http, worker};
use authsome_shared::clock::Clock;
use authsome_shared::id::MemberId;
use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::database::Database;

/// When every test begins: some way into a month and a day.
const START: &str = "2026-03-10T12:00:00Z";

/// The password of everybody who signs up.
pub const PASSWORD: &str = "correct horse battery";

/// A control plane of its own. Dropping it asserts that no job is left over, unless
/// [`TestApp::leave_jobs`] was called.
pub struct TestApp {
    pub app: App,
    pub clock: Clock,
    router: Router,
    stop: CancellationToken,
    database: Database,
    dir: TempDir,
    addresses: AtomicU32,
    jobs_may_stay: AtomicBool,
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings of its own.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_clock(Self::clock(), change).await
    }

    /// The clock of a test that begins.
    pub fn clock() -> Clock {
        Clock::manual(START.parse().unwrap())
    }

    /// With a clock that somebody else goes by, too: one of [`TestApp::clock`].
    pub async fn with_clock(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let database = Database::create(dir.path()).await;
        let mut config = Config::default();
        config.server.data_dir = dir.path().to_owned();
        config.database.url = database.url();
        config.applications.default_upstream = "echo".into();
        config.proxy.public_url = "https://api.example.com".into();
        change(&mut config);
        let app = App::open(config, clock.clone()).await.unwrap();
        let stop = CancellationToken::new();
        Self {
            router: http::router(&app, &stop),
            app,
            clock,
            stop,
            database,
            dir,
            addresses: AtomicU32::new(0),
            jobs_may_stay: AtomicBool::new(false),
        }
    }

    /// The same data directory and database, opened anew, as by a restart or a second replica.
    pub async fn reopen(&self) -> Client {
        let app = App::open(self.app.config.clone(), self.clock.clone()).await.unwrap();
        Client::new(http::router(&app, &self.stop), self.next_address())
    }

    /// Tells those who wait, such as the proxies' streams, to end.
    pub fn shut_down(&self) {
        self.stop.cancel();
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// A signed-out caller at an address of its own.
    pub fn anonymous(&self) -> Client {
        Client::new(self.router.clone(), self.next_address())
    }

    /// A new account of `{name}@example.com`, signed in.
    pub async fn sign_up(&self, name: &str) -> Client {
        let mut client = self.anonymous();
        let body = json!({
            "email": format!("{name}@example.com"), "password": PASSWORD, "name": name,
        });
        let signed_in = client.post("/control/v1/auth/register", body).await.json(201);
        client.be(&signed_in);
        self.forget_proof(&client.id()).await;
        client
    }

    /// Drops the mail that asks a new account to prove its address; most tests don't care.
    async fn forget_proof(&self, user: &str) {
        let mut tx = self.write().await;
        execute!(
            tx,
            sqlx::query(
                "delete from jobs where kind = 'verify_email' and payload ->> 'userId' = $1"
            )
            .bind(user)
        )
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// An account that may see the platform's own pages.
    pub async fn sign_up_admin(&self, name: &str) -> Client {
        let client = self.sign_up(name).await;
        let mut tx = self.write().await;
        let email = format!("{name}@example.com");
        authsome_control_plane::identity::admin::set(&mut tx, &email, true, "cli").await.unwrap();
        tx.commit().await.unwrap();
        client
    }

    /// A client that shows the node token.
    pub fn node(&self) -> Client {
        let mut client = self.anonymous();
        client.token = Some(self.app.node_token.expose().clone());
        client
    }

    /// A client that shows the ingest token.
    pub fn ingest(&self) -> Client {
        let mut client = self.anonymous();
        client.token = Some(self.app.ingest_token.expose().clone());
        client
    }

    /// Makes somebody an active member, past the invitation.
    pub async fn add_member(&self, workspace: &str, user: &Client, role: Role) -> String {
        let mut tx = self.write().await;
        let now = tx.now();
        let id = MemberId::new();
        execute!(
            tx,
            sqlx::query(
                "insert into members (id, workspace_id, user_id, email, role, status, joined_at, \
                 updated_at) values ($1, $2, $3, $4, $5, 'active', $6, $6)"
            )
            .bind(&id)
            .bind(workspace)
            .bind(user.id())
            .bind(user.email())
            .bind(role)
            .bind(now)
        )
        .unwrap();
        tx.commit().await.unwrap();
        id.to_string()
    }

    /// Shuts a member out, also of a deleted workspace.
    pub async fn suspend_member(&self, workspace: &str, user: &Client) {
        let mut tx = self.write().await;
        let update =
            "update members set status = 'suspended' where workspace_id = $1 and user_id = $2";
        execute!(tx, sqlx::query(update).bind(workspace).bind(user.id())).unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn read(&self) -> Tx {
        self.app.db.read().await.unwrap()
    }

    pub async fn write(&self) -> Tx {
        self.app.db.write().await.unwrap()
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let mut tx = self.read().await;
        let (number,): (i64,) = fetch_one!(tx, sqlx::query_as(sql)).unwrap();
        number
    }

    /// The newest revision of the log.
    pub async fn revision(&self) -> i64 {
        self.number("select revision from platform").await
    }

    /// Runs what is due and answers how many jobs that were.
    pub async fn run_due(&self) -> usize {
        worker::run_due(&self.app).await.unwrap()
    }

    /// Sends to webhooks what is due, and answers how many attempts that took.
    pub async fn deliver(&self) -> usize {
        dispatcher::run_due(&self.app).await.unwrap()
    }

    /// Closes months, issues drafts, reminds: what is due by now; answers how many steps that took.
    pub async fn bill(&self) -> usize {
        worker::run_billing(&self.app).await.unwrap()
    }

    pub async fn housekeeping(&self) {
        worker::housekeeping(&self.app).await.unwrap();
    }

    /// This test ends with jobs that nobody ran, and means to.
    pub fn leave_jobs(&self) {
        self.jobs_may_stay.store(true, Ordering::Relaxed);
    }

    /// Every mail sent so far, oldest first.
    pub fn mails(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join("mail")) else { return vec![] };
        let paths: BTreeSet<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    /// The token in the link of the newest mail about something.
    pub fn mail_token(&self, subject: &str) -> String {
        let mails = self.mails();
        let mail = mails.iter().rfind(|mail| mail.contains(subject));
        let mail = mail.unwrap_or_else(|| panic!("no mail about {subject}: {mails:?}"));
        let (_, token) = mail.split_once("?token=").expect("a link");
        token.split_whitespace().next().unwrap().to_owned()
    }

    /// What an authenticator shows now, of the answer to an enrolment.
    pub fn code(&self, enrolment: &Value) -> String {
        self.code_at(enrolment, TimeDelta::zero())
    }

    /// The same, by a clock that is off.
    pub fn code_at(&self, enrolment: &Value, off: TimeDelta) -> String {
        let secret = enrolment["secret"].as_str().expect("a secret");
        let key = totp_rs::Secret::try_from_base32(secret).expect("base 32");
        let totp = totp_rs::Builder::new().with_secret(key).build_noncompliant();
        totp.generate((self.now() + off).timestamp().unsigned_abs()).to_string()
    }

    /// Writes when sessions were last seen.
    pub async fn note_seen(&self) {
        worker::note_seen(&self.app).await.unwrap();
    }

    /// The token in the newest invitation's link.
    pub fn invitation(&self) -> String {
        let mail = self.mails().pop().expect("a mail was sent");
        let (_, token) = mail.split_once("?token=").expect("an invitation");
        token.split_whitespace().next().unwrap().to_owned()
    }

    /// The bytes of every table, as text.
    pub async fn dump(&self) -> String {
        self.database.dump().await
    }

    fn next_address(&self) -> std::net::SocketAddr {
        let [_, b, c, d] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        ([10, b, c, d], 40_000).into()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.jobs_may_stay.load(Ordering::Relaxed) || std::thread::panicking() {
            return;
        }
        let jobs = self.database.jobs();
        assert_eq!(jobs, 0, "jobs are left over: run them, or say leave_jobs()");
    }
}

/// Fails the test when `future` takes longer than anything here may take.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}
