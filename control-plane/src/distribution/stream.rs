//! One proxy's stream: every revision after its own, in order and without a gap, then each new one
//! as it commits; how many proxies there are; totals of what is used, and a ping at least every
//! second. It ends when the client goes, when it falls too far behind to send to, or at shutdown; the proxy comes back.

use std::time::Duration;

use authsome_shared::clock::period_of;
use authsome_shared::id::{NodeId, PlatformId};
use authsome_shared::node::Frame;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::used;
use crate::app::App;
use crate::db::Topic;
use crate::error::Result;
use crate::metering::totals;
use crate::{platform, proxies, revisions};

/// Frames that may wait for a slow reader.
const BUFFER: usize = 64;
/// Revisions read at once.
const CHUNK: i64 = 500;
const PING: Duration = Duration::from_secs(1);
/// Totals go out at most this often.
const TOTALS_PAUSE: Duration = Duration::from_millis(250);
/// Totals are looked for this far back, since transactions commit out of the order of their times.
const TOTALS_OVERLAP: TimeDelta = TimeDelta::seconds(10);
/// Totals in a frame: so few that reading it holds nobody up.
const TOTALS_CHUNK: usize = 200;

/// What a proxy says when it opens its stream.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub node: NodeId,
    /// `None`: it has no snapshot yet.
    pub platform: Option<PlatformId>,
    pub revision: i64,
}

/// Follows the log on behalf of one proxy.
pub struct Follower {
    app: App,
    subscription: Subscription,
    /// Tells this stream from the proxy's others.
    id: String,
    frames: mpsc::Sender<Frame>,
    /// The number of proxies that was sent last.
    fleet_sent: Option<u32>,
    /// Totals changed before this instant have been sent.
    totals_sent: Option<DateTime<Utc>>,
}

/// The reader has gone, or the follower must stop.
struct Ended;

impl Follower {
    /// Starts following; the frames come out of the receiver until either side ends.
    pub fn start(
        app: &App,
        subscription: Subscription,
        stop: CancellationToken,
    ) -> mpsc::Receiver<Frame> {
        let (frames, receiver) = mpsc::channel(BUFFER);
        let id = Uuid::now_v7().simple().to_string();
        let follower = Self {
            app: app.clone(),
            subscription,
            id,
            frames,
            fleet_sent: None,
            totals_sent: None,
        };
        tokio::spawn(follower.run(stop));
        receiver
    }

    async fn run(mut self, stop: CancellationToken) {
        let node = self.subscription.node.clone();
        tracing::info!(%node, revision = self.subscription.revision, "a proxy has connected");
        let frames = self.frames.clone();
        let followed = tokio::select! {
            () = stop.cancelled() => Ok(Ended),
            () = frames.closed() => Ok(Ended),
            followed = self.follow() => followed,
        };
        match followed {
            Ok(Ended) => tracing::info!(%node, "a proxy's stream has ended"),
            Err(error) => tracing::warn!(%node, %error, "a proxy's stream broke off"),
        }
        if let Err(error) = self.disconnect().await {
            tracing::warn!(%node, %error, "a proxy's leaving could not be stored");
        }
    }

    async fn disconnect(&self) -> Result<()> {
        let mut tx = self.app.db.write().await?;
        proxies::disconnect(&mut tx, &self.subscription.node, &self.id).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn connect(&self) -> Result<()> {
        let mut tx = self.app.db.write().await?;
        let Subscription { node, revision, .. } = &self.subscription;
        proxies::follow(&mut tx, node, &self.id, *revision).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn follow(&mut self) -> Result<Ended> {
        let mut revisions = self.app.db.subscribe(Topic::Revisions);
        let mut usage = self.app.db.subscribe(Topic::Usage);
        let mut fleet = self.app.db.subscribe(Topic::Fleet);
        self.connect().await?;
        let greeting = self.greet().await?;
        let resets = matches!(greeting, Frame::Reset { .. });
        if self.send(greeting).await.is_err() || resets || self.send_fleet().await?.is_err() {
            return Ok(Ended);
        }
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut totals_due = Some(Instant::now());
        loop {
            if self.send_deltas(&mut revisions).await?.is_err() {
                return Ok(Ended);
            }
            if totals_due.is_some_and(|due| due <= Instant::now()) {
                totals_due = None;
                if self.send_totals().await?.is_err() {
                    return Ok(Ended);
                }
            }
            let totals_at = totals_due.unwrap_or_else(|| Instant::now() + PING);
            tokio::select! {
                _ = revisions.changed() => {}
                _ = fleet.changed() => {
                    if self.send_fleet().await?.is_err() {
                        return Ok(Ended);
                    }
                }
                _ = usage.changed() => {
                    totals_due = totals_due.or_else(|| Some(Instant::now() + TOTALS_PAUSE));
                }
                () = tokio::time::sleep_until(totals_at), if totals_due.is_some() => {}
                _ = ping.tick() => {
                    // Nobody rings for a proxy that has fallen silent.
                    if self.send_fleet().await?.is_err() {
                        return Ok(Ended);
                    }
                    let revision = self.subscription.revision.cast_unsigned();
                    if self.send(Frame::Ping { revision }).await.is_err() {
                        return Ok(Ended);
                    }
                }
            }
        }
    }

    /// Can the proxy go on from its revision?
    async fn greet(&self) -> Result<Frame> {
        let mut tx = self.app.db.read().await?;
        let (platform, newest) = platform::head(&mut tx).await?;
        let oldest = revisions::oldest(&mut tx).await?.unwrap_or(newest + 1);
        let own = self.subscription.revision;
        let known = self.subscription.platform.as_ref() == Some(&platform);
        let revision = newest.cast_unsigned();
        if known && own + 1 >= oldest && own <= newest {
            Ok(Frame::Hello { platform, revision })
        } else {
            Ok(Frame::Reset { platform, revision })
        }
    }

    /// Sends what the log holds beyond the proxy's revision.
    async fn send_deltas(
        &mut self,
        revisions: &mut watch::Receiver<u64>,
    ) -> Result<Result<(), Ended>> {
        loop {
            revisions.borrow_and_update();
            let mut tx = self.app.db.read().await?;
            let mut entries = revisions::after(&mut tx, self.subscription.revision, CHUNK).await?;
            used::add(&mut tx, &mut entries).await?;
            drop(tx);
            if entries.is_empty() {
                return Ok(Ok(()));
            }
            for entry in entries {
                // Pruned under a proxy that was too slow: it must begin anew.
                if entry.revision != self.subscription.revision + 1 {
                    return Ok(Err(Ended));
                }
                let revision = entry.revision.cast_unsigned();
                let delta = Frame::Delta { revision, changes: entry.changes };
                if self.send(delta).await.is_err() {
                    return Ok(Err(Ended));
                }
                self.subscription.revision = entry.revision;
            }
        }
    }

    /// Sends how many proxies share the rate limits, if that has changed.
    async fn send_fleet(&mut self) -> Result<Result<(), Ended>> {
        let mut tx = self.app.db.read().await?;
        let proxies = proxies::fleet(&mut tx, self.app.before).await?;
        drop(tx);
        if self.fleet_sent.replace(proxies) == Some(proxies) {
            return Ok(Ok(()));
        }
        Ok(self.send(Frame::Fleet { proxies }).await)
    }

    /// Sends this month's totals: all of them at first, then those that changed. A proxy that is
    /// alone learns its own from the answers to its batches.
    async fn send_totals(&mut self) -> Result<Result<(), Ended>> {
        let mut tx = self.app.db.read().await?;
        let now = tx.now();
        let since = self.totals_sent.map(|at| at - TOTALS_OVERLAP);
        if since.is_some() && proxies::connected(&mut tx).await?.len() < 2 {
            return Ok(Ok(()));
        }
        let changed = totals::told(&mut tx, &period_of(now), since).await?;
        drop(tx);
        self.totals_sent = Some(now);
        for chunk in changed.chunks(TOTALS_CHUNK) {
            if self.send(Frame::Totals { totals: chunk.to_vec() }).await.is_err() {
                return Ok(Err(Ended));
            }
        }
        Ok(Ok(()))
    }

    async fn send(&self, frame: Frame) -> Result<(), Ended> {
        self.frames.send(frame).await.map_err(|_| Ended)
    }
}
