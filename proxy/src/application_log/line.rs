//! What is in a line of an application's log: a decision in words, and its particulars. No query, no
//! key but by its id or its mask, and of what a client wrote no more than a bounded part.

use authsome_shared::id::ApplicationId;
use authsome_shared::log::{Level, LogLine};
use serde_json::{Map, Value, json};

use crate::decision::{Decision, explain};

/// Longest path and method that are told, in characters.
const MAX_PATH: usize = 512;
const MAX_METHOD: usize = 32;

/// The line of one request.
pub fn of(application: &ApplicationId, level: Level, it: &Decision<'_>) -> LogLine {
    let method = cut(&it.method, MAX_METHOD);
    let own = format!("/v1/{application}");
    let path = it.path.strip_prefix(&own).filter(|rest| rest.starts_with('/')).unwrap_or(&it.path);
    let path = cut(path, MAX_PATH);
    let took_ms = it.latency_us / 1_000;
    let what = match it.status {
        499 => format!("{method} {path}: the client went away after {took_ms} ms"),
        status => format!("{method} {path} answered {status}"),
    };
    let message = match explain::why(it) {
        Some(why) => format!("{what}: {why}"),
        None if level == Level::Warn && it.status != 499 => format!("{what} after {took_ms} ms"),
        None => what,
    };
    let mut fields = Map::new();
    let mut tell = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    tell("requestId", json!(it.request_id));
    tell("traceId", json!(it.trace_id));
    tell("method", json!(method));
    tell("path", json!(path));
    tell("route", json!(it.route));
    tell("status", json!(it.status));
    tell("code", json!(it.code));
    tell("cause", json!(it.cause));
    tell("detail", json!(it.detail));
    tell("latencyMs", json!(took_ms));
    tell("key", json!(it.key));
    tell("presentedKey", json!(it.presented_key));
    tell("client", json!(it.client));
    tell("upstream", json!(it.upstream));
    if it.attempts > 1 {
        tell("attempts", json!(it.attempts));
    }
    tell("retryAfter", json!(it.retry_after));
    LogLine { application: application.clone(), at: it.time, level, message, fields }
}

/// So many requests had no line, because there were too many of their kind in a second.
pub fn over(application: &ApplicationId, count: u64, now: i64) -> LogLine {
    let message = format!("{count} more requests were refused or failed; they have no lines");
    said(application, message, "leftOut", count, now)
}

/// So many lines waited too long for the control plane.
pub fn lost(application: &ApplicationId, count: u64, now: i64) -> LogLine {
    let message = format!("{count} records lost: the control plane was away for too long");
    said(application, message, "lost", count, now)
}

fn said(application: &ApplicationId, message: String, name: &str, count: u64, now: i64) -> LogLine {
    let fields = Map::from_iter([(name.to_owned(), count.into())]);
    LogLine { application: application.clone(), at: now, level: Level::Warn, message, fields }
}

fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: Level, decision: &Decision<'_>) -> LogLine {
        of(&"app_1".parse().expect("an id"), level, decision)
    }

    #[test]
    fn a_line_says_what_happened_and_why() {
        let failed = Decision {
            time: 7,
            request_id: "req_1".into(),
            method: "GET".into(),
            path: "/v1/app_1/users".into(),
            status: 502,
            cause: Some("upstream_connect".into()),
            upstream: Some("http://a".into()),
            latency_us: 12_345,
            attempts: 2,
            ..Decision::default()
        };
        let told = line(Level::Error, &failed);
        assert_eq!(
            told.message,
            "GET /users answered 502: No connection to http://a could be made."
        );
        assert_eq!((told.at, &told.fields["path"]), (7, &json!("/users")));
        assert_eq!((&told.fields["latencyMs"], &told.fields["attempts"]), (&json!(12), &json!(2)));
        assert!(!told.fields.contains_key("key"), "what is not known is left out");

        let slow = Decision { status: 200, cause: None, ..failed.clone() };
        assert_eq!(line(Level::Warn, &slow).message, "GET /users answered 200 after 12 ms");
        let gone = Decision { status: 499, cause: None, ..failed.clone() };
        let message = "GET /users: the client went away after 12 ms";
        assert_eq!(line(Level::Warn, &gone).message, message);
        // Another application's path, or one that only begins alike, is told whole.
        let other = Decision { path: "/v1/app_12/users".into(), ..slow };
        assert_eq!(line(Level::Debug, &other).fields["path"], "/v1/app_12/users");
    }

    #[test]
    fn what_a_client_wrote_is_bounded() {
        let long = Decision {
            method: "M".repeat(9_000).into(),
            path: format!("/v1/app_1/{}", "é".repeat(9_000)).into(),
            ..Decision::default()
        };
        let told = line(Level::Debug, &long);
        assert!(told.message.chars().count() < MAX_PATH + MAX_METHOD + 50);
        assert!(serde_json::to_string(&told).expect("JSON").len() < 4_000);
    }
}
