//! What each proxy has reported: its revision, its health, when it was last heard of; waiting
//! until all connected ones have applied a revision; and how many share the rate limits. A proxy
//! counts as connected while its stream stands and it was heard of within [`GONE_AFTER_SECONDS`].
//! It has its share from when it opens a stream until it says that it leaves, or is silent for that
//! long: a stream that breaks off and comes back moves no share.

use std::time::Duration;

use authsome_shared::code::Code;
use authsome_shared::id::NodeId;
use authsome_shared::node::{Ack, GONE_AFTER_SECONDS, StoreState};
use chrono::{DateTime, TimeDelta, Utc};

use crate::actor::PlatformAccess;
use crate::db::{Db, Topic, Tx};
use crate::error::{Checks, Error, Result};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one};

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Proxy {
    pub id: NodeId,
    pub version: String,
    pub address: Option<String>,
    connected: bool,
    /// `off`, `up` or `down`: its store of strict limits.
    pub strict: String,
    pub revision: i64,
    /// Entities that it could not read and does not serve.
    pub quarantined: i64,
    /// Usage records that it has not shipped yet.
    pub unshipped: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

impl Proxy {
    pub fn is_connected(&self, now: DateTime<Utc>) -> bool {
        self.connected && self.last_seen_at >= heard_since(now)
    }
}

fn heard_since(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::seconds(GONE_AFTER_SECONDS.cast_signed())
}

/// Stores a proxy's report.
pub async fn report(tx: &mut Tx, ack: &Ack, address: &str) -> Result<()> {
    let mut checks = Checks::default();
    checks.check(is_id(&ack.node), "node", "`node` must be a proxy's id");
    checks.check(is_version(&ack.version), "version", VERSION_RULE);
    let numbers = [("revision", ack.revision), ("quarantined", ack.quarantined)];
    for (field, number) in numbers.into_iter().chain([("unshipped", ack.unshipped)]) {
        checks.check(i64::try_from(number).is_ok(), field, format!("`{field}` is too great"));
    }
    checks.finish()?;
    let now = tx.now();
    if shares(tx, &ack.node).await? == ack.leaving {
        tx.wake(Topic::Fleet);
    }
    execute!(
        tx,
        sqlx::query(
            "insert into proxies (id, version, address, connected, leaving, strict, revision, \
             quarantined, unshipped, first_seen_at, last_seen_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) \
             on conflict (id) do update set version = excluded.version, \
             address = excluded.address, connected = excluded.connected, \
             leaving = excluded.leaving, strict = excluded.strict, \
             revision = excluded.revision, quarantined = excluded.quarantined, unshipped = excluded.unshipped, \
             last_seen_at = excluded.last_seen_at"
        )
        .bind(&ack.node)
        .bind(&ack.version)
        .bind(address)
        .bind(!ack.leaving)
        .bind(ack.leaving)
        .bind(state(ack.strict))
        .bind(ack.revision.cast_signed())
        .bind(ack.quarantined.cast_signed())
        .bind(ack.unshipped.cast_signed())
        .bind(now)
    )?;
    tx.wake(Topic::Proxies);
    Ok(())
}

fn state(store: StoreState) -> &'static str {
    match store {
        StoreState::Off => "off",
        StoreState::Up => "up",
        StoreState::Down => "down",
    }
}

/// Ids from outside may be any text.
fn is_id(id: &NodeId) -> bool {
    id.as_str().parse::<NodeId>().is_ok()
}

const VERSION_RULE: &str = "`version` must have at most 64 printable characters";

fn is_version(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A proxy has opened a stream, and with it takes a share; its first report will connect it.
pub async fn follow(tx: &mut Tx, id: &NodeId, stream: &str, revision: i64) -> Result<()> {
    let now = tx.now();
    if !shares(tx, id).await? {
        tx.wake(Topic::Fleet);
    }
    execute!(
        tx,
        sqlx::query(
            "insert into proxies (id, version, connected, leaving, strict, revision, \
             quarantined, unshipped, first_seen_at, last_seen_at, stream_id) \
             values ($1, '', $2, $2, 'off', $3, 0, 0, $4, $4, $5) \
             on conflict (id) do update set stream_id = excluded.stream_id, \
             leaving = excluded.leaving, last_seen_at = excluded.last_seen_at"
        )
        .bind(id)
        .bind(false)
        .bind(revision)
        .bind(now)
        .bind(stream)
    )?;
    Ok(())
}

/// Has the proxy a share of the rate limits?
async fn shares(tx: &mut Tx, id: &NodeId) -> Result<bool> {
    let now = tx.now();
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from proxies where id = $1 and leaving = $2 and last_seen_at >= $3"
        )
        .bind(id)
        .bind(false)
        .bind(heard_since(now))
    )?;
    Ok(count > 0)
}

/// What is known of the proxies from before this control plane started: while they are coming back,
/// none of them loses its share to those that were quicker.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    started: DateTime<Utc>,
    /// Those heard of since then were there when the last control plane was.
    since: DateTime<Utc>,
}

/// A proxy finds its way back to the control plane within this time: its back-off and a little.
const COMING_BACK: TimeDelta = TimeDelta::seconds(10);

impl Before {
    pub async fn read(tx: &mut Tx) -> Result<Self> {
        let (last,): (Option<DateTime<Utc>>,) =
            fetch_one!(tx, sqlx::query_as("select max(last_seen_at) from proxies"))?;
        let started = tx.now();
        Ok(Self { started, since: heard_since(last.unwrap_or(started)) })
    }
}

/// How many proxies share the rate limits; at least 1.
pub async fn fleet(tx: &mut Tx, before: Before) -> Result<u32> {
    let mut since = heard_since(tx.now());
    if tx.now() < before.started + COMING_BACK {
        since = since.min(before.since);
    }
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from proxies where leaving = $1 and last_seen_at >= $2")
            .bind(false)
            .bind(since)
    )?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

/// A proxy's stream has ended; it is disconnected unless it follows another by now. Its next
/// report, if any, connects it again.
pub async fn disconnect(tx: &mut Tx, id: &NodeId, stream: &str) -> Result<()> {
    execute!(
        tx,
        sqlx::query("update proxies set connected = $1 where id = $2 and stream_id = $3")
            .bind(false)
            .bind(id)
            .bind(stream)
    )?;
    tx.wake(Topic::Proxies);
    Ok(())
}

/// All proxies ever heard of, longest known first.
pub async fn list(tx: &mut Tx, page: PageParams) -> Result<Page<Proxy>> {
    let (total,): (i64,) = fetch_one!(tx, sqlx::query_as("select count(*) from proxies"))?;
    let proxies = fetch_all!(
        tx,
        sqlx::query_as("select * from proxies order by first_seen_at, id limit $1 offset $2")
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(proxies, total))
}

/// All of them, longest known first, for the operator's own account of them.
pub async fn all(tx: &mut Tx) -> Result<Vec<Proxy>> {
    Ok(fetch_all!(tx, sqlx::query_as("select * from proxies order by first_seen_at, id"))?)
}

/// Forgets a proxy that is gone: it leaves the list, and the rate limits' shares. Its ledger stays;
/// should it come back, it is listed again.
pub async fn forget(tx: &mut Tx, access: &PlatformAccess, id: &NodeId) -> Result<()> {
    let now = tx.now();
    let gone = execute!(
        tx,
        sqlx::query("delete from proxies where id = $1 and (connected = $2 or last_seen_at < $3)")
            .bind(id)
            .bind(false)
            .bind(heard_since(now))
    )?;
    if gone == 0 {
        let (known,): (i64,) =
            fetch_one!(tx, sqlx::query_as("select count(*) from proxies where id = $1").bind(id))?;
        if known == 0 {
            return Err(Error::NotFound("proxy"));
        }
        let message = "The proxy is connected: stop it first";
        return Err(Error::Conflict(Code::InvalidState, message.into()));
    }
    tx.audit(access.audit("proxy.forgotten").on("proxy", id));
    tx.wake(Topic::Fleet);
    tx.wake(Topic::Proxies);
    Ok(())
}

/// The connected ones.
pub async fn connected(tx: &mut Tx) -> Result<Vec<Proxy>> {
    let now = tx.now();
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select * from proxies where connected = $1 and last_seen_at >= $2 order by id"
        )
        .bind(true)
        .bind(heard_since(now))
    )?)
}

/// Which connected proxies decide by a revision, and which don't yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub applied: Vec<NodeId>,
    pub pending: Vec<NodeId>,
}

/// How far the connected proxies are with a revision.
pub async fn progress(tx: &mut Tx, revision: i64) -> Result<Progress> {
    let mut progress = Progress::default();
    for proxy in connected(tx).await? {
        let list =
            if proxy.revision >= revision { &mut progress.applied } else { &mut progress.pending };
        list.push(proxy.id);
    }
    Ok(progress)
}

/// Waits until every connected proxy has applied the revision, or for `timeout`; answers how far
/// they are then.
pub async fn wait_applied(db: &Db, revision: i64, timeout: Duration) -> Result<Progress> {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut wake = db.subscribe(Topic::Proxies);
    loop {
        wake.borrow_and_update();
        let mut tx = db.read().await?;
        let progress = progress(&mut tx, revision).await?;
        drop(tx);
        if progress.pending.is_empty() || tokio::time::Instant::now() >= deadline {
            return Ok(progress);
        }
        // Look again at least every second: a proxy that falls silent must not hold this up.
        let pause = deadline.min(tokio::time::Instant::now() + Duration::from_secs(1));
        let _ = tokio::time::timeout_at(pause, wake.changed()).await;
    }
}
