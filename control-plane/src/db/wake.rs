//! Tells those who wait that a transaction of interest has committed: within the process by watch
//! channels, between replicas by PostgreSQL's LISTEN/NOTIFY. A wake carries no data and may be
//! spurious; the waiter reads the database. Wakes lost with a broken connection are made up for by
//! one wake of every topic after reconnecting.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;

const CHANNEL: &str = "authsome";

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The revision log has grown.
    Revisions,
    /// A proxy has reported.
    Proxies,
    /// A job is due.
    Jobs,
    /// Usage was applied.
    Usage,
    /// A proxy has come or gone.
    Fleet,
    /// An event was written, or a delivery is due.
    Events,
}

impl Topic {
    const ALL: [Self; 6] =
        [Self::Revisions, Self::Proxies, Self::Jobs, Self::Usage, Self::Fleet, Self::Events];

    fn name(self) -> &'static str {
        match self {
            Self::Revisions => "revisions",
            Self::Proxies => "proxies",
            Self::Jobs => "jobs",
            Self::Usage => "usage",
            Self::Fleet => "fleet",
            Self::Events => "events",
        }
    }
}

/// The channels, one per topic.
#[derive(Debug, Clone)]
pub(super) struct Wakes {
    senders: Arc<[watch::Sender<u64>; 6]>,
}

impl Default for Wakes {
    fn default() -> Self {
        Self { senders: Arc::new(Topic::ALL.map(|_| watch::Sender::new(0))) }
    }
}

impl Wakes {
    pub(super) fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.senders[topic as usize].subscribe()
    }

    pub(super) fn wake(&self, topic: Topic) {
        self.senders[topic as usize].send_modify(|count| *count += 1);
    }

    /// Queues the notification that other replicas get when the transaction commits.
    pub(super) async fn notify(connection: &mut PgConnection, topic: Topic) -> sqlx::Result<()> {
        sqlx::query("select pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(topic.name())
            .execute(connection)
            .await?;
        Ok(())
    }

    /// Passes on what other replicas commit, until the pool closes.
    pub(super) async fn listen(&self, pool: &PgPool) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        let wakes = self.clone();
        let pool = pool.clone();
        tokio::spawn(async move {
            loop {
                let received = tokio::select! {
                    received = listener.try_recv() => received,
                    () = pool.close_event() => return,
                };
                match received {
                    Ok(Some(notification)) => {
                        let name = notification.payload();
                        for topic in Topic::ALL.into_iter().filter(|topic| topic.name() == name) {
                            wakes.wake(topic);
                        }
                    }
                    // The connection broke and is being made again: anything may have been missed.
                    Ok(None) => Topic::ALL.into_iter().for_each(|topic| wakes.wake(topic)),
                    Err(error) => {
                        tracing::warn!(%error, "lost PostgreSQL's notifications; trying again");
                        tokio::select! {
                            () = tokio::time::sleep(Duration::from_secs(1)) => {}
                            () = pool.close_event() => return,
                        }
                    }
                }
            }
        });
        Ok(())
    }
}
