//! Spans as OTLP's JSON (the protobuf mapping of OpenTelemetry's protocol 1.x: ids in hexadecimal,
//! 64-bit numbers as texts), with the attributes of its semantic conventions for HTTP. The
//! exporter's task does this, not the request's.

use serde_json::{Value, json};
use url::Url;

use super::Trace;
use crate::decision::Decision;

const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;

/// Of the methods in RFC 9110 and 5789; another is told apart, to keep names few.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// A finished request that is to be exported.
#[derive(Debug)]
pub struct Recorded {
    pub trace: Trace,
    /// The bytes of its decision.
    pub decision: Vec<u8>,
    pub tls: bool,
    /// What the client called us.
    pub host: String,
    pub peer_port: u16,
    /// The last attempt at an upstream.
    pub attempt: Option<Attempt>,
}

#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Microseconds after the request began.
    pub began_us: u64,
    pub took_us: u64,
    /// The upstream answered with this.
    pub status: Option<u16>,
}

impl Recorded {
    /// How many spans it makes.
    pub fn spans(&self) -> u64 {
        1 + u64::from(self.attempt.is_some())
    }

    fn write(&self, spans: &mut Vec<Value>) {
        let (Some(decision), Some(server)) = (Decision::read(&self.decision), self.trace.server)
        else {
            return;
        };
        let end = u64::try_from(decision.time).unwrap_or(0);
        let start = end.saturating_sub(decision.latency_us);
        spans.push(self.server(&decision, server, start, end));
        if let (Some(attempt), Some(client)) = (self.attempt, self.trace.told) {
            spans.push(self.client(&decision, attempt, client, server, start));
        }
    }

    fn server(&self, it: &Decision, id: u64, start: u64, end: u64) -> Value {
        let (method, original) = method(&it.method);
        let mut attributes = Attributes::default();
        attributes.text("http.request.method", method);
        attributes.maybe("http.request.method_original", original);
        let route = it.route.as_deref().map(|route| {
            let pattern = route.rsplit(' ').next().unwrap_or(route);
            format!("/v1/{{application}}/{}", pattern.trim_start_matches('/'))
        });
        attributes.maybe("http.route", route.as_deref());
        attributes.text("url.path", &it.path);
        attributes.text("url.scheme", if self.tls { "https" } else { "http" });
        attributes.address("server", &self.host);
        attributes.text("client.address", &it.client);
        attributes.text("network.peer.address", &it.client);
        attributes.number("network.peer.port", self.peer_port.into());
        let version = it.protocol.as_deref().and_then(|protocol| protocol.strip_prefix("HTTP/"));
        let version = version.map(|version| version.strip_suffix(".0").unwrap_or(version));
        attributes.maybe("network.protocol.version", version);
        attributes.maybe("user_agent.original", it.user_agent.as_deref());
        attributes.number("http.request.body.size", it.bytes_in);
        attributes.number("http.response.body.size", it.bytes_out);
        attributes.number("http.response.status_code", it.status.into());
        attributes.text("authsome.request_id", &it.request_id);
        attributes.maybe("authsome.application", it.application.as_deref());
        attributes.maybe("authsome.key", it.key.as_deref());
        attributes.maybe("authsome.cause", it.cause.as_deref());
        if let Some(revision) = it.revision {
            attributes.number("authsome.revision", revision);
        }
        // The conventions: a 4xx is the client's error, not the server's.
        let failed = it.status >= 500 || (it.cause.is_some() && it.status < 400);
        if failed {
            let status = it.status.to_string();
            attributes.text("error.type", it.cause.as_deref().unwrap_or(&status));
        }
        let name = match (&route, original) {
            (Some(route), None) => format!("{method} {route}"),
            (None, None) => method.to_owned(),
            (Some(route), Some(_)) => format!("HTTP {route}"),
            (None, Some(_)) => "HTTP".to_owned(),
        };
        let parent = self.trace.parent;
        self.span(&name, SERVER, (id, parent), (start, end), &attributes, failed)
    }

    fn client(&self, it: &Decision, at: Attempt, id: u64, parent: u64, start: u64) -> Value {
        let (method, original) = method(&it.method);
        let mut attributes = Attributes::default();
        attributes.text("http.request.method", method);
        attributes.maybe("http.request.method_original", original);
        if let Some(url) = it.upstream.as_deref() {
            attributes.text("url.full", url);
            if let Ok(url) = Url::parse(url) {
                attributes.maybe("server.address", url.host_str());
                if let Some(port) = url.port_or_known_default() {
                    attributes.number("server.port", port.into());
                }
            }
        }
        if let Some(status) = at.status {
            attributes.number("http.response.status_code", status.into());
        }
        if it.attempts > 1 {
            attributes.number("http.request.resend_count", u64::from(it.attempts) - 1);
        }
        // For a client, a 4xx is an error.
        let failed = at.status.is_none_or(|status| status >= 400);
        if failed {
            let status = at.status.map(|status| status.to_string());
            let cause = it.cause.as_deref().or(status.as_deref());
            attributes.text("error.type", cause.unwrap_or("_OTHER"));
        }
        let start = start + at.began_us;
        let times = (start, start + at.took_us);
        let name = if original.is_some() { "HTTP" } else { method };
        self.span(name, CLIENT, (id, Some(parent)), times, &attributes, failed)
    }

    fn span(
        &self,
        name: &str,
        kind: u8,
        (id, parent): (u64, Option<u64>),
        (start, end): (u64, u64),
        attributes: &Attributes,
        failed: bool,
    ) -> Value {
        let mut span = json!({
            "traceId": self.trace.text(),
            "spanId": format!("{id:016x}"),
            "name": name,
            "kind": kind,
            "startTimeUnixNano": format!("{start}000"),
            "endTimeUnixNano": format!("{end}000"),
            "attributes": attributes.0,
            "flags": self.trace.flags,
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        if failed {
            span["status"] = json!({ "code": ERROR });
        }
        span
    }
}

/// The method as the conventions have it, and the original where that is another.
fn method(method: &str) -> (&'static str, Option<&str>) {
    match METHODS.into_iter().find(|known| *known == method) {
        Some(known) => (known, None),
        None => ("_OTHER", Some(method)),
    }
}

/// The body of an export request.
pub fn export(batch: &[Recorded], service: &str, node: &str) -> Vec<u8> {
    let mut resource = Attributes::default();
    resource.text("service.name", service);
    resource.text("service.version", crate::VERSION);
    resource.text("service.instance.id", node);
    let mut spans = Vec::new();
    for recorded in batch {
        recorded.write(&mut spans);
    }
    let scope = json!({ "name": "authsome-proxy", "version": crate::VERSION });
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": resource.0 },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] });
    body.to_string().into_bytes()
}

#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn text(&mut self, key: &str, value: &str) {
        self.0.push(json!({ "key": key, "value": { "stringValue": value } }));
    }

    fn maybe(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.0.push(json!({ "key": key, "value": { "intValue": value.to_string() } }));
    }

    /// `{prefix}.address` and `{prefix}.port` of `host[:port]`.
    fn address(&mut self, prefix: &str, authority: &str) {
        let Ok(authority) = authority.parse::<http::uri::Authority>() else { return };
        self.text(&format!("{prefix}.address"), authority.host());
        if let Some(port) = authority.port_u16() {
            self.number(&format!("{prefix}.port"), port.into());
        }
    }
}
