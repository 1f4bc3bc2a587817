//! What is done to an answer as it passes, whoever reads it from the upstream: head, pieces, and
//! when its request is recorded.

use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::report::micros;
use super::{Gateway, forward, stamp};
use crate::ctx::Ctx;
use crate::listener::connection::Connection;

/// Does it say where it ends?
pub fn is_framed(response: &ResponseHeader) -> bool {
    response.headers.contains_key(CONTENT_LENGTH)
        || response.headers.contains_key(TRANSFER_ENCODING)
}

impl Gateway {
    /// The head.
    pub(super) fn answer(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let switching = response.status == StatusCode::SWITCHING_PROTOCOLS;
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

    /// A piece of the body, or its end.
    pub(super) fn piece(
        &self,
        session: &Session,
        piece: Option<&Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        Self::said(ctx, end)?;
        ctx.bytes_out += piece.map_or(0, |piece| piece.len() as u64);
        let complete = ctx.expected_out.is_some_and(|expected| ctx.bytes_out >= expected);
        if end || (complete && !session.was_upgraded()) {
            self.record(ctx);
            ctx.watch = None;
        }
        Ok(())
    }
}
