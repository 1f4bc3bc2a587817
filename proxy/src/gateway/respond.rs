//! Writes answers that are ours, and our headers on those that are not. A refusal leaves the
//! connection open where that is safe: after bad framing, or before a body that is too long to
//! read for nothing, it closes.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::{FailToProxy, Session};
use pingora::{Error, ErrorSource, ErrorType, OrErr, Result};

use super::Gateway;
use super::stamp::stamp;
use crate::ctx::Ctx;
use crate::denied::Cause;
use crate::listener::connection::Connection;

/// A body of this length at most is read and thrown away, so that its connection can be kept.
const SMALL_BODY: u64 = 64 * 1024;

/// Most that is read after an answer before closing, so that the client gets to read it.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(1);

/// Changes a response's fields, without the engine's record of how their names were written:
/// keeping it costs more than the fields.
pub fn change(response: &mut ResponseHeader, change: impl FnOnce(&mut HeaderMap)) {
    let nothing = http::Response::new(()).into_parts().0;
    let own =
        response.get_reason_phrase().filter(|it| response.status.canonical_reason() != Some(it));
    let reason = own.map(str::to_owned);
    let mut parts = Parts::from(std::mem::replace(response, ResponseHeader::from(nothing)));
    change(&mut parts.headers);
    *response = ResponseHeader::from(parts);
    if let Some(reason) = reason {
        let set = response.set_reason_phrase(Some(&reason));
        debug_assert!(set.is_ok(), "the engine refuses none");
    }
}

impl Gateway {
    /// Answers a request that goes no further.
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        cause: &Cause,
    ) -> Result<()> {
        let answer = cause.answer(&ctx.id);
        self.hold(session, ctx, answer.code).await;
        ctx.code = Some(answer.code);
        ctx.cause = Some(cause.clone());
        ctx.status = answer.code.status();
        let head = session.req_header().method == http::Method::HEAD;
        ctx.bytes_out = if head { 0 } else { answer.body.len() as u64 };
        self.record(ctx);
        self.commit(ctx);

        let keep = !answer.close && swallow(session).await;
        if !keep {
            session.set_keepalive(None);
        }
        self.close_if_draining(session);
        let mut response = http::Response::new(()).into_parts().0;
        response.status = StatusCode::from_u16(ctx.status)
            .or_err(ErrorType::InternalError, "a status of our own")?;
        let headers = &mut response.headers;
        // The engine adds two.
        headers.reserve(7);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = answer.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if answer.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let mut response = Box::new(ResponseHeader::from(response));
        stamp(session, &mut response, ctx);
        session.write_response_header(response, head).await?;
        if !head {
            session.write_response_body(Some(Bytes::from(answer.body)), true).await?;
        }
        if !keep {
            linger(session).await;
        }
        Ok(())
    }
}

/// Reads a small unread body away; `false` when the connection can't be kept.
async fn swallow(session: &mut Session) -> bool {
    if session.as_downstream().is_http2() || session.is_body_done() {
        return true;
    }
    let headers = &session.req_header().headers;
    let small = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .is_some_and(|length| length <= SMALL_BODY);
    // A client that waits to be told to continue would wait for ever.
    if !small || headers.contains_key(EXPECT) {
        return false;
    }
    session.set_total_drain_timeout(Some(LINGER));
    session.drain_request_body().await.is_ok()
}

/// Closing with unread bytes would reset the connection, and the answer be lost with it.
async fn linger(session: &mut Session) {
    if session.as_downstream().is_http2() || session.is_body_done() {
        return;
    }
    let _ = session.as_downstream_mut().finish_body().await;
    let rest = async {
        let mut read = 0;
        while read < LINGER_BYTES {
            match session.read_request_body().await {
                Ok(Some(bytes)) => read += bytes.len(),
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// Answers a request that failed on its way, if anybody is there to be answered.
pub async fn failed(
    gateway: &Gateway,
    session: &mut Session,
    error: &Error,
    ctx: &mut Ctx,
) -> FailToProxy {
    // Nor is there an answer for whom the protocol was switched: it would be taken for a message.
    let started = session.response_written().is_some_and(|it| {
        !it.status.is_informational() || it.status == http::StatusCode::SWITCHING_PROTOCOLS
    });
    let fault = || Connection::under(session).and_then(Connection::fault);
    let cause = ctx.failure.take().or_else(fault).or_else(|| cause_of(error));
    tracing::debug!(
        request = ctx.id.as_str(),
        source = error.esource().as_str(),
        kind = error.etype().as_str(),
        started,
        "a request failed"
    );
    match cause {
        // Half a response can't be taken back: the connection ends, and the client sees it cut.
        Some(cause) if started => {
            ctx.code = Some(cause.code());
            ctx.cause = Some(cause);
        }
        Some(cause) => {
            // The engine closes the connection after this, so that must be announced.
            session.set_keepalive(None);
            if let Err(error) = gateway.refuse(session, ctx, &cause).await {
                tracing::debug!(request = ctx.id.as_str(), %error, "nobody to answer");
            }
        }
        None => ctx.status = 499,
    }
    FailToProxy { error_code: ctx.status, can_reuse_downstream: false }
}

/// What an engine's error means to the client; `None` when there is none left.
fn cause_of(error: &Error) -> Option<Cause> {
    use ErrorType as T;
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, T::ConnectTimedout | T::TLSHandshakeTimedout) => {
            Some(Cause::GatewayTimeout { reason: "connect_timeout" })
        }
        (ErrorSource::Upstream, T::ReadTimedout | T::WriteTimedout) => {
            Some(Cause::GatewayTimeout { reason: "response_timeout" })
        }
        (ErrorSource::Upstream, kind) => {
            let (reason, message) = match kind {
                T::ConnectRefused | T::ConnectNoRoute | T::ConnectError | T::SocketError => {
                    ("connect", "The upstream could not be reached")
                }
                T::TLSHandshakeFailure | T::InvalidCert | T::HandshakeError => {
                    ("tls", "No secure connection to the upstream was possible")
                }
                T::InvalidHTTPHeader | T::H1Error | T::H2Error => {
                    ("invalid_response", "The upstream's response was not valid HTTP")
                }
                _ => ("closed", "The upstream closed the connection before it had answered"),
            };
            Some(Cause::BadGateway { reason, message })
        }
        (ErrorSource::Downstream, T::ReadTimedout) => Some(Cause::ClientTimeout),
        (ErrorSource::Downstream, T::InvalidHTTPHeader | T::HTTPStatus(400)) => {
            Some(Cause::Request {
                code: authsome_shared::code::Code::InvalidRequest,
                reason: "header",
                message: "The request's header fields are not valid",
            })
        }
        (ErrorSource::Downstream, _) => None,
        _ => Some(Cause::Internal),
    }
}
