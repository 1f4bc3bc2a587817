//! What a finished request leaves behind for operators: metrics, its decision in the access log and
//! in the memory of recent ones, and its spans; and for the application's owner, a line in its log. It comes after everything that the client sees, and
//! makes nothing that nobody asked for.

use std::time::Instant;

use http::HeaderValue;
use http::header::{HOST, USER_AGENT};
use memchr::{memchr, memchr_iter};
use pingora::proxy::Session;

use super::Gateway;
use crate::access_log::sample::{End, draw_of};
use crate::ctx::Ctx;
use crate::decision::{Decision, Quota, RateLimit, Sample, Text};
use crate::denied::Cause;
use crate::denied::kind::Kind;
use crate::metrics::label::Label;
use crate::metrics::{Mode, Outcome};
use crate::trace::{Attempt, Recorded};

/// Longest part of a user agent's name that is kept, in bytes.
const MAX_AGENT: usize = 256;

impl Gateway {
    pub(super) fn report(&self, session: &Session, ctx: &Ctx) {
        let latency = &self.metrics.latency;
        let now = Instant::now();
        let took = now - ctx.started;
        self.metrics.requests.inc(Outcome::of(ctx.code, ctx.status));
        if let Some(cause) = &ctx.cause {
            self.metrics.denials.inc(Kind::of(cause));
        }
        latency.request.observe(took.as_secs_f64());
        if let (Some(began), Some(_)) = (ctx.upstream_started, ctx.upstream_us) {
            latency.upstream.observe((now - began).as_secs_f64());
        }

        let latency_us = micros(took);
        let end = End {
            status: ctx.code.map_or(ctx.status, |code| code.status().max(ctx.status)),
            ours: ctx.code.is_some(),
            latency_us,
        };
        let trace = ctx.trace;
        let draw = || draw_of(trace.map(|trace| trace.id), ctx.id.as_bytes());
        let drawn = self.reports.access_log.drawn(end, draw);
        let told = drawn.as_ref().zip(ctx.application.as_deref()).and_then(|(drawn, it)| {
            let level =
                self.reports.application_log.takes(it, end, drawn.rule.as_bytes() == b"slow")?;
            Some((it, level))
        });
        let sample = drawn.filter(|_| self.reports.access_log.is_on());
        let recorded = trace.filter(crate::trace::Trace::is_recorded);
        let kept = self.reports.recent.is_on();
        if sample.is_none() && recorded.is_none() && told.is_none() && !kept {
            return;
        }
        let logged = sample.is_some();
        let mut bytes = Vec::with_capacity(512);
        let time = self.clock.after(ctx.came, latency_us);
        decision(session, ctx, time, latency_us, sample).write(&mut bytes);
        if let Some((application, level)) = told
            && let Some(decision) = Decision::read(&bytes)
        {
            self.reports.application_log.tell(application, level, &decision);
        }
        self.reports.recent.keep(ctx.id.as_bytes(), end.is_bad(), &bytes);
        if let Some(trace) = recorded {
            let decision = bytes.clone();
            self.reports.tracer.record(Recorded {
                trace,
                decision,
                tls: is_tls(session),
                host: host(session),
                peer_port: ctx.peer.map_or(0, |peer| peer.port()),
                attempt: attempt(ctx, latency_us),
            });
        }
        if logged {
            self.reports.access_log.log(bytes);
        }
    }
}

fn decision<'a>(
    session: &'a Session,
    ctx: &'a Ctx,
    time: i64,
    latency_us: u64,
    sample: Option<Sample<'a>>,
) -> Decision<'a> {
    let request = session.req_header();
    let application = ctx.application.as_deref();
    let choice = ctx.choice.as_ref();
    let admitted = ctx.admitted.as_ref();
    let presented = ctx.presented.as_ref().filter(|_| ctx.key.is_none());
    let key = ctx.key.as_ref().map(|key| &key.id).or(presented.and_then(|it| it.id.as_ref()));
    let agent = request.headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    Decision {
        time,
        request_id: ctx.id.as_bytes().into(),
        trace_id: ctx.trace.as_ref().map(|trace| trace.text().into()),
        workspace: application.map(|it| (&*it.workspace).into()),
        application: application.map(|it| (&*it.id).into()),
        key: key.map(|id| id.as_bytes().into()),
        presented_key: presented.map(|it| (&*it.mask).into()),
        method: request.method.as_str().into(),
        path: without_keys(path_only(request.raw_path())),
        protocol: Some(protocol(request.version).into()),
        user_agent: agent.map(|it| without_keys(&it[..it.len().min(MAX_AGENT)])),
        client: ctx.client.as_ref().map(|it| it.as_bytes().into()).unwrap_or_default(),
        status: ctx.status,
        code: ctx.code.map(|code| code.as_str().into()),
        cause: ctx.cause.as_ref().map(|cause| Kind::of(cause).as_str().into()),
        detail: ctx.cause.as_ref().and_then(Cause::detail).map(Text::from),
        latency_us,
        admission_us: ctx.admission_us,
        upstream_us: ctx.upstream_us,
        bytes_in: ctx.bytes_in,
        bytes_out: ctx.bytes_out,
        revision: ctx.snapshot.as_ref().map(|snapshot| snapshot.revision),
        route: admitted.map(|it| (&*it.route).into()),
        units: admitted.map(|it| it.cost),
        rate_limit: ctx.rate.as_ref().zip(ctx.level).map(|((state, _), level)| RateLimit {
            level: level.of_rate().into(),
            mode: Mode::from(state.limit.mode).as_str().into(),
            requests: state.limit.requests,
            window_ms: state.limit.window_ms,
            burst: state.limit.burst,
            remaining: state.remaining,
        }),
        quota: ctx.cause.as_ref().and_then(quota),
        retry_after: ctx.cause.as_ref().and_then(Cause::retry_after),
        upstream: choice.map(|it| it.base().map_or("echo", |base| &base.url).into()),
        attempts: choice.map_or(0, crate::upstream::Choice::attempts),
        sample,
    }
}

/// The quota that refused.
fn quota(cause: &Cause) -> Option<Quota<'_>> {
    let Cause::Quota { level, quota, period, .. } = cause else { return None };
    Some(Quota { level: level.as_str().into(), limit: *quota, period: period.as_str().into() })
}

fn attempt(ctx: &Ctx, latency_us: u64) -> Option<Attempt> {
    let began = micros(ctx.attempt_started?.saturating_duration_since(ctx.started));
    let answered = ctx.upstream_us.is_some().then_some(ctx.status);
    Some(Attempt { began_us: began, took_us: latency_us.saturating_sub(began), status: answered })
}

pub(super) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Seconds since an instant, as histograms have them.
pub(super) fn seconds_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

pub(super) fn is_tls(session: &Session) -> bool {
    session.digest().is_some_and(|digest| digest.ssl_digest.is_some())
}

/// What the client called us.
fn host(session: &Session) -> String {
    let request = session.req_header();
    let field = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    field.or_else(|| request.uri.authority().map(AsRef::as_ref)).unwrap_or_default().to_owned()
}

/// A target without its query: that may hold a key.
pub(super) fn path_only(target: &[u8]) -> &[u8] {
    &target[..memchr(b'?', target).unwrap_or(target.len())]
}

/// What a client wrote, with secret keys that it wrote where they don't belong cut short.
fn without_keys(bytes: &[u8]) -> Text<'_> {
    const VISIBLE: usize = "sk_live_".len() + 6;
    // Any secret key has `sk` before its first underscore.
    if !memchr_iter(b'_', bytes).any(|at| bytes[..at].ends_with(b"sk")) {
        return bytes.into();
    }
    let text = String::from_utf8_lossy(bytes);
    let mut kept = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = [rest.find("sk_live_"), rest.find("sk_test_")].into_iter().flatten().min()
    {
        let key = &rest[at..];
        let is_end = |it: char| !it.is_ascii_alphanumeric() && it != '_';
        let length = key.find(is_end).unwrap_or(key.len());
        kept.push_str(&rest[..at + length.min(VISIBLE)]);
        if length > VISIBLE {
            kept.push_str("***");
        }
        rest = &key[length..];
    }
    kept.push_str(rest);
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_wrong_place_is_cut_short() {
        let key = "sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWX012345";
        for (text, wanted) in [
            ("/v1/app_1/users".to_owned(), "/v1/app_1/users".to_owned()),
            (format!("/v1/{key}/users"), "/v1/sk_live_012345***/users".into()),
            (key.to_owned(), "sk_live_012345***".into()),
            (format!("{key}{key}, {key}"), "sk_live_012345***, sk_live_012345***".into()),
            ("sk_test_ sk_live_é".into(), "sk_test_ sk_live_é".into()),
        ] {
            assert_eq!(*without_keys(text.as_bytes()), *wanted);
        }
    }

    #[test]
    fn a_path_is_logged_without_its_query() {
        assert_eq!(path_only(b"/v1/app_1/users?key=secret"), b"/v1/app_1/users");
        assert_eq!(path_only(b"/v1/app_1/users"), b"/v1/app_1/users");
    }
}
