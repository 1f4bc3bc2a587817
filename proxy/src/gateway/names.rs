//! Names of header fields, made once: those that we set, and what the names of a request's fields
//! say about it, found in one pass over them. It changes nothing.

use http::{HeaderMap, HeaderName};

pub static APP_ID: HeaderName = HeaderName::from_static("x-authsome-app-id");
pub static WORKSPACE_ID: HeaderName = HeaderName::from_static("x-authsome-workspace-id");
pub static ENVIRONMENT: HeaderName = HeaderName::from_static("x-authsome-environment");
pub static REGION: HeaderName = HeaderName::from_static("x-authsome-region");
pub static KEY_ID: HeaderName = HeaderName::from_static("x-authsome-key-id");
pub static KEY_TYPE: HeaderName = HeaderName::from_static("x-authsome-key-type");
pub static SCOPES: HeaderName = HeaderName::from_static("x-authsome-scopes");
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-authsome-request-id");

pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

pub static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

pub static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
pub static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub static RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What is among a request's fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Something that only we may set.
    pub untrusted: bool,
    /// A trace's context.
    pub trace: bool,
    /// Something for this connection only.
    pub hop_by_hop: bool,
}

impl Marks {
    pub fn of(headers: &HeaderMap) -> Self {
        let mut marks = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "traceparent" | "tracestate" => marks.trace = true,
                name if is_hop_by_hop(name) => marks.hop_by_hop = true,
                name => marks.untrusted |= is_untrusted(name),
            }
        }
        marks
    }
}

/// Is it for one connection only (RFC 9110, section 7.6.1)?
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// May only we set it? Some servers read `_` as `-`, so that spelling counts as well.
pub fn is_untrusted(name: &str) -> bool {
    is_ours(name)
        || name == "forwarded"
        || (name.contains('_') && {
            let name = name.replace('_', "-");
            is_ours(&name) || name.starts_with("x-forwarded-")
        })
}

pub fn is_ours(name: &str) -> bool {
    name.starts_with("x-authsome-")
}

/// Names of a response that only we may set.
pub fn is_replaced(name: &str) -> bool {
    is_ours(name) || name.starts_with("x-ratelimit-") || name.starts_with("ratelimit")
}

/// Takes out the fields whose names are such.
pub fn remove(headers: &mut HeaderMap, such: impl Fn(&str) -> bool) {
    for name in self::such(headers, such) {
        headers.remove(name);
    }
}

/// The names that are such.
pub fn such(headers: &HeaderMap, such: impl Fn(&str) -> bool) -> Vec<HeaderName> {
    headers.keys().filter(|name| such(name.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(names: &[&'static str]) -> HeaderMap {
        let fields =
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")));
        fields.collect()
    }

    #[test]
    fn names_that_only_we_set_are_found_in_every_spelling() {
        let mut headers = headers(&[
            "x-authsome-key-id",
            "x_authsome_scopes",
            "x-authsome_app-id",
            "x_forwarded_for",
            "forwarded",
            "x-author",
            "my_header",
        ]);
        assert!(Marks::of(&headers).untrusted);
        remove(&mut headers, is_untrusted);
        let mut kept: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["my_header", "x-author"]);
        assert_eq!(Marks::of(&headers), Marks::default());
    }

    #[test]
    fn what_is_for_one_connection_is_seen() {
        for name in ["connection", "te", "upgrade", "keep-alive", "http2-settings"] {
            assert!(Marks::of(&headers(&["host", name])).hop_by_hop, "{name}");
        }
        assert!(Marks::of(&headers(&["host", "tracestate"])).trace);
    }
}
