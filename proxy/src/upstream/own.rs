//! A request on its way to one of its application's own URLs: attempt after attempt, and what the
//! pool is told of each. It counts as under way at its URL until it is dropped.

use std::sync::Arc;

use super::balance::{self, Places};
use super::breaker::Pass;
use super::pool::{Flight, Pool};
use super::registry::Pools;
use crate::admit::Admitted;
use crate::denied::Cause;
use crate::metrics::Retry;
use crate::snapshot::entity::{Application, Upstream};

/// One of the application's own URLs, and which were tried before it.
#[derive(Debug)]
pub struct Own {
    application: Arc<Application>,
    pool: Arc<Pool>,
    /// Whose request it is, as a hash.
    subject: u64,
    place: usize,
    tried: Places,
    retries: usize,
    /// When it was chosen, on the pools' clock.
    chosen: u64,
    /// Its outcome has not been told yet.
    open: bool,
    pass: Option<Pass>,
    /// Replaced by the next attempt's.
    flight: Flight,
}

/// Where one more attempt would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To the same URL: that was a kept connection which had ended.
    Same,
    /// To a URL that was not tried, if there is one.
    Any,
    /// Only to a URL that was not tried.
    Other,
}

impl Own {
    pub(super) fn new(
        admitted: &Admitted,
        upstream: &Upstream,
        pools: &Pools,
    ) -> Result<Self, Cause> {
        let pool = pools.of(&admitted.application, upstream);
        let now = pools.now();
        if let Some(wait) = pool.closed_for(now) {
            return Err(Cause::BreakerOpen { retry_after: wait.div_ceil(1_000).max(1) });
        }
        let subject = if pool.needs_subject() {
            let key = &admitted.key;
            balance::hash(key.first().unwrap_or(&key.id).as_str())
        } else {
            0
        };
        let place = pool.choose(Places::NONE, subject, now);
        Ok(Self {
            application: admitted.application.clone(),
            subject,
            place,
            tried: Places::NONE.with(place),
            retries: 0,
            chosen: now,
            open: false,
            pass: None,
            flight: pool.start(place),
            pool: pool.clone(),
        })
    }

    pub(super) fn upstream(&self) -> &Upstream {
        self.application.upstream.as_ref().expect("only an application with one makes this choice")
    }

    /// Of the attempt's base.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Attempts after the first, so far.
    pub(super) fn retries(&self) -> usize {
        self.retries
    }

    /// Nothing can refuse the request any more: its first attempt begins.
    pub(super) fn begin(&mut self) {
        self.pool.count_request(self.chosen);
        self.attempt(self.chosen);
    }

    fn attempt(&mut self, now: u64) {
        self.pass = self.pool.pass(now);
        self.open = true;
    }

    /// Tells how the attempt ended; what comes later of the same attempt does not count.
    pub(super) fn end(&mut self, well: bool, pools: &Pools) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if well && self.pass.is_none() && self.pool.is_clean(self.place) {
            return;
        }
        let now = pools.now();
        if well {
            self.pool.answered(self.place, now);
        } else if self.pool.failed(self.place, now) {
            pools.metrics.upstream.ejections.inc();
        }
        if let Some(pass) = self.pass.take()
            && self.pool.tell(pass, well, now)
        {
            pools.metrics.upstream.breakers_opened.inc();
        }
    }

    pub(super) fn retry(&mut self, next: Next, pools: &Pools) -> bool {
        let now = pools.now();
        let spent = self.retries >= self.upstream().retries;
        let nowhere = next == Next::Other && self.pool.all().without(self.tried).is_empty();
        if spent || nowhere || self.pool.closed_for(now).is_some() {
            return false;
        }
        let taken = self.pool.take_retry(now);
        let outcome = if taken { Retry::Made } else { Retry::OverBudget };
        pools.metrics.upstream.retries.inc(outcome);
        if taken {
            self.retries += 1;
            if next != Next::Same {
                self.place = self.pool.choose(self.tried, self.subject, now);
                self.tried = self.tried.with(self.place);
                drop(std::mem::replace(&mut self.flight, self.pool.start(self.place)));
            }
            self.attempt(now);
        }
        taken
    }
}
