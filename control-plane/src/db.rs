//! One set of queries on two databases: SQLite (embedded) and PostgreSQL.
//!
//! [`Db`] hands out transactions, [`Tx`] runs queries through the four macros in `db/query.rs`, and
//! `db/wake.rs` tells those who wait that something was committed. What the queries say is for the
//! domains. Rules that make one SQL text hold on both databases: `migrations/README.md`.
//!
//! Fails with [`sqlx::Error`]; a lost connection becomes `Error::Unavailable` at the edge.

mod query;
pub mod rows;
mod tx;
mod wake;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use authsome_shared::clock::Clock;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;

pub use query::{is_unique_violation, placeholders};
use tx::Mode;
pub use tx::{Connection, Tx};
pub use wake::Topic;
use wake::Wakes;

/// How long to wait for PostgreSQL at the start.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE: Duration = Duration::from_secs(3);

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Where the data lives.
#[derive(Debug, Clone)]
pub enum Location {
    /// A file, created when missing.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(String),
}

impl Location {
    /// `url` when given, else the embedded database in `data_dir`.
    pub fn new(url: Option<&str>, data_dir: &Path) -> Self {
        match url {
            Some(url) => Self::Postgres(url.to_owned()),
            None => Self::Sqlite(data_dir.join("control-plane.db")),
        }
    }
}

#[derive(Debug, Clone)]
enum Pools {
    /// SQLite has one writer at a time: a pool of one makes writers queue here instead of failing.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
    Postgres(PgPool),
}

/// A handle to the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pools: Pools,
    clock: Clock,
    wakes: Wakes,
}

impl Db {
    /// Connects and brings the schema up to date.
    pub async fn open(
        location: &Location,
        max_connections: u32,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let wakes = Wakes::default();
        let pools = match location {
            Location::Sqlite(path) => open_sqlite(path, max_connections).await?,
            Location::Postgres(url) => open_postgres(url, max_connections).await?,
        };
        match &pools {
            Pools::Sqlite { write, .. } => MIGRATOR.run(write).await,
            Pools::Postgres(pool) => MIGRATOR.run(pool).await,
        }
        .context("bringing the database's schema up to date")?;
        if let Pools::Postgres(pool) = &pools {
            wakes.listen(pool).await.context("listening for changes on PostgreSQL")?;
        }
        Ok(Self { pools, clock, wakes })
    }

    /// A transaction that sees one state of the database and changes nothing.
    pub async fn read(&self) -> sqlx::Result<Tx> {
        let now = self.clock.now();
        Ok(match &self.pools {
            Pools::Sqlite { read, .. } => {
                Tx::sqlite(read.begin().await?, Mode::Read, now, &self.wakes)
            }
            Pools::Postgres(pool) => {
                let begin = "begin isolation level repeatable read read only";
                Tx::postgres(pool.begin_with(begin).await?, Mode::Read, now, &self.wakes)
            }
        })
    }

    /// A transaction that may change things. On SQLite it holds the only write lock, so drop or
    /// commit it before the same task asks for another.
    pub async fn write(&self) -> sqlx::Result<Tx> {
        let now = self.clock.now();
        Ok(match &self.pools {
            Pools::Sqlite { write, .. } => {
                let begun = write.begin_with("begin immediate").await?;
                Tx::sqlite(begun, Mode::Write, now, &self.wakes)
            }
            Pools::Postgres(pool) => {
                Tx::postgres(pool.begin().await?, Mode::Write, now, &self.wakes)
            }
        })
    }

    /// Changes whenever a transaction that called [`Tx::wake`] for the topic has committed,
    /// here or, on PostgreSQL, in another replica.
    pub fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.wakes.subscribe(topic)
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Waits for connections in use and closes them all.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

async fn open_sqlite(path: &Path, max_connections: u32) -> anyhow::Result<Pools> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5));
    let open = async |connections| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .connect_with(options.clone())
            .await
            .with_context(|| format!("cannot open the database {}", path.display()))
    };
    // The writer first: it creates the file and switches it to write-ahead logging.
    let write = open(1).await?;
    let read = open(max_connections.max(2)).await?;
    Ok(Pools::Sqlite { read, write })
}

async fn open_postgres(url: &str, max_connections: u32) -> anyhow::Result<Pools> {
    let options = PgConnectOptions::from_str(url)
        .context("the database URL must look like postgres://user:password@host:5432/database")?
        .application_name("authsome-control-plane");
    let place = format!("{}:{}", options.get_host(), options.get_port());
    // One connection by itself first: the pool would only say that it ran out of time.
    let probe = tokio::time::timeout(CONNECT, PgConnection::connect_with(&options)).await;
    probe
        .context("no answer in time")
        .and_then(|connected| Ok(connected?))
        .with_context(|| {
            format!("cannot reach PostgreSQL at {place}: is it running, and is the URL right?")
        })?
        .close()
        .await?;
    let pool = PgPoolOptions::new()
        .max_connections(max_connections.max(2))
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await
        .with_context(|| format!("cannot open connections to PostgreSQL at {place}"))?;
    Ok(Pools::Postgres(pool))
}
