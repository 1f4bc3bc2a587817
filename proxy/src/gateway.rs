//! The engine's phases. Each is a few calls into the modules that decide: `admit` about the
//! request, `limit` and `ledger` about what has state, `upstream` about where it goes, `denied`
//! about how a refusal is told. The order here is the order of design section 4.
//!
//! A request is counted when it takes its quota, and from then on recorded exactly once: with the
//! last bytes of its response, before they are sent; or when it fails, before that is told.

mod attempt;
mod decide;
mod forward;
mod hold;
pub(crate) mod names;
mod report;
mod respond;
mod stamp;

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use authsome_shared::clock::Clock;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::ShutdownWatch;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio_util::task::TaskTracker;

use crate::ctx::Ctx;
use crate::denied::Cause;
use crate::ledger::Ledger;
use crate::ledger::line::Line;
use crate::limit::Limits;
use crate::listener::connection::Connection;
use crate::metrics::Metrics;
use crate::reload::Settings;
use crate::reports::Reports;
use crate::snapshot::Snapshot;
use crate::upstream::address::Resolver;
use crate::upstream::registry::Pools;
use crate::upstream::silence::Sockets;
use report::{micros, path_only, seconds_since};

pub struct Gateway {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub limits: Limits,
    pub ledger: Arc<Ledger>,
    pub resolver: Arc<Resolver>,
    /// What is known of applications' upstreams.
    pub pools: Arc<Pools>,
    /// Connections to upstreams that may have to be ended.
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

    /// Records the request if it was admitted and is not recorded yet.
    fn record(&self, ctx: &mut Ctx) {
        let Some(admitted) = &ctx.admitted else { return };
        if std::mem::replace(&mut ctx.recorded, true) {
            return;
        }
        let (workspace, application) = &admitted.application.ids;
        let began = Instant::now();
        self.ledger.record(Line {
            at: self.clock.micros().div_euclid(1_000),
            workspace,
            application,
            key: &admitted.key.id,
            bucket: admitted.key.first(),
            route: &admitted.route,
            status: ctx.status,
            latency_us: micros(began - ctx.started),
            bytes_in: ctx.bytes_in,
            bytes_out: ctx.bytes_out,
            units: admitted.cost,
            user: ctx.user.as_deref(),
        });
        self.metrics.latency.ledger.observe(seconds_since(began));
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In a box, because the engine moves it about with its own state.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        Box::new(Ctx { under_way: Some(self.under_way.token()), ..Ctx::new() })
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
        // Nor is it waited for ever that a client reads: the engine holds 200 KiB of an answer.
        session.set_write_timeout(Some(body_timeout));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
        let decided = self.decide(session, ctx).await;
        let took = ctx.started.elapsed();
        self.metrics.latency.admission.observe(took.as_secs_f64());
        ctx.admission_us = Some(micros(took));
        let refused = match decided {
            Err(cause) => Some(cause),
            Ok(()) => match self.next_peer(ctx).await {
                Ok(peer) => {
                    Connection::patience(session).inspect(|it| it.restore());
                    ctx.next_peer = Some(peer);
                    None
                }
                Err(cause) => Some(cause),
            },
        };
        match refused {
            None => Ok(false),
            Some(cause) => {
                self.refuse(session, ctx, &cause).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Box<Ctx>,
    ) -> Result<Box<HttpPeer>> {
        let now = Instant::now();
        ctx.upstream_started.get_or_insert(now);
        ctx.attempt_started = Some(now);
        if let Some(peer) = ctx.next_peer.take() {
            return Ok(peer);
        }
        self.next_peer(ctx).await.map_err(|cause| {
            ctx.failure = Some(cause);
            Error::new_up(ErrorType::ConnectError)
        })
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
        // A kept connection was found at once.
        ctx.connected = ctx.attempt_started;
        if !reused {
            let now = Instant::now();
            ctx.connected = Some(now);
            if let Some(began) = ctx.attempt_started {
                self.metrics.latency.connect.observe((now - began).as_secs_f64());
            }
        }
        self.connected(ctx, fd);
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
        Self::asked(ctx, end_of_stream);
        self.hold_to_pace(session, body.as_ref().map_or(0, Bytes::len), ctx)?;
        ctx.bytes_in += body.as_ref().map_or(0, |body| body.len() as u64);
        let limit = ctx.application.as_ref().map_or(u64::MAX, |it| it.max_body_bytes);
        if ctx.bytes_in > limit && !session.was_upgraded() {
            ctx.failure = Some(Cause::BodyTooLarge { limit });
            return Err(Error::new_down(ErrorType::HTTPStatus(413)));
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        // Later the engine makes chunks of what has no end of its own.
        ctx.framed = response.headers.contains_key(CONTENT_LENGTH)
            || response.headers.contains_key(TRANSFER_ENCODING);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        let switching = response.status == http::StatusCode::SWITCHING_PROTOCOLS;
        if switching
            && session.req_header().headers.contains_key(UPGRADE)
            && let Some(connection) = Connection::under(session)
        {
            connection.switch();
        }
        if let Some(connection) = Connection::under(session) {
            connection.stream(switching || forward::is_stream(response));
        }
        if !switching {
            self.close_if_draining(session);
        }
        if response.status.is_informational() && !switching {
            return Ok(());
        }
        self.answered(ctx)?;
        ctx.status = response.status.as_u16();
        let now = Instant::now();
        ctx.upstream_us = ctx.upstream_started.map(|at| micros(now - at));
        if let Some(connected) = ctx.connected {
            self.metrics.latency.first_byte.observe((now - connected).as_secs_f64());
        }
        forward::clean_response(response, ctx);
        stamp::stamp(session, response, ctx);
        if !switching && forward::is_bodiless(session.req_header(), response, ctx) {
            self.record(ctx);
            ctx.watch = None;
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Duration>> {
        Self::said(ctx, end_of_stream)?;
        ctx.bytes_out += body.as_ref().map_or(0, |body| body.len() as u64);
        let complete = ctx.expected_out.is_some_and(|expected| ctx.bytes_out >= expected);
        if end_of_stream || (complete && !session.was_upgraded()) {
            self.record(ctx);
            ctx.watch = None;
        }
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
            path_only(session.req_header().raw_path())
        )
    }
}
