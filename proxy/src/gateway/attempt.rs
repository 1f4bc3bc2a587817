//! One attempt after another: what an attempt's end means to the application's upstreams, and
//! whether another follows. After a failure to connect nothing was sent, so any request may be
//! tried again. After an exchange that broke off before anything was answered, only one whose
//! method is idempotent and of whose body nothing was sent. How often is for the pool's budget.

use std::os::fd::RawFd;

use bytes::Bytes;
use pingora::proxy::Session;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};

use tokio::time::Instant;

use super::Gateway;
use crate::ctx::Ctx;
use crate::denied::Cause;
use crate::listener::connection::Limits;
use crate::listener::pace::Pace;
use crate::metrics::Fault;
use crate::upstream::silence::Watch;
use crate::upstream::{Choice, Next};

impl Gateway {
    /// The attempt's peer; its address is resolved and judged here. A URL that leads nowhere is a
    /// failed attempt, and the next may follow at once.
    pub(super) async fn next_peer(&self, ctx: &mut Ctx) -> Result<Box<HttpPeer>, Cause> {
        let snapshot = ctx.snapshot.clone().ok_or(Cause::Internal)?;
        loop {
            let choice = ctx.choice.as_mut().ok_or(Cause::Internal)?;
            // Where we make the exchange, the connection itself sees to its time-outs.
            let sockets = (!ctx.plain).then_some(&self.sockets);
            match choice.peer(&snapshot, &self.resolver, sockets).await {
                Ok(mut peer) => {
                    if !ctx.marks.hop_by_hop {
                        // There is nothing that the engine would have to look for.
                        peer.options.http_upstream_request_policy =
                            HttpUpstreamRequestPolicy::preserve();
                    }
                    return Ok(peer);
                }
                Err(cause) => {
                    self.metrics.upstream_errors.inc(Fault::Address);
                    choice.failed(&self.pools);
                    if !choice.retry(Next::Any, &self.pools) {
                        return Err(cause);
                    }
                }
            }
        }
    }

    /// The same for an attempt after the first.
    pub(super) async fn following_peer(&self, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        self.next_peer(ctx).await.map_err(|cause| {
            ctx.failure = Some(cause);
            Error::new_up(ErrorType::ConnectError)
        })
    }

    /// An attempt begins.
    pub(super) fn attempt(ctx: &mut Ctx) {
        let now = std::time::Instant::now();
        ctx.upstream_started.get_or_insert(now);
        ctx.attempt_started = Some(now);
    }

    /// It has its connection.
    pub(super) fn connected(&self, ctx: &mut Ctx, reused: bool) {
        // A kept connection was found at once.
        ctx.connected = ctx.attempt_started;
        if !reused {
            let now = std::time::Instant::now();
            ctx.connected = Some(now);
            if let Some(began) = ctx.attempt_started {
                self.metrics.latency.connect.observe((now - began).as_secs_f64());
            }
        }
    }

    /// The engine has this connection for it.
    pub(super) fn watch(&self, ctx: &mut Ctx, fd: RawFd) {
        let silence = ctx.choice.as_ref().and_then(Choice::silence);
        ctx.watch = silence.and_then(|_| self.sockets.watch(fd));
    }

    /// A piece of the request passes, or its end: the first byte is awaited from there on.
    fn asked(ctx: &mut Ctx, end: bool) {
        ctx.asked |= end;
        let silence = ctx.choice.as_ref().and_then(Choice::silence);
        let (Some(watch), Some((first, idle))) = (&mut ctx.watch, silence) else { return };
        if ctx.status != 0 {
            watch.start(idle);
        } else if end && first < idle {
            watch.start(first);
        }
    }

    /// A piece of the request's body passes, or its end. Fails when that is more than may come, or
    /// comes too slowly.
    pub(super) fn take_piece(
        &self,
        session: &Session,
        piece: Option<&Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        Self::asked(ctx, end);
        let length = piece.map_or(0, Bytes::len);
        self.hold_to_pace(session, length, ctx)?;
        ctx.bytes_in += length as u64;
        let limit = ctx.application.as_ref().map_or(u64::MAX, |it| it.max_body_bytes);
        if ctx.bytes_in > limit && !session.was_upgraded() {
            ctx.failure = Some(Cause::BodyTooLarge { limit });
            return Err(Error::new_down(ErrorType::HTTPStatus(413)));
        }
        Ok(())
    }

    /// A piece of a body came over HTTP/2. Fails when the body comes too slowly while nothing is
    /// answered yet; `listener` sees to HTTP/1.
    fn hold_to_pace(&self, session: &Session, bytes: usize, ctx: &mut Ctx) -> Result<()> {
        if ctx.asked || ctx.status != 0 || !session.as_downstream().is_http2() {
            return Ok(());
        }
        let Limits { body_bytes_per_second, body_grace, .. } =
            self.settings.load().connections.limits();
        let pace = ctx.pace.get_or_insert_with(|| Pace::new(body_bytes_per_second, body_grace));
        if !pace.is_too_slow(bytes, Instant::now()) {
            return Ok(());
        }
        ctx.failure = Some(Cause::ClientTimeout);
        Err(Error::new_down(ErrorType::ReadTimedout))
    }

    /// The response's head came. Fails when that was over time.
    pub(super) fn answered(&self, ctx: &mut Ctx) -> Result<()> {
        if ctx.watch.as_ref().is_some_and(Watch::is_over) {
            return Err(Error::new_up(ErrorType::ReadTimedout));
        }
        if let Some(choice) = &mut ctx.choice {
            choice.answered(&self.pools);
        }
        match (&mut ctx.watch, ctx.choice.as_ref().and_then(Choice::silence)) {
            (Some(watch), Some((first, idle))) if idle < first => watch.start(idle),
            // The engine's own limit is the right one from here on.
            _ => ctx.watch = None,
        }
        Ok(())
    }

    /// A piece of the response passes, or its end. Fails when that end is but our ending of the
    /// connection, and can't be told from the response's own because it announced no length.
    pub(super) fn said(ctx: &mut Ctx, end: bool) -> Result<()> {
        let Some(watch) = &mut ctx.watch else { return Ok(()) };
        if end && watch.is_over() && !ctx.framed {
            return Err(Error::new_up(ErrorType::ReadTimedout));
        }
        if let Some((_, idle)) = ctx.choice.as_ref().and_then(Choice::silence) {
            watch.start(idle);
        }
        if end {
            ctx.watch = None;
        }
        Ok(())
    }

    /// No connection could be made. May another be tried?
    pub(super) fn not_connected(&self, ctx: &mut Ctx, error: &Error) -> bool {
        self.metrics.upstream_errors.inc(Fault::Connect);
        let Some(choice) = &mut ctx.choice else { return false };
        // Out of descriptors or ports: that is not the upstream's fault.
        if *error.etype() != ErrorType::InternalError {
            choice.failed(&self.pools);
        }
        choice.retry(Next::Any, &self.pools)
    }

    /// The exchange ended before its time, from either side. May another be tried?
    pub(super) fn broken_off(
        &self,
        session: &Session,
        ctx: &mut Ctx,
        error: &Error,
        reused: bool,
    ) -> bool {
        if *error.esource() != ErrorSource::Upstream {
            return false;
        }
        // Nobody can answer what has not been asked: it was the client that fell silent.
        if !ctx.asked && ctx.status == 0 && *error.etype() == ErrorType::ReadTimedout {
            ctx.failure.get_or_insert(Cause::ClientTimeout);
            return false;
        }
        self.metrics.upstream_errors.inc(Fault::Exchange);
        let silent = ctx.watch.take().is_some_and(|watch| watch.is_over())
            || matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        let unanswered = session.response_written().is_none() && ctx.status == 0;
        let Some(choice) = ctx.choice.as_mut().filter(|_| unanswered) else {
            if silent {
                ctx.failure.get_or_insert(TOO_SILENT);
            }
            return false;
        };
        // A kept connection that the upstream closed meanwhile says nothing about its health.
        let stale = !silent && reused && matches!(error.retry, RetryType::ReusedOnly);
        if !stale {
            choice.failed(&self.pools);
        }
        let next = match (stale, silent) {
            (true, _) => Next::Same,
            // Whoever has been silent for so long is not asked again.
            (_, true) => Next::Other,
            _ => Next::Any,
        };
        let again = session.req_header().method.is_idempotent()
            && ctx.bytes_in == 0
            && ctx.failure.is_none()
            && choice.retry(next, &self.pools);
        if silent && !again {
            ctx.failure.get_or_insert(TOO_SILENT);
        }
        again
    }
}

const TOO_SILENT: Cause = Cause::GatewayTimeout { reason: "response_timeout" };
