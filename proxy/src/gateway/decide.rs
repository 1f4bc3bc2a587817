//! From a request's head to the choice of its upstream: the pure decision, then what has state, in
//! the order of design section 4. Nothing is counted against a quota that can still be refused.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use authsome_shared::snapshot::{LimitMode, RateLimit};
use chrono::DateTime;
use http::header::TRANSFER_ENCODING;
use http::{HeaderValue, Version};
use pingora::proxy::Session;

use super::Gateway;
use super::names::Marks;
use super::report::seconds_since;
use crate::admit::{self, Admitted, Head};
use crate::ctx::Ctx;
use crate::denied::Cause;
use crate::limit::Level;
use crate::limit::quota::{Month, Quota};
use crate::limit::rate::State;
use crate::listener::connection::Connection;
use crate::snapshot::entity::{Application, Key};
use crate::upstream;

impl Gateway {
    /// Everything from the request's head to the choice of an upstream. It waits for nothing but
    /// the store of strict limits, where one holds, and for that not long.
    pub(super) async fn decide(&self, session: &Session, ctx: &mut Ctx) -> Result<(), Cause> {
        let now = nanos(ctx.came);
        let admitted = self.admit(session, ctx)?;
        let (level, limit) = admitted.rate_limit();
        let began = Instant::now();
        let checked = self.take_rate(&admitted.key, limit, now).await;
        self.metrics.latency.rate_limit.observe(seconds_since(began));
        self.metrics.rate_limits.count(level, limit.mode.into(), checked.is_ok());
        let (Ok(state) | Err(state)) = checked;
        ctx.rate = Some((state, now));
        ctx.level = Some(level);
        if checked.is_err() {
            return Err(Cause::RateLimit { level, state });
        }

        // Nothing that can still refuse the request comes after the quota is taken.
        let limit = admitted.application.max_body_bytes;
        if admitted.length.is_some_and(|length| length > limit) {
            return Err(Cause::BodyTooLarge { limit });
        }
        let snapshot = ctx.snapshot.as_deref().ok_or(Cause::Internal)?;
        let mut choice = upstream::choose(snapshot, &admitted, &self.pools, self.echo)?;
        if !self.ledger.has_room() {
            return Err(Cause::Unavailable("ledger_full"));
        }
        self.take_quota(&admitted, ctx.came).await?;
        choice.begin();
        ctx.choice = Some(choice);
        ctx.admitted = Some(admitted);
        Ok(())
    }

    /// The decision that needs no state.
    fn admit(&self, session: &Session, ctx: &mut Ctx) -> Result<Admitted, Cause> {
        let snapshot = self.snapshot.load_full();
        ctx.peer = session.client_addr().and_then(|address| address.as_inet()).copied();
        ctx.client = Connection::under(session)
            .map(|it| it.client().clone())
            .or_else(|| HeaderValue::try_from(ctx.peer?.ip().to_string()).ok());
        let headers = &session.req_header().headers;
        ctx.marks = Marks::of(headers);
        if ctx.marks.trace || self.reports.tracer.is_on() {
            ctx.trace = self.reports.tracer.join(headers, &ctx.id);
        }
        let head = head(session, ctx);
        let decided = admit::admit(&snapshot, &head, ctx.came);
        ctx.snapshot = Some(snapshot);
        match decided {
            Ok(admitted) => {
                ctx.application = Some(admitted.application.clone());
                ctx.key = Some(admitted.key.clone());
                Ok(admitted)
            }
            Err(denied) => {
                if let (Some(key), Some(application)) = (&denied.key, &denied.application) {
                    self.peek_rate(ctx, key, application, nanos(ctx.came));
                }
                ctx.application = denied.application;
                ctx.key = denied.key;
                ctx.presented = denied.presented;
                Err(denied.cause)
            }
        }
    }

    async fn take_rate(&self, key: &Key, limit: RateLimit, now: u64) -> Result<State, State> {
        match limit.mode {
            LimitMode::Fast => key.bucket.check(limit, self.limits.share.proxies(), now),
            LimitMode::Strict => {
                let line = key.first().unwrap_or(&key.id);
                self.limits.strict.rate(line.as_str(), &key.bucket, limit, now).await
            }
        }
    }

    /// Where the rate limit of a refused request's key stands, for the headers.
    fn peek_rate(&self, ctx: &mut Ctx, key: &Key, application: &Application, now: u64) {
        let snapshot = self.snapshot.load();
        if let Some(workspace) = snapshot.workspace(&application.workspace) {
            let (level, limit) = admit::rate_limit(key, application, workspace);
            ctx.level = Some(level);
            ctx.rate = Some((key.bucket.peek(limit, self.limits.strict.buckets(limit), now), now));
        }
    }

    /// Takes the request's units from every quota that holds for it, or from none. `now` is in
    /// microseconds since the epoch.
    async fn take_quota(&self, admitted: &Admitted, now: i64) -> Result<(), Cause> {
        let units = u64::from(admitted.cost);
        let quotas: [(Level, Option<&Quota>); 3] = [
            (Level::Workspace, admitted.workspace.quota.as_deref()),
            (Level::Application, admitted.application.quota.as_deref()),
            (Level::Key, admitted.key.quota()),
        ];
        if quotas.iter().all(|(_, quota)| quota.is_none()) {
            return Ok(());
        }
        let now = DateTime::from_timestamp_micros(now).ok_or(Cause::Internal)?;
        let month = Month::of(now);
        for (i, (level, quota)) in quotas.iter().enumerate() {
            let Some(quota) = quota else { continue };
            let taken = if quota.hard {
                self.limits.strict.quota(quota, month, units).await
            } else {
                quota.counter.take(month, units, quota.limit)
            };
            if taken {
                continue;
            }
            for taken in quotas[..i].iter().filter_map(|(_, quota)| *quota) {
                taken.counter.give_back(month, units);
                if taken.hard {
                    self.limits.strict.give_back(taken, month, units);
                }
            }
            return Err(Cause::Quota {
                level: *level,
                quota: quota.limit,
                period: month.period(),
                retry_after: month.ends_in(now),
            });
        }
        Ok(())
    }
}

/// Of microseconds since the epoch.
fn nanos(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(1_000)
}

/// The request's head as `admit` sees it.
fn head<'a>(session: &'a Session, ctx: &Ctx) -> Head<'a> {
    let request = session.req_header();
    let headers = &request.headers;
    let (bytes, two_framings) = match session.as_downstream().as_http1() {
        Some(http1) => {
            // The engine drops Content-Length when both came; its bytes still tell.
            let hidden = ctx.marks.hop_by_hop
                && headers.contains_key(TRANSFER_ENCODING)
                && names_content_length(&http1.get_headers_raw_bytes());
            (http1.get_headers_raw_bytes().len(), hidden)
        }
        None => {
            let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
            (request.raw_path().len() + fields.sum::<usize>(), false)
        }
    };
    Head {
        method: request.method.as_str(),
        target: request.raw_path(),
        authority: match request.version {
            Version::HTTP_2 => request.uri.authority().map(http::uri::Authority::as_str),
            _ => None,
        },
        headers,
        two_framings,
        bytes,
        peer: ctx.peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip()),
    }
}

fn names_content_length(head: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    head.split(|byte| *byte == b'\n')
        .any(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
}
