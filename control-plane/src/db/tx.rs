//! A transaction on either database. It rolls back when dropped without a commit.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};

use super::wake::{Topic, Wakes};
use crate::audit;

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// The connection that a query macro runs on.
pub enum Connection<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// One transaction, one instant: [`Tx::now`] does not move.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
    mode: Mode,
    now: DateTime<Utc>,
    wakes: Wakes,
    topics: BTreeSet<Topic>,
    audit: Vec<audit::Entry>,
}

/// What a transaction was begun for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    Write,
}

impl Tx {
    pub(super) fn sqlite(
        inner: Transaction<'static, Sqlite>,
        mode: Mode,
        now: DateTime<Utc>,
        wakes: &Wakes,
    ) -> Self {
        let inner = Inner::Sqlite(inner);
        Self { inner, mode, now, wakes: wakes.clone(), topics: BTreeSet::new(), audit: vec![] }
    }

    pub(super) fn postgres(
        inner: Transaction<'static, Postgres>,
        mode: Mode,
        now: DateTime<Utc>,
        wakes: &Wakes,
    ) -> Self {
        let inner = Inner::Postgres(inner);
        Self { inner, mode, now, wakes: wakes.clone(), topics: BTreeSet::new(), audit: vec![] }
    }

    /// Ends a `select` of rows that will be changed: on PostgreSQL a writing transaction holds them
    /// from there, so that two changes of one row can't overwrite each other. SQLite's writers come
    /// one after the other anyway.
    pub fn for_update(&self) -> &'static str {
        match (&self.inner, self.mode) {
            (Inner::Postgres(_), Mode::Write) => " for update",
            _ => "",
        }
    }

    /// Ends a `select` of rows that must not change while what is made of them is not committed;
    /// many may hold them so.
    pub fn for_share(&self) -> &'static str {
        match (&self.inner, self.mode) {
            (Inner::Postgres(_), Mode::Write) => " for share",
            _ => "",
        }
    }

    /// When the transaction began, by the injected clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// For the query macros.
    pub fn connection(&mut self) -> Connection<'_> {
        match &mut self.inner {
            Inner::Sqlite(tx) => Connection::Sqlite(&mut *tx),
            Inner::Postgres(tx) => Connection::Postgres(&mut *tx),
        }
    }

    /// Tells the subscribers of a topic once this transaction has committed, and only then.
    pub fn wake(&mut self, topic: Topic) {
        self.topics.insert(topic);
    }

    /// Adds an entry to the audit log, written when this transaction commits, and only then.
    pub fn audit(&mut self, entry: audit::Entry) {
        self.audit.push(entry);
    }

    pub async fn commit(mut self) -> sqlx::Result<()> {
        // Late, because other writers of the same log wait from here on.
        let entries = std::mem::take(&mut self.audit);
        audit::chain::append(&mut self, entries).await?;
        for topic in &self.topics {
            // PostgreSQL delivers notifications on commit; SQLite has no other process to tell.
            if let Inner::Postgres(tx) = &mut self.inner {
                Wakes::notify(tx, *topic).await?;
            }
        }
        match self.inner {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        for topic in self.topics {
            self.wakes.wake(topic);
        }
        Ok(())
    }
}
