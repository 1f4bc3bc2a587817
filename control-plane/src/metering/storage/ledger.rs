//! One application's levels in the order of time, and the months' sums that follow from them. Each
//! change adds to the sums exactly the difference that it makes between itself and the next report.
//! Whoever changes a line holds its row, so that two reports at once can't both start from one state.

use authsome_shared::id::{ApplicationId, WorkspaceId};
use chrono::{DateTime, Utc};

use super::micros;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::metering::late::Touched;
use crate::metering::usage::Period;
use crate::{execute, fetch_one, fetch_optional};

/// Where a level comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
enum Cause {
    Reported,
    Deleted,
    Restored,
}

#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Level {
    at: DateTime<Utc>,
    bytes: i64,
    cause: Cause,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    New,
    Replaced,
    Unchanged,
    /// The application was deleted then.
    Ignored,
    /// For the same instant so many bytes were reported.
    Contradicts(i64),
}

/// An application's storage, held until the transaction's end.
#[derive(Debug)]
pub(super) struct Line {
    application_id: ApplicationId,
    workspace_id: WorkspaceId,
    /// The newest level, and since when.
    bytes: i64,
    at: DateTime<Utc>,
    stopped: bool,
}

impl Line {
    pub async fn lock(tx: &mut Tx, id: &ApplicationId, workspace: &WorkspaceId) -> Result<Self> {
        let (bytes, at, stopped): (i64, DateTime<Utc>, bool) = fetch_one!(
            tx,
            sqlx::query_as(
                "insert into storage_applications (application_id, workspace_id, bytes, at, stopped) \
                 values ($1, $2, 0, $3, false) on conflict (application_id) \
                 do update set bytes = storage_applications.bytes returning bytes, at, stopped"
            )
            .bind(id)
            .bind(workspace)
            .bind(DateTime::UNIX_EPOCH)
        )?;
        let (application_id, workspace_id) = (id.clone(), workspace.clone());
        Ok(Self { application_id, workspace_id, bytes, at, stopped })
    }

    /// Puts a report in its place among the others.
    pub async fn place(
        &mut self,
        tx: &mut Tx,
        at: DateTime<Utc>,
        bytes: i64,
        replace: bool,
        touched: &mut Touched,
    ) -> Result<Placed> {
        if at > self.at {
            if self.stopped {
                return Ok(Placed::Ignored);
            }
            self.touch(touched, at, None, bytes - self.bytes);
            self.push(tx, Level { at, bytes, cause: Cause::Reported }).await?;
            return Ok(Placed::New);
        }
        let held = self.at_or_before(tx, at).await?;
        if held.is_some_and(|held| held.cause == Cause::Deleted) {
            return Ok(Placed::Ignored);
        }
        let known = held.filter(|held| held.at == at && held.cause == Cause::Reported);
        match known {
            Some(known) if known.bytes == bytes => return Ok(Placed::Unchanged),
            Some(known) if !replace => return Ok(Placed::Contradicts(known.bytes)),
            _ => {}
        }
        let difference = bytes - held.map_or(0, |held| held.bytes);
        let next = self.after(tx, at).await?;
        self.touch(touched, at, next, difference);
        match next {
            Some(next) => self.add(tx, at, next, difference, bytes).await?,
            None => self.bytes = bytes,
        }
        self.write(tx, Level { at, bytes, cause: Cause::Reported }).await?;
        self.save(tx).await?;
        Ok(if known.is_some() { Placed::Replaced } else { Placed::New })
    }

    /// From now on nothing is stored.
    pub async fn stop(&mut self, tx: &mut Tx) -> Result<()> {
        if self.stopped {
            return Ok(());
        }
        let now = tx.now();
        while self.at > now {
            self.take_back(tx).await?;
        }
        self.stopped = true;
        self.push(tx, Level { at: now, bytes: 0, cause: Cause::Deleted }).await
    }

    /// From now on what was stored before it stopped.
    pub async fn resume(&mut self, tx: &mut Tx) -> Result<()> {
        if !self.stopped {
            return Ok(());
        }
        let before = self.before(tx, self.at).await?;
        // A clock that was set back does not undo the deletion.
        let at = tx.now().max(self.at);
        self.stopped = false;
        let bytes = before.map_or(0, |level| level.bytes);
        self.push(tx, Level { at, bytes, cause: Cause::Restored }).await
    }

    /// Adds a level behind all others, or in the place of the newest.
    async fn push(&mut self, tx: &mut Tx, level: Level) -> Result<()> {
        self.add(tx, self.at, level.at, self.bytes, self.bytes).await?;
        (self.at, self.bytes) = (level.at, level.bytes);
        self.write(tx, level).await?;
        self.save(tx).await
    }

    /// Removes the newest level.
    async fn take_back(&mut self, tx: &mut Tx) -> Result<()> {
        let before = self.before(tx, self.at).await?;
        let (at, bytes) = before.map_or((DateTime::UNIX_EPOCH, 0), |level| (level.at, level.bytes));
        self.add(tx, at, self.at, -bytes, 0).await?;
        execute!(
            tx,
            sqlx::query("delete from storage_reports where application_id = $1 and at = $2")
                .bind(&self.application_id)
                .bind(self.at)
        )?;
        (self.at, self.bytes) = (at, bytes);
        Ok(())
    }

    /// The months between two instants, of which the levels differ now.
    fn touch(
        &self,
        touched: &mut Touched,
        from: DateTime<Utc>,
        to: Option<DateTime<Utc>>,
        difference: i64,
    ) {
        if difference == 0 {
            return;
        }
        // None after the one that is to come: it has not ended either.
        let to = to.unwrap_or(from + super::LATEST * 3);
        for span in spans(from, to) {
            touched.add(&self.workspace_id, span.period);
        }
    }

    /// Adds bytes to the time between two instants. `level` is what holds at its end now.
    async fn add(
        &self,
        tx: &mut Tx,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        bytes: i64,
        level: i64,
    ) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        for span in spans(from, to) {
            let period = span.period.to_string();
            let row: Option<(String, i64)> = fetch_optional!(
                tx,
                sqlx::query_as(
                    "select byte_micros, bytes from storage_months \
                     where application_id = $1 and period = $2"
                )
                .bind(&self.application_id)
                .bind(&period)
            )?;
            let (sum, last) = match row {
                Some((text, last)) => (text.parse::<i128>().map_err(Error::internal)?, last),
                None => (0, 0),
            };
            let sum = sum + i128::from(bytes) * span.micros;
            execute!(
                tx,
                sqlx::query(
                    "insert into storage_months (application_id, period, workspace_id, byte_micros, \
                     bytes) values ($1, $2, $3, $4, $5) on conflict (application_id, period) \
                     do update set byte_micros = excluded.byte_micros, bytes = excluded.bytes"
                )
                .bind(&self.application_id)
                .bind(&period)
                .bind(&self.workspace_id)
                .bind(sum.to_string())
                .bind(if span.to_its_end { level } else { last })
            )?;
        }
        Ok(())
    }

    async fn at_or_before(&self, tx: &mut Tx, at: DateTime<Utc>) -> Result<Option<Level>> {
        Ok(fetch_optional!(
            tx,
            sqlx::query_as(
                "select at, bytes, cause from storage_reports \
                 where application_id = $1 and at <= $2 order by at desc limit 1"
            )
            .bind(&self.application_id)
            .bind(at)
        )?)
    }

    async fn before(&self, tx: &mut Tx, at: DateTime<Utc>) -> Result<Option<Level>> {
        Ok(fetch_optional!(
            tx,
            sqlx::query_as(
                "select at, bytes, cause from storage_reports \
                 where application_id = $1 and at < $2 order by at desc limit 1"
            )
            .bind(&self.application_id)
            .bind(at)
        )?)
    }

    async fn after(&self, tx: &mut Tx, at: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let row: Option<(DateTime<Utc>,)> = fetch_optional!(
            tx,
            sqlx::query_as(
                "select at from storage_reports \
                 where application_id = $1 and at > $2 order by at limit 1"
            )
            .bind(&self.application_id)
            .bind(at)
        )?;
        Ok(row.map(|(at,)| at))
    }

    async fn write(&self, tx: &mut Tx, level: Level) -> Result<()> {
        execute!(
            tx,
            sqlx::query(
                "insert into storage_reports (application_id, at, bytes, cause) \
                 values ($1, $2, $3, $4) on conflict (application_id, at) \
                 do update set bytes = excluded.bytes, cause = excluded.cause"
            )
            .bind(&self.application_id)
            .bind(level.at)
            .bind(level.bytes)
            .bind(level.cause)
        )?;
        Ok(())
    }

    async fn save(&self, tx: &mut Tx) -> Result<()> {
        execute!(
            tx,
            sqlx::query(
                "update storage_applications set bytes = $1, at = $2, stopped = $3 \
                 where application_id = $4"
            )
            .bind(self.bytes)
            .bind(self.at)
            .bind(self.stopped)
            .bind(&self.application_id)
        )?;
        Ok(())
    }
}

/// A month's part of a span of time.
struct Span {
    period: Period,
    micros: i128,
    /// Nothing of the month comes after it.
    to_its_end: bool,
}

/// What lies between two instants, month by month.
fn spans(from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = Span> {
    let mut from = from;
    std::iter::from_fn(move || {
        if from >= to {
            return None;
        }
        let period = Period::containing(from);
        let until = period.end().min(to);
        let span = Span { period, micros: micros(from, until), to_its_end: until == period.end() };
        from = until;
        Some(span)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_parted_at_the_turn_of_months() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (from, to) = (at("2026-01-31T23:59:59.999999Z"), at("2026-03-01T00:00:00Z"));
        let parts: Vec<_> =
            spans(from, to).map(|s| (s.period.to_string(), s.micros, s.to_its_end)).collect();
        let february = 28 * 86_400_000_000;
        assert_eq!(parts, [("2026-01".into(), 1, true), ("2026-02".into(), february, true)]);
        assert_eq!(spans(to, to).count(), 0);
        assert!(!spans(to, at("2026-03-31T23:59:59Z")).next().unwrap().to_its_end);
    }
}
