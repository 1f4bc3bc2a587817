//! A decision in words, for whoever asks `authsome explain`: what happened, and why.

use std::fmt::{self, Write};

use super::{Decision, rfc3339};
use crate::denied::kind::Kind;

/// Why, as one sentence. `None` for a request that nothing of ours refused.
pub fn why(decision: &Decision) -> Option<String> {
    let cause = decision.cause.as_deref()?;
    let Some(kind) = Kind::parse(cause) else {
        return Some(format!("The cause was `{cause}`, which this version does not know."));
    };
    let detail = decision.detail.as_deref().unwrap_or("unknown");
    let key = decision.key.as_deref().or(decision.presented_key.as_deref()).unwrap_or("the key");
    let application = decision.application.as_deref().unwrap_or("the application");
    let upstream = decision.upstream.as_deref().unwrap_or("the upstream");
    let rate = || match &decision.rate_limit {
        Some(limit) => format!(
            "{} requests in {}, bursts of {}",
            limit.requests,
            duration(limit.window_ms.saturating_mul(1_000)),
            limit.burst
        ),
        None => "not known".into(),
    };
    let quota = || match &decision.quota {
        Some(quota) => format!("{} units in {} (UTC)", quota.limit, quota.period),
        None => "not known".into(),
    };
    Some(match kind {
        Kind::Malformed => format!("The request was not well-formed HTTP: {detail}."),
        Kind::UriTooLong => "The request's target was too long.".into(),
        Kind::HeadersTooLarge => "The request's header fields were too large.".into(),
        Kind::NotImplemented => {
            format!("The request asked for what the proxy does not do: {detail}.")
        }
        Kind::UnknownApplication => {
            "The path named no application that this proxy knew: a wrong id, or one that was \
             deleted."
                .into()
        }
        Kind::KeyMissing => {
            "The request carried no API key where this application takes one.".into()
        }
        Kind::KeyAmbiguous => "The request carried more than one API key.".into(),
        Kind::KeyMalformed => {
            "What the request carried is not an API key: its form or checksum is wrong.".into()
        }
        Kind::KeyUnknown => format!(
            "The key {key} is well-formed but was not among the keys of this revision: it was \
             revoked, or never issued here."
        ),
        Kind::KeyOfAnother => format!("The key {key} belongs to another application."),
        Kind::KeyExpired => format!("The key {key} had expired."),
        Kind::Provisioning => format!("{application} was still being provisioned."),
        Kind::ProvisioningFailed => format!("The provisioning of {application} had failed."),
        Kind::Suspended => format!("{application} or its workspace was suspended."),
        Kind::Maintenance => format!("{application} was under maintenance."),
        Kind::PastDue => "The workspace had unpaid invoices.".into(),
        Kind::Address => {
            format!("The key {key} may not be used from {}.", decision.client)
        }
        Kind::PublicKey => {
            format!("The key {key} is public, and the route is not open to public keys.")
        }
        Kind::Scope => format!("The key {key} lacks the scope `{detail}`."),
        Kind::RateLimitKey => format!("The key's own rate limit was used up: {}.", rate()),
        Kind::RateLimitApplication => {
            format!("The application's rate limit for each key was used up: {}.", rate())
        }
        Kind::RateLimitPlan => {
            format!("The plan's rate limit for each key was used up: {}.", rate())
        }
        Kind::QuotaKey => format!("The key's monthly quota was used up: {}.", quota()),
        Kind::QuotaApplication => {
            format!("The application's monthly quota was used up: {}.", quota())
        }
        Kind::QuotaWorkspace => {
            format!("The workspace's monthly quota was used up: {}.", quota())
        }
        Kind::BodyTooLarge => format!("The request's body was larger than {detail} bytes."),
        Kind::RequestTimeout => "The client sent its request too slowly.".into(),
        Kind::LedgerFull => {
            "The usage journal was full, so that the request could not have been billed. Is the \
             control plane reachable, and is there space on the disk?"
                .into()
        }
        Kind::NoUpstream => format!("{application} has no upstream, and there is no default one."),
        Kind::BreakerOpen => {
            format!(
                "The circuit breaker of {application} was open: its upstream had failed too often."
            )
        }
        Kind::Unavailable => format!("{application} was not available: {detail}."),
        Kind::EgressDenied => format!(
            "{upstream} led to an address that is not public, and `egress.allow` does not name it."
        ),
        Kind::UpstreamName => format!("The name in {upstream} could not be resolved."),
        Kind::UpstreamConnect => format!("No connection to {upstream} could be made."),
        Kind::UpstreamConnectTimeout => format!("Connecting to {upstream} took too long."),
        Kind::UpstreamTls => format!("No TLS connection to {upstream} could be made."),
        Kind::UpstreamInvalid => format!("What {upstream} answered was not valid HTTP."),
        Kind::UpstreamClosed => {
            format!("{upstream} closed the connection before it had answered in full.")
        }
        Kind::UpstreamTimeout => format!("{upstream} did not answer in time."),
        Kind::Internal => "A fault in the proxy; its log has more under the request id.".into(),
    })
}

/// Several lines for people, without an end of line.
pub fn text(decision: &Decision) -> String {
    let mut out = String::new();
    let _ = write_text(&mut out, decision);
    out.truncate(out.trim_end().len());
    out
}

fn write_text(out: &mut String, it: &Decision) -> fmt::Result {
    let verdict = match (&it.code, it.status) {
        (Some(code), status) if status < 400 => {
            format!("broken off, {code}, after the upstream had answered {status}")
        }
        (Some(code), status) if status < 500 => format!("refused, {status} {code}"),
        (Some(code), status) => format!("failed, {status} {code}"),
        (None, 499) => "not answered: the client left first".into(),
        (None, status) => format!("admitted; the upstream answered {status}"),
    };
    writeln!(out, "{}  {verdict}", it.request_id)?;
    if let Some(why) = why(it) {
        writeln!(out, "  why          {why}")?;
    }
    if let Some(seconds) = it.retry_after {
        writeln!(out, "  retry after  {seconds} s")?;
    }
    let protocol = it.protocol.as_deref().unwrap_or_default();
    writeln!(out, "  request      {} {} {protocol}", it.method, it.path)?;
    writeln!(out, "  from         {}", it.client)?;
    if let Some(agent) = &it.user_agent {
        writeln!(out, "  user agent   {agent}")?;
    }
    writeln!(out, "  ended        {}", rfc3339(it.time))?;
    match (&it.key, &it.presented_key) {
        (Some(key), Some(mask)) => writeln!(out, "  key          {key} ({mask}), refused")?,
        (None, Some(mask)) => writeln!(out, "  key          {mask}, refused")?,
        (Some(key), None) => writeln!(out, "  key          {key}")?,
        (None, None) => writeln!(out, "  key          none that was known")?,
    }
    if let Some(application) = &it.application {
        write!(out, "  application  {application}")?;
        match &it.workspace {
            Some(workspace) => writeln!(out, " of {workspace}")?,
            None => writeln!(out)?,
        }
    }
    match it.revision {
        Some(revision) => writeln!(out, "  revision     {revision}")?,
        None => writeln!(out, "  revision     none: refused before any configuration was asked")?,
    }
    if let Some(route) = &it.route {
        writeln!(out, "  route        {route}, {} unit(s)", it.units.unwrap_or(1))?;
    }
    if let Some(limit) = &it.rate_limit {
        writeln!(
            out,
            "  rate limit   {}'s, {}: {} in {}, burst {}; {} left",
            limit.level,
            limit.mode,
            limit.requests,
            duration(limit.window_ms.saturating_mul(1_000)),
            limit.burst,
            limit.remaining
        )?;
    }
    if let Some(quota) = &it.quota {
        writeln!(out, "  quota        {}'s: {} in {}", quota.level, quota.limit, quota.period)?;
    }
    if let Some(upstream) = &it.upstream {
        writeln!(out, "  upstream     {upstream}, {} attempt(s)", it.attempts)?;
    } else {
        writeln!(out, "  upstream     not asked")?;
    }
    write!(out, "  took         {}", duration(it.latency_us))?;
    if let Some(admission) = it.admission_us {
        write!(out, "; to the decision {}", duration(admission))?;
    }
    if let Some(upstream) = it.upstream_us {
        write!(out, "; to the upstream's first byte {}", duration(upstream))?;
    }
    writeln!(out)?;
    writeln!(out, "  bytes        {} in, {} out", it.bytes_in, it.bytes_out)?;
    if let Some(trace) = &it.trace_id {
        writeln!(out, "  trace        {trace}")?;
    }
    Ok(())
}

/// Of microseconds, in the unit that suits.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => trimmed(micros as f64 / 1e3, "ms"),
        _ => trimmed(micros as f64 / 1e6, "s"),
    }
}

fn trimmed(value: f64, unit: &str) -> String {
    let digits = format!("{value:.3}");
    format!("{} {unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::RateLimit;
    use crate::metrics::label::Label;

    #[test]
    fn every_cause_has_its_sentence() {
        let mut sentences: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| {
                let decision =
                    Decision { cause: Some(kind.as_str().into()), ..Decision::default() };
                why(&decision).expect("it has a cause")
            })
            .collect();
        assert!(sentences.iter().all(|it| !it.contains("does not know")));
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), Kind::ALL.len());
    }

    #[test]
    fn a_refusal_reads_as_an_answer() {
        let decision = Decision {
            time: 1_700_000_000_000_000,
            request_id: "req_1".into(),
            method: "GET".into(),
            path: "/v1/app_1/users".into(),
            client: "192.0.2.1".into(),
            application: Some("app_1".into()),
            workspace: Some("ws_1".into()),
            key: Some("key_1".into()),
            status: 429,
            code: Some("rate_limit_exceeded".into()),
            cause: Some("rate_limit_application".into()),
            revision: Some(7),
            retry_after: Some(6),
            rate_limit: Some(RateLimit {
                level: "application".into(),
                mode: "strict".into(),
                requests: 10,
                window_ms: 60_000,
                burst: 10,
                remaining: 0,
            }),
            latency_us: 45,
            ..Decision::default()
        };
        let text = text(&decision);
        for part in [
            "req_1  refused, 429 rate_limit_exceeded",
            "The application's rate limit for each key was used up: 10 requests in 60 s, bursts of 10.",
            "retry after  6 s",
            "key          key_1\n",
            "application  app_1 of ws_1",
            "revision     7",
            "upstream     not asked",
            "took         45 µs",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn durations_have_the_unit_that_suits() {
        for (micros, wanted) in
            [(7, "7 µs"), (1_500, "1.5 ms"), (60_000_000, "60 s"), (1_234_567, "1.235 s")]
        {
            assert_eq!(duration(micros), wanted);
        }
    }
}
