//! A request's way through the proxy: a few calls into the modules that decide: `admit` about the
//! request, `limit` and `ledger` about what has state, `upstream` about where it goes, `denied`
//! about how a refusal is told. The order here is the order of design section 4.
//!
//! A request is counted when it takes its quota, and from then on recorded exactly once: with the
//! last bytes of its response, before they are sent; or when it fails, before that is told.

mod answer;
mod attempt;
mod decide;
mod exchange;
mod forward;
mod hold;
pub(crate) mod names;
pub mod phases;
mod report;
mod respond;
pub mod serve;
mod stamp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use authsome_shared::clock::Clock;
use pingora::proxy::Session;
use pingora::server::ShutdownWatch;
use pingora::{Error, ErrorSource, Result};
use tokio_util::task::TaskTracker;

use crate::ctx::{Ctx, Record};
use crate::ledger::Ledger;
use crate::ledger::line::Line;
use crate::limit::Limits;
use crate::listener::connection::Connection;
use crate::metrics::Metrics;
use crate::reload::Settings;
use crate::reports::Reports;
use crate::snapshot::Snapshot;
use crate::upstream::address::Resolver;
use crate::upstream::kept::Kept;
use crate::upstream::registry::Pools;
use crate::upstream::silence::Sockets;
use report::micros;

pub struct Gateway {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub limits: Limits,
    pub ledger: Arc<Ledger>,
    pub resolver: Arc<Resolver>,
    /// What is known of applications' upstreams.
    pub pools: Arc<Pools>,
    /// Connections to upstreams that wait for their next request.
    pub kept: Arc<Kept>,
    /// Connections of the engine's to upstreams that may have to be ended.
    pub sockets: Arc<Sockets>,
    /// Where the built-in echo listens.
    pub echo: SocketAddr,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub reports: Arc<Reports>,
    pub settings: Settings,
    /// Requests that are not recorded yet, whichever task of the engine's they are in.
    pub under_way: TaskTracker,
    /// Turns true when we begin to drain.
    pub draining: ShutdownWatch,
}

impl Gateway {
    /// The answer is this connection's last, and says so: whoever asks again must not find it
    /// closed.
    fn close_if_draining(&self, session: &mut Session) {
        if *self.draining.borrow() {
            session.set_keepalive(None);
        }
    }

    /// Notes the request for the ledger, if it was admitted and has not been noted yet. What comes
    /// next is [`Gateway::commit`], before the client is told anything more.
    fn record(&self, ctx: &mut Ctx) {
        let Some(admitted) = &ctx.admitted else { return };
        if ctx.record != Record::Due {
            return;
        }
        let (workspace, application) = &admitted.application.ids;
        let latency_us = micros(ctx.started.elapsed());
        let noted = self.ledger.note(Line {
            at: self.clock.after(ctx.came, latency_us).div_euclid(1_000),
            workspace,
            application,
            key: &admitted.key.id,
            bucket: admitted.key.first(),
            route: &admitted.route,
            status: ctx.status,
            latency_us,
            bytes_in: ctx.bytes_in,
            bytes_out: ctx.bytes_out,
            units: admitted.cost,
            user: ctx.user.as_deref(),
        });
        ctx.record = noted.map_or(Record::Done, Record::Noted);
    }

    /// Has what is noted written.
    fn commit(&self, ctx: &mut Ctx) {
        if let Record::Noted(number) = ctx.record {
            ctx.record = Record::Done;
            self.ledger.commit(number);
        }
    }

    /// What is remembered of a request that begins.
    fn context(&self) -> Box<Ctx> {
        Box::new(Ctx::new(self.clock.micros(), self.under_way.token()))
    }

    /// A request's head has been read.
    fn begin(&self, session: &mut Session) {
        let settings = self.settings.load();
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(settings.connections.keep_alive_seconds));
        }
        let body_timeout = Duration::from_millis(settings.connections.body_timeout_ms);
        session.set_read_timeout(Some(body_timeout));
        if Connection::under(session).is_none() {
            session.set_write_timeout(Some(body_timeout));
        }
    }

    /// From a request's head to its answer. `false`: it is admitted, and the engine must make the
    /// exchange with its upstream.
    ///
    /// # Errors
    /// The answer could not be given, or not to its end; [`respond::failed`] sees to that.
    async fn request(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let decided = self.decide(session, ctx).await;
        let took = ctx.started.elapsed();
        self.metrics.latency.admission.observe(took.as_secs_f64());
        ctx.admission_us = Some(micros(took));
        let peer = match decided {
            Err(cause) => Err(cause),
            Ok(()) => {
                ctx.plain = exchange::is_plain(session, ctx);
                self.next_peer(ctx).await
            }
        };
        match peer {
            Err(cause) => self.refuse(session, ctx, &cause).await.map(|()| true),
            Ok(peer) => {
                Connection::patience(session).inspect(|it| it.restore());
                if ctx.plain {
                    // In a box, because few of its kind would be as large.
                    return Box::pin(self.exchange(session, peer, ctx)).await.map(|()| true);
                }
                ctx.next_peer = Some(peer);
                Ok(false)
            }
        }
    }

    /// Nothing more is told the client.
    fn end(&self, session: &Session, error: Option<&Error>, ctx: &mut Ctx) {
        if ctx.status == 0 {
            ctx.status = 499;
        }
        if let Some(error) = error
            && *error.esource() == ErrorSource::Internal
        {
            tracing::warn!(request = ctx.id.as_str(), kind = error.etype().as_str(), "failed");
        }
        self.record(ctx);
        self.commit(ctx);
        self.report(session, ctx);
        ctx.under_way = None;
    }
}
