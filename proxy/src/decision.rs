//! What was decided about one request, and by what: the one form in which the access log writes it,
//! the proxy remembers it and `authsome explain` reads it. As JSON (a log line) it leaves out what
//! is not known; as bytes (`bytes`) it is compact enough to be kept by the ten thousands. It holds
//! no secret: no query, no key but its id or its mask.

mod bytes;
pub mod explain;
mod text;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

pub use text::Text;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision<'a> {
    /// Microseconds since the epoch, at the response's end; RFC 3339 as JSON.
    #[serde(with = "time")]
    pub time: i64,
    pub request_id: Text<'a>,
    /// 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Text<'a>>,
    /// The key's id, also of a known key that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Text<'a>>,
    /// Of a well-formed key that was refused, the form in which keys are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presented_key: Option<Text<'a>>,
    pub method: Text<'a>,
    /// Without its query.
    pub path: Text<'a>,
    /// `HTTP/1.1`, `HTTP/2.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<'a>>,
    /// The client's address.
    pub client: Text<'a>,
    pub status: u16,
    /// Of our own answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Text<'a>>,
    /// Why it was refused or failed: a value of the label `cause` in `docs/metrics.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Text<'a>>,
    /// The cause's particulars: what was malformed, which scope was lacking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Text<'a>>,
    pub latency_us: u64,
    /// From the head to the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admission_us: Option<u64>,
    /// From the first attempt to the head of the upstream's response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_us: Option<u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Of the configuration that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Text<'a>>,
    /// Request units that were taken from quotas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit<'a>>,
    /// The quota that refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota<'a>>,
    /// Seconds that the client was told to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The URL of the last attempt; `echo` for the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Text<'a>>,
    /// Attempts that were made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Why this line is in the log, and which part of its kind is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample<'a>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit<'a> {
    /// Whose setting it is: `key`, `application` or `plan`.
    pub level: Text<'a>,
    /// `fast` or `strict`.
    pub mode: Text<'a>,
    pub requests: u32,
    pub window_ms: u64,
    pub burst: u32,
    pub remaining: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota<'a> {
    /// Whose it is: `key`, `application` or `workspace`.
    pub level: Text<'a>,
    /// Units a month.
    pub limit: u64,
    /// `YYYY-MM`, in UTC.
    pub period: Text<'a>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample<'a> {
    /// `success`, `refused`, `failed` or `slow`.
    pub rule: Text<'a>,
    /// The part of such requests that is logged: one line stands for `1 / ratio` requests.
    pub ratio: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Microseconds since the epoch as RFC 3339, in UTC.
pub fn rfc3339(micros: i64) -> String {
    let at = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

mod time {
    use chrono::DateTime;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(micros: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::rfc3339(*micros))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let at = DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?;
        Ok(at.timestamp_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leaves_out_what_is_not_known_and_reads_back() {
        let refused = Decision {
            time: 1_700_000_000_000_001,
            request_id: "req_1".into(),
            method: "-".into(),
            path: "-".into(),
            client: "192.0.2.1".into(),
            status: 400,
            code: Some("invalid_request".into()),
            cause: Some("malformed".into()),
            ..Decision::default()
        };
        let line = serde_json::to_string(&refused).expect("JSON");
        assert_eq!(
            line,
            r#"{"time":"2023-11-14T22:13:20.000001Z","requestId":"req_1","method":"-","path":"-","client":"192.0.2.1","status":400,"code":"invalid_request","cause":"malformed","latencyUs":0,"bytesIn":0,"bytesOut":0}"#
        );
        assert_eq!(serde_json::from_str::<Decision>(&line).expect("a decision"), refused);
    }
}
