//! The exchange with an HTTP/1 upstream: the request is written, the answer passed on piece by piece
//! as it comes. The engine's own exchange has two halves that talk by channels, which for a usual
//! request costs more than all the rest. To it are left protocols that are switched to, unusual
//! fields for one connection only, and HTTP/2 upstreams.
//!
//! Connecting, framing, reading the answer and writing it to the client are the engine's here as
//! well, and so are the errors. What an attempt's end leads to is said in `attempt`, for both ways.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result, RetryType};
use tokio::select;
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;

use super::respond::change;
use super::{Gateway, answer, forward};
use crate::ctx::{Ctx, Record};
use crate::upstream::Choice;
use crate::upstream::wire::Wire;

/// What has come of an answer leaves together up to this, in bytes.
const TOGETHER: usize = 16 * 1024;

/// Requests under way from which on they are gathered.
const MANY: usize = 4;

/// How a request's body says where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length,
    Chunked,
}

impl Framing {
    /// Of a request that has a body.
    fn of(request: &RequestHeader) -> Self {
        if request.headers.contains_key(CONTENT_LENGTH) { Self::Length } else { Self::Chunked }
    }

    /// What the engine must know of the head to write the body and read the answer. Not what is
    /// sent.
    fn head(self, request: &RequestHeader) -> Box<RequestHeader> {
        let mut head = http::Request::new(()).into_parts().0;
        head.method = request.method.clone();
        match (self, request.headers.get(CONTENT_LENGTH)) {
            (Self::Length, Some(length)) => {
                head.headers.insert(CONTENT_LENGTH, length.clone());
            }
            (Self::Chunked, _) => {
                head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            _ => {}
        }
        Box::new(RequestHeader::from(head))
    }
}

/// May the exchange be made here?
pub fn is_plain(session: &Session, ctx: &Ctx) -> bool {
    (!ctx.marks.hop_by_hop || is_usual(&session.req_header().headers))
        && ctx.choice.as_ref().is_some_and(Choice::is_http1)
}

/// Do the fields for one connection only say no more than whether it stays?
fn is_usual(headers: &HeaderMap) -> bool {
    let is_usual = |value: &HeaderValue| {
        [&b"keep-alive"[..], b"close"].iter().any(|it| value.as_bytes().eq_ignore_ascii_case(it))
    };
    !headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().all(is_usual)
}

impl Gateway {
    /// Makes the exchange, attempt after attempt; the first goes to `peer`.
    ///
    /// # Errors
    /// The last attempt's, as the engine's own exchange has it.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        mut peer: Box<HttpPeer>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        loop {
            let Err(error) = self.one(session, &peer, ctx).await else { return Ok(()) };
            if !error.retry() {
                return Err(error);
            }
            peer = self.following_peer(ctx).await?;
        }
    }

    async fn one(&self, session: &mut Session, peer: &HttpPeer, ctx: &mut Ctx) -> Result<()> {
        Self::attempt(ctx);
        let (wire, reused) = match self.kept.connect(peer).await {
            Ok(connected) => connected,
            Err(mut error) => {
                error.as_up();
                error.set_retry(self.not_connected(ctx, &error));
                return Err(error);
            }
        };
        self.connected(ctx, reused);
        match self.pass(session, wire, ctx).await {
            Ok(Some(upstream)) => {
                self.keep(upstream, peer).await;
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(mut error) => {
                error.set_retry(self.broken_off(session, ctx, &error, reused));
                Err(error)
            }
        }
    }

    /// Asks over this connection and passes the answer on. Both go on until both are over: an
    /// upstream may answer before it has read everything, and then read the rest. The session is
    /// given back if it can serve another request.
    async fn pass(
        &self,
        session: &mut Session,
        mut wire: Box<Wire>,
        ctx: &mut Ctx,
    ) -> Result<Option<HttpSession>> {
        let mut asked = session.is_body_done();
        let framing = if asked { Framing::None } else { Framing::of(session.req_header()) };
        let head = wire.begin(ctx.connected.unwrap_or(ctx.started).into(), asked);
        forward::head(session, ctx, framing == Framing::Chunked, head)?;
        let timeouts = ctx.choice.as_ref().map(Choice::timeouts).unwrap_or_default();
        wire.hold_to(timeouts.into());
        self.let_others().await;
        let mut upstream = HttpSession::new(wire);
        let head = framing.head(session.req_header());
        let written = upstream.write_request_header(head).await;
        blame(written, &upstream, ErrorType::WriteTimedout).map_err(|mut error| {
            // A kept connection may have been closed meanwhile.
            error.retry = RetryType::ReusedOnly;
            error
        })?;
        if asked {
            self.take_piece(session, None, true, ctx)?;
        }

        let mut answered = false;
        // Why the request could not be written to its end.
        let mut unsent = None;
        while !asked || !answered {
            select! {
                biased;
                came = upstream.read_response_task(), if !answered => {
                    let passed = self.pass_on(session, &mut upstream, came, ctx).await;
                    answered = passed.map_err(|error| match unsent.take() {
                        Some(first) if *error.esource() == ErrorSource::Upstream => first,
                        _ => error,
                    })?;
                }
                piece = session.downstream_session.read_body_or_idle(asked) => {
                    let piece = piece.map_err(Error::into_down)?;
                    if asked {
                        return Err(Error::new_down(ErrorType::ConnectionClosed));
                    }
                    asked = piece.is_none() || session.is_body_done();
                    self.take_piece(session, piece.as_ref(), asked, ctx)?;
                    if let Err(error) = write(&mut upstream, piece, asked).await {
                        // It may have answered and closed before it has read everything.
                        unsent = Some(error);
                        asked = true;
                    }
                }
            }
        }
        // Nothing can follow on half a request.
        Ok(unsent.is_none().then_some(upstream))
    }

    /// Passes on what has come of the answer, and what can be had without waiting. Is it over?
    async fn pass_on(
        &self,
        session: &mut Session,
        upstream: &mut HttpSession,
        came: Result<HttpTask>,
        ctx: &mut Ctx,
    ) -> Result<bool> {
        let mut tasks = Vec::with_capacity(2);
        let mut came = Some(came);
        let (mut size, mut over, mut failure) = (0, false, None);
        while let Some(task) = came.take() {
            match blame(task, upstream, ErrorType::ReadTimedout) {
                Ok(mut task) => {
                    self.filter(session, &mut task, ctx)?;
                    if let HttpTask::Body(Some(piece), _) = &task {
                        size += piece.len();
                    }
                    over = task.is_end();
                    tasks.push(task);
                }
                Err(error) => failure = Some(error),
            }
            if !over && failure.is_none() && size < TOGETHER {
                came = at_once(upstream.read_response_task());
            }
        }
        if matches!(ctx.record, Record::Noted(_)) {
            self.let_others().await;
            self.commit(ctx);
        }
        let done = !tasks.is_empty() && session.write_response_tasks(tasks).await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(over || done),
        }
    }

    /// Lets requests that are ready go first, when there are many: what they send then leaves
    /// together with what this one sends, so that receivers are woken once for all, and their usage
    /// is written at once.
    async fn let_others(&self) {
        if self.under_way.len() > MANY {
            yield_now().await;
        }
    }

    /// What the engine's own exchange does with each piece of an answer.
    fn filter(&self, session: &mut Session, task: &mut HttpTask, ctx: &mut Ctx) -> Result<()> {
        match task {
            HttpTask::Header(response, end) => {
                if response.status == StatusCode::SWITCHING_PROTOCOLS {
                    let what = "a protocol was switched to that nobody asked for";
                    return Err(Error::explain(ErrorType::InvalidHTTPHeader, what).into_up());
                }
                ctx.framed = answer::is_framed(response);
                if !ctx.framed && !*end && !response.status.is_informational() {
                    response.set_version(Version::HTTP_11);
                    change(response, |headers| {
                        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                    });
                }
                self.answer(session, response, ctx)
            }
            HttpTask::Body(piece, end) => self.piece(session, piece.as_ref(), *end, ctx),
            _ => Ok(()),
        }
    }

    /// The answer came to its end, and the connection may serve another request.
    async fn keep(&self, mut upstream: HttpSession, peer: &HttpPeer) {
        upstream.respect_keepalive();
        if let Some(stream) = upstream.reuse().await
            && let Ok(wire) = stream.into_any().downcast()
        {
            self.kept.keep(wire, peer);
        }
    }
}

/// Looks without waiting.
fn at_once<T>(task: impl Future<Output = T>) -> Option<T> {
    // Whoever has used up its turn would be told to wait although there is something to read.
    let task = pin!(unconstrained(task));
    match task.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(came) => Some(came),
        Poll::Pending => None,
    }
}

/// Writes a piece of the request's body, and its end.
async fn write(upstream: &mut HttpSession, piece: Option<Bytes>, end: bool) -> Result<()> {
    let written = async {
        // Nothing would be the end of chunks.
        if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
            upstream.write_body(&piece).await?;
        }
        if end {
            upstream.finish_body().await?;
            wire(upstream).inspect(|it| it.end());
        }
        Ok(())
    };
    let written = written.await;
    blame(written, upstream, ErrorType::WriteTimedout)
}

fn wire(upstream: &HttpSession) -> Option<&Wire> {
    (**upstream.stream()).as_any().downcast_ref()
}

/// Says of an error that it is the upstream's, and whether it is for its silence.
fn blame<T>(outcome: Result<T>, upstream: &HttpSession, silence: ErrorType) -> Result<T> {
    outcome.map_err(|error| {
        let silent = wire(upstream).is_some_and(Wire::is_over);
        if silent { Error::new_up(silence) } else { error.into_up() }
    })
}
