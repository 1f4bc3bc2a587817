//! One attempt after another: what an attempt's end means to the application's upstreams, and
//! whether another follows. After a failure to connect nothing was sent, so any request may be
//! tried again. After an exchange that broke off before anything was answered, only one whose
//! method is idempotent and of whose body nothing was sent. How often is for the pool's budget.

use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};

use super::Gateway;
use crate::ctx::Ctx;
use crate::denied::Cause;
use crate::upstream::Next;

impl Gateway {
    /// The attempt's peer; its address is resolved and judged here. A URL that leads nowhere is a
    /// failed attempt, and the next may follow at once.
    pub(super) async fn next_peer(
        &self,
        ctx: &mut Ctx,
        streaming: bool,
    ) -> Result<Box<HttpPeer>, Cause> {
        let snapshot = ctx.snapshot.clone().ok_or(Cause::Internal)?;
        loop {
            let choice = ctx.choice.as_mut().ok_or(Cause::Internal)?;
            match choice.peer(streaming, &snapshot, &self.resolver).await {
                Ok(peer) => return Ok(Box::new(peer)),
                Err(cause) => {
                    self.metrics.upstream_errors.with_label_values(&["address"]).inc();
                    choice.failed(&self.pools);
                    if !choice.retry(Next::Any, &self.pools) {
                        return Err(cause);
                    }
                }
            }
        }
    }

    /// The response's head came.
    pub(super) fn answered(&self, ctx: &mut Ctx) {
        if let Some(choice) = &mut ctx.choice {
            choice.answered(&self.pools);
        }
    }

    /// No connection could be made. May another be tried?
    pub(super) fn not_connected(&self, ctx: &mut Ctx, error: &Error) -> bool {
        self.metrics.upstream_errors.with_label_values(&["connect"]).inc();
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
        self.metrics.upstream_errors.with_label_values(&["exchange"]).inc();
        let unanswered = session.response_written().is_none() && ctx.status == 0;
        let Some(choice) = ctx.choice.as_mut().filter(|_| unanswered) else { return false };
        // A kept connection that the upstream closed meanwhile says nothing about its health.
        let stale = reused && matches!(error.retry, RetryType::ReusedOnly);
        if !stale {
            choice.failed(&self.pools);
        }
        let next = match error.etype() {
            _ if stale => Next::Same,
            // Whoever has been silent for so long is not asked again.
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Next::Other,
            _ => Next::Any,
        };
        session.req_header().method.is_idempotent()
            && ctx.bytes_in == 0
            && ctx.failure.is_none()
            && choice.retry(next, &self.pools)
    }
}
