//! Replaces the running process by a new one, of a new binary or new settings, without a request
//! lost: what the old process does, step by step, and how it goes back when the new one fails.
//! What both say to each other is in `handover`.
//!
//! Until the new process serves, this one does, and only pauses what both can't do at once:
//! writing the configuration to the disk, shipping usage, and acknowledging. Its usage records
//! keep going to its own part of the journal, which the new process ships as it grows.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use arc_swap::ArcSwap;
use chrono::SecondsFormat;
use tokio::time::timeout;

use crate::handover::{FLAG, FORMAT, Frozen, Message, Offer, Predecessor, State, Successor};
use crate::limit::quota::Quotas;
use crate::metrics::Metrics;
use crate::premises::first_snapshot;
use crate::snapshot::{Snapshot, store};
use crate::status::Outcome;
use crate::{Proxy, supervisor};

/// How long the new process waits for the control plane, which may be away.
const FOLLOWS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(2);

/// What is started to take over: this process's own program, by the path it was started by, with
/// the same arguments. A file that has been replaced since, or a link that leads elsewhere, is the
/// new release.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// To be called early: the path may be relative, and the file be replaced later.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from);
        // A bare name was looked for in the path; where it was found, the system knows.
        let named = named.filter(|path| path.components().count() > 1);
        let path = match named {
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe()?,
        };
        let arguments = arguments.filter(|argument| argument != FLAG).collect();
        Ok(Self { path, arguments })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command
    }
}

impl Proxy {
    /// Starts the program and hands over to it. On success this process listens no more, and
    /// [`Proxy::shutdown`] is to follow; on an error it goes on as before.
    pub async fn upgrade(&mut self, program: &Program) -> anyhow::Result<()> {
        let limit = Duration::from_millis(self.settings.load().upgrade.timeout_ms);
        let handed_over = match timeout(limit, self.hand_over(program)).await {
            Ok(handed_over) => handed_over,
            Err(_) => Err(anyhow::anyhow!("the new process was not ready within {limit:?}")),
        };
        let error = match handed_over {
            Ok(successor) => {
                self.leave_to(successor).await;
                return Ok(());
            }
            Err(error) => error,
        };
        // The new process is gone by now.
        self.go_on().await;
        self.metrics.process.upgrades.with_label_values(&["failed"]).inc();
        let at = self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let text = format!("{error:#}");
        tracing::error!(error = text, "the upgrade failed; this process goes on");
        self.status.say(|status| {
            let number = status.failed_upgrade.as_ref().map_or(0, |it| it.number) + 1;
            let error = Some(text);
            status.failed_upgrade = Some(Outcome { number, at, error, left: Vec::new() });
        });
        Err(error)
    }

    /// Everything up to the new process's word that it serves.
    async fn hand_over(&mut self, program: &Program) -> anyhow::Result<Successor> {
        ensure!(
            std::process::id() != 1,
            "this is process 1, whose end would be the container's; replace the container instead"
        );
        let mut successor = self.start_successor(program)?;
        tracing::info!(pid = successor.pid(), program = %program.path.display(), "upgrading");
        expect(&mut successor, &Message::Prepared).await?;

        self.acknowledging = None;
        let frozen = {
            // Held for both: what comes after this is not on the disk.
            let mut store = self.store.lock().await;
            store.pause().await;
            let snapshot = self.snapshot.load();
            Frozen { platform: snapshot.platform.clone(), revision: snapshot.revision }
        };
        self.shipping = Some(self.shipper.pause().await.context("the cursor can't be kept")?);
        successor.send(&Message::Frozen(frozen)).await?;
        expect(&mut successor, &Message::Ready).await?;

        // Of a million keys few are in use; it takes a moment to find them.
        let (snapshot, now) = (self.snapshot.load_full(), self.clock.now().timestamp_micros());
        let now = u64::try_from(now).unwrap_or(0).saturating_mul(1_000);
        let in_use = tokio::task::spawn_blocking(move || snapshot.keys_in_use(now)).await?;

        let stopped = Instant::now();
        self.listener.stop_accepting().await;
        self.stop_admin();
        let state = State {
            revision: self.snapshot.load().revision,
            quotas: self.limits.quotas.counts(),
            buckets: in_use.iter().map(|key| (key.id.clone(), key.bucket.tat())).collect(),
        };
        successor.send(&Message::State(state)).await?;
        expect(&mut successor, &Message::Serving).await?;
        tracing::info!(waited = ?stopped.elapsed(), "accepting has passed to the new process");
        Ok(successor)
    }

    /// From here on there is no way back.
    async fn leave_to(&mut self, mut successor: Successor) {
        self.handed_over = true;
        successor.release();
        supervisor::tell(&format!("MAINPID={}", successor.pid()));
        // A third process may start once the new one is gone, even while this one drains.
        self.lock = None;
        self.admin_socket.1 = None;
        self.store.lock().await.leave();
        let _ = successor.send(&Message::Done).await;
        tracing::info!(pid = successor.pid(), "the new process serves; draining");
    }

    fn start_successor(&self, program: &Program) -> anyhow::Result<Successor> {
        let lock = self.lock.as_ref().context("the data directory is no longer ours")?;
        let (admin, listener) = &self.admin_socket;
        let listener = listener.as_ref().context("nothing is listened on any more")?;
        let sockets = self.listener.sockets();
        let data_dir = &self.settings.load().server.data_dir;
        let offer = Offer {
            format: FORMAT,
            pid: std::process::id(),
            version: crate::VERSION.to_owned(),
            data_dir: absolute(data_dir)?,
            sockets: sockets.iter().map(|it| it.configured).chain([*admin]).collect(),
        };
        let listeners = sockets.iter().map(|it| it.listener.as_fd()).chain([listener.as_fd()]);
        let descriptors: Vec<_> = [lock.as_fd()].into_iter().chain(listeners).collect();
        Successor::start(&mut program.command(), offer, &descriptors)
    }

    /// Takes up again whatever was paused.
    pub(crate) async fn go_on(&mut self) {
        self.listener.accept();
        self.serve_admin();
        self.take_back_storage().await;
        self.acknowledge();
    }

    /// The data directory is ours alone again; what another process left there is ours, too.
    pub(crate) async fn take_back_storage(&mut self) {
        if self.handed_over {
            return;
        }
        self.store.lock().await.resume().await;
        self.ledger.expect_others();
        self.shipping = None;
    }
}

/// The configuration, brought up to where the process that hands over decides by. A new process
/// never goes back behind that: a key that was revoked would be let in again.
pub(crate) fn caught_up(
    snapshot: Snapshot,
    frozen: &Frozen,
    dir: &Path,
    quotas: &Quotas,
) -> anyhow::Result<Snapshot> {
    let reaches = |snapshot: &Snapshot| {
        snapshot.platform == frozen.platform && snapshot.revision >= frozen.revision
    };
    let mut snapshot = snapshot;
    if let Some(platform) = snapshot.platform.clone() {
        for entry in store::changes_after(dir, &platform, snapshot.revision) {
            snapshot = snapshot.advanced_by(entry.revision, entry.changes, quotas);
        }
    }
    if !reaches(&snapshot) {
        let empty = Snapshot::empty_with(snapshot.envelope.clone());
        snapshot = first_snapshot(empty, store::read(dir)?, quotas);
    }
    ensure!(
        reaches(&snapshot),
        "the configuration on the disk is at revision {}, behind the one that is served, {}; can \
         the data directory be written to?",
        snapshot.revision,
        frozen.revision
    );
    Ok(snapshot)
}

/// The new process has all it needs: takes what the old one knows in memory only.
pub(crate) async fn take_over_state(
    predecessor: &mut Predecessor,
    metrics: &Metrics,
    snapshot: &ArcSwap<Snapshot>,
    quotas: &Quotas,
) -> anyhow::Result<()> {
    // Before connections come: the old process has followed the control plane all the time.
    follows(metrics).await;
    let state = predecessor.ready().await?;
    reaches(snapshot, &state).await?;
    quotas.take_over(&state.quotas);
    snapshot.load().take_over_buckets(&state.buckets);
    Ok(())
}

/// Waits until the control plane is followed and all it has told is applied, or can't be reached.
async fn follows(metrics: &Metrics) {
    let follows = async {
        let current = || metrics.connected.get() == 1 && metrics.lag.get() == 0;
        while !current() && metrics.sync_failures.get() == 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = timeout(FOLLOWS, follows).await;
}

/// Waits until the configuration has reached what the process that hands over decided by last.
async fn reaches(snapshot: &ArcSwap<Snapshot>, state: &State) -> anyhow::Result<()> {
    let reached = async {
        while snapshot.load().revision < state.revision {
            tokio::time::sleep(LOOK).await;
        }
    };
    timeout(FOLLOWS, reached).await.with_context(|| {
        let ours = snapshot.load().revision;
        format!("revision {} of the configuration has not come, only {ours}", state.revision)
    })
}

fn absolute(dir: &Path) -> anyhow::Result<PathBuf> {
    match dir.canonicalize() {
        Ok(dir) => Ok(dir),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("the data directory {} is gone", dir.display())
        }
        Err(error) => Err(error.into()),
    }
}

async fn expect(successor: &mut Successor, wanted: &Message) -> anyhow::Result<()> {
    let message = successor.receive().await?;
    ensure!(
        std::mem::discriminant(&message) == std::mem::discriminant(wanted),
        "the new process spoke out of turn"
    );
    Ok(())
}
