//! The engine's phases. Each is a few calls into the modules that decide: `admit` about the
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
mod report;
mod respond;
mod stamp;

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use authsome_shared::clock::Clock;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::ShutdownWatch;
use pingora::upstreams::peer::HttpPeer;
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
use report::{micros, path_only};

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
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In a box, because the engine moves it about with its own state.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        Box::new(Ctx::new(self.clock.micros(), self.under_way.token()))
    }

    /// None of the engine's own: it would add compression.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _ctx: &mut Box<Ctx>) -> Result<()> {
        let settings = self.settings.load();
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(settings.connections.keep_alive_seconds));
        }
        let body_timeout = Duration::from_millis(settings.connections.body_timeout_ms);
        session.set_read_timeout(Some(body_timeout));
        if Connection::under(session).is_none() {
            session.set_write_timeout(Some(body_timeout));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
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

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Box<Ctx>,
    ) -> Result<Box<HttpPeer>> {
        Self::attempt(ctx);
        match ctx.next_peer.take() {
            Some(peer) => Ok(peer),
            None => self.following_peer(ctx).await,
        }
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        self.connected(ctx, reused);
        self.watch(ctx, fd);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        forward::prepare(session, request, ctx)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        self.take_piece(session, body.as_ref(), end_of_stream, ctx)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        // Later the engine makes chunks of what has no end of its own.
        ctx.framed = answer::is_framed(response);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let answered = self.answer(session, response, ctx);
        self.commit(ctx);
        answered
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Duration>> {
        self.piece(session, body.as_ref(), end_of_stream, ctx)?;
        self.commit(ctx);
        Ok(None)
    }

    /// What follows the body ends the response, as only HTTP/2 upstreams do.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Bytes>> {
        forward::clean_trailers(trailers);
        self.record(ctx);
        self.commit(ctx);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Ctx>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let retry = self.not_connected(ctx, &error);
        error.set_retry(retry);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Box<Ctx>,
        client_reused: bool,
    ) -> Box<Error> {
        let retry = self.broken_off(session, ctx, &error, client_reused);
        error.set_retry(retry);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Box<Ctx>,
    ) -> FailToProxy {
        respond::failed(self, session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Box<Ctx>) {
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

    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<Ctx>, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Box<Ctx>,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    /// The engine's own holds the query, and so perhaps a key.
    fn request_summary(&self, session: &Session, ctx: &Box<Ctx>) -> String {
        format!(
            "{} {} {}",
            ctx.id,
            session.req_header().method,
            String::from_utf8_lossy(path_only(session.req_header().raw_path()))
        )
    }
}
