//! Tables over every row of design section 4.

use authsome_shared::api_key::{KeyDigest, KeyMode, KeyType, generate};
use authsome_shared::code::Code;
use authsome_shared::snapshot::encoding::{Header, encode};
use authsome_shared::snapshot::{self as wire, Change, KeySource};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::denied::KeyFault;
use crate::limit::quota::Quotas;
use crate::testing;

/// 2026-11-22T12:00:00Z, in microseconds.
const NOW: i64 = 1_795_348_800_000_000;

/// One application, one workspace, keys of both types, and a request that passes.
struct Case {
    application: wire::Application,
    workspace: wire::Workspace,
    key: wire::Key,
    secret: String,
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    authority: Option<&'static str>,
    two_framings: bool,
    peer: &'static str,
}

impl Case {
    fn new() -> Self {
        let secret = generate(KeyType::Secret, KeyMode::Live).into_inner();
        let mut key = testing::key("key_1", "app_1");
        key.digest = KeyDigest::of(&secret);
        Self {
            application: testing::application("app_1", "ws_1"),
            workspace: testing::workspace("ws_1"),
            key,
            method: "GET",
            target: "/v1/app_1/users/7?expand=1".into(),
            headers: vec![
                ("host", "api.example.com".into()),
                ("authorization", format!("Bearer {secret}")),
            ],
            secret,
            authority: None,
            two_framings: false,
            peer: "203.0.113.9",
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::new();
        change(&mut case);
        case
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.headers.retain(|(existing, _)| *existing != name);
        self.add(name, value);
    }

    fn add(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.to_owned()));
    }

    fn admit(&self) -> Result<Admitted, Denied> {
        let changes = vec![
            Change::Workspace(self.workspace.clone()),
            Change::Application(Box::new(self.application.clone())),
            Change::Application(Box::new(testing::application("app_2", "ws_1"))),
            Change::Key(Box::new(self.key.clone())),
        ];
        let header = Header {
            platform: "plt_1".parse().expect("an id"),
            revision: 1,
            changes: changes.len(),
        };
        let bytes = encode(&header, &changes);
        let snapshot = Snapshot::empty().replaced_by(&bytes, &Quotas::default()).expect("whole");
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        let head = Head {
            method: self.method,
            target: self.target.as_bytes(),
            authority: self.authority,
            headers: &headers,
            two_framings: self.two_framings,
            bytes: headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum(),
            peer: self.peer.parse().expect("an address"),
        };
        admit(&snapshot, &head, NOW)
    }

    fn code(&self) -> Code {
        self.admit().map(|_| ()).expect_err("refused").cause.code()
    }
}

#[test]
fn a_good_request_is_admitted_with_what_decided_it() {
    let admitted = Case::new().admit().expect("admitted");
    assert_eq!(&*admitted.application.id, "app_1");
    assert_eq!(&*admitted.workspace.id, "ws_1");
    assert_eq!(admitted.key.id.as_str(), "key_1");
    assert_eq!((&*admitted.route, admitted.cost), ("GET /users/*", 1));
    assert_eq!(admitted.carrier, key::Carrier::Bearer);
}

#[test]
fn framing_is_strict() {
    type Change = fn(&mut Case);
    let refused: &[(&str, Code, Change)] = &[
        ("no host", Code::InvalidRequest, |c| c.headers.retain(|(n, _)| *n != "host")),
        ("empty host", Code::InvalidRequest, |c| c.set("host", "")),
        ("two hosts", Code::InvalidRequest, |c| c.add("host", "api.example.com")),
        ("userinfo in host", Code::InvalidRequest, |c| c.set("host", "a@b")),
        ("path in host", Code::InvalidRequest, |c| c.set("host", "a/b")),
        ("space in host", Code::InvalidRequest, |c| c.set("host", "a b")),
        ("bad port", Code::InvalidRequest, |c| c.set("host", "a:b:c")),
        ("named port", Code::InvalidRequest, |c| c.set("host", "a:http")),
        ("authority differs", Code::InvalidRequest, |c| c.authority = Some("other")),
        ("both framings", Code::InvalidRequest, |c| {
            c.add("content-length", "1");
            c.add("transfer-encoding", "chunked");
        }),
        ("both framings, one hidden", Code::InvalidRequest, |c| {
            c.add("transfer-encoding", "chunked");
            c.two_framings = true;
        }),
        ("two lengths", Code::InvalidRequest, |c| {
            c.add("content-length", "5");
            c.add("content-length", "5");
        }),
        ("a list of lengths", Code::InvalidRequest, |c| c.add("content-length", "5, 5")),
        ("signed length", Code::InvalidRequest, |c| c.add("content-length", "+5")),
        ("no length", Code::InvalidRequest, |c| c.add("content-length", "")),
        ("endless length", Code::InvalidRequest, |c| {
            c.add("content-length", "99999999999999999999");
        }),
        ("gzip, chunked", Code::NotImplemented, |c| c.add("transfer-encoding", "gzip, chunked")),
        ("identity", Code::NotImplemented, |c| c.add("transfer-encoding", "identity")),
        ("Chunked", Code::NotImplemented, |c| c.add("transfer-encoding", "Chunked")),
        ("chunked twice", Code::NotImplemented, |c| {
            c.add("transfer-encoding", "chunked");
            c.add("transfer-encoding", "chunked");
        }),
        ("lower-case method", Code::InvalidRequest, |c| c.method = "get"),
        ("odd method", Code::InvalidRequest, |c| c.method = "GE!T"),
        ("long method", Code::InvalidRequest, |c| c.method = "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH"),
        ("CONNECT", Code::NotImplemented, |c| c.method = "CONNECT"),
        ("TRACE", Code::NotImplemented, |c| c.method = "TRACE"),
        ("absolute form", Code::InvalidRequest, |c| c.target = "http://a/v1/app_1/users".into()),
        ("asterisk", Code::InvalidRequest, |c| c.target = "*".into()),
        ("not ASCII", Code::InvalidRequest, |c| c.target = "/v1/app_1/ü".into()),
        ("space", Code::InvalidRequest, |c| c.target = "/v1/app_1/a b".into()),
        ("fragment", Code::InvalidRequest, |c| c.target = "/v1/app_1/a#b".into()),
        ("bare percent", Code::InvalidRequest, |c| c.target = "/v1/app_1/100%".into()),
        ("half an escape", Code::InvalidRequest, |c| c.target = "/v1/app_1/%2".into()),
        ("no escape", Code::InvalidRequest, |c| c.target = "/v1/app_1/%zz".into()),
        ("bad escape in query", Code::InvalidRequest, |c| c.target = "/v1/app_1/a?b=%g0".into()),
        ("dots", Code::InvalidRequest, |c| c.target = "/v1/app_1/../app_2/users".into()),
        ("dot", Code::InvalidRequest, |c| c.target = "/v1/app_1/./users".into()),
        ("last dots", Code::InvalidRequest, |c| c.target = "/v1/app_1/users/..".into()),
        ("encoded dots", Code::InvalidRequest, |c| c.target = "/v1/app_1/%2e%2E/users".into()),
        ("half encoded", Code::InvalidRequest, |c| c.target = "/v1/app_1/.%2e/users".into()),
        ("dots with parameter", Code::InvalidRequest, |c| c.target = "/v1/app_1/..;a=b/u".into()),
        ("encoded slash", Code::InvalidRequest, |c| c.target = "/v1/app_1/a%2fb".into()),
        ("encoded SLASH", Code::InvalidRequest, |c| c.target = "/v1/app_1/a%2Fb".into()),
        ("encoded backslash", Code::InvalidRequest, |c| c.target = "/v1/app_1/a%5cb".into()),
        ("backslash", Code::InvalidRequest, |c| c.target = "/v1/app_1/a\\b".into()),
        ("encoded NUL", Code::InvalidRequest, |c| c.target = "/v1/app_1/a%00".into()),
        ("long target", Code::UriTooLong, |c| c.target = format!("/v1/app_1/{}", "a".repeat(8192))),
        ("large head", Code::HeadersTooLarge, |c| c.add("x-large", &"a".repeat(16_384))),
        ("many fields", Code::HeadersTooLarge, |c| {
            for _ in 0..100 {
                c.add("x-many", "a");
            }
        }),
    ];
    for (name, code, change) in refused {
        assert_eq!(Case::with(change).code(), *code, "{name}");
    }
    let admitted: &[(&str, Change)] = &[
        ("a port", |c| c.set("host", "[::1]:8080")),
        ("authority alone", |c| {
            c.headers.retain(|(name, _)| *name != "host");
            c.authority = Some("api.example.com");
        }),
        ("authority and the same host", |c| c.authority = Some("api.example.com")),
        ("a name and a port", |c| c.set("host", "api.example.com:443")),
        ("a name and an empty port", |c| c.set("host", "api.example.com:")),
        ("a length", |c| c.add("content-length", "12")),
        ("chunked", |c| c.add("transfer-encoding", "chunked")),
        ("escapes", |c| c.target = "/v1/app_1/users/a%20b%C3%BC".into()),
        ("encoded slash in the query", |c| c.target = "/v1/app_1/users?u=http%3A%2F%2Fa".into()),
        ("three dots", |c| c.target = "/v1/app_1/users/...".into()),
        ("a hidden file", |c| c.target = "/v1/app_1/users/.well-known".into()),
        ("dots in the query", |c| c.target = "/v1/app_1/users?../..".into()),
    ];
    for (name, change) in admitted {
        assert!(Case::with(change).admit().is_ok(), "{name}");
    }
}

#[test]
fn unknown_applications_are_not_found() {
    for target in ["/", "/v1", "/v1/", "/v1/app_9/users", "/v2/app_1/users", "/v1/App_1/users"] {
        let denied = Case::with(|case| case.target = target.into()).admit().expect_err("refused");
        assert_eq!(denied.cause, Cause::UnknownApplication, "{target}");
        assert!(denied.application.is_none());
    }
}

#[test]
fn an_application_alone_is_its_root() {
    let case = Case::with(|case| case.target = "/v1/app_1".into());
    assert_eq!(&*case.admit().expect("a sk with * may").route, "*");
}

#[test]
fn only_a_good_key_passes() {
    type Change = fn(&mut Case);
    let refused: &[(&str, KeyFault, Change)] = &[
        ("none", KeyFault::Missing, |c| c.headers.retain(|(name, _)| *name != "authorization")),
        ("basic", KeyFault::Malformed, |c| c.set("authorization", "Basic abc")),
        ("empty", KeyFault::Malformed, |c| c.set("authorization", "Bearer ")),
        ("malformed", KeyFault::Malformed, |c| c.set("authorization", "Bearer sk_live_abc")),
        ("unknown", KeyFault::Unknown, |c| {
            let other = generate(KeyType::Secret, KeyMode::Live);
            c.set("authorization", &format!("Bearer {}", other.expose()));
        }),
        ("of another application", KeyFault::OfAnother, |c| c.target = "/v1/app_2/users".into()),
        ("expired", KeyFault::Expired, |c| {
            c.key.expires_at = chrono::DateTime::from_timestamp_micros(NOW);
        }),
        ("twice", KeyFault::Ambiguous, |c| {
            let value = format!("Bearer {}", c.secret);
            c.add("authorization", &value);
        }),
        ("in a header that is not accepted", KeyFault::Missing, |c| {
            let secret = c.secret.clone();
            c.headers.retain(|(name, _)| *name != "authorization");
            c.add("x-api-key", &secret);
        }),
        ("in a query that is not accepted", KeyFault::Missing, |c| {
            c.headers.retain(|(name, _)| *name != "authorization");
            c.target = format!("/v1/app_1/users?key={}", c.secret);
        }),
        ("in two places", KeyFault::Ambiguous, |c| {
            c.application.accept = vec![KeySource::Bearer, KeySource::XApiKey];
            let secret = c.secret.clone();
            c.add("x-api-key", &secret);
        }),
        ("twice in the query", KeyFault::Ambiguous, |c| {
            c.application.accept = vec![KeySource::Query];
            c.target = format!("/v1/app_1/users?key={0}&key={0}", c.secret);
        }),
        ("bearer where only the header is accepted", KeyFault::Missing, |c| {
            c.application.accept = vec![KeySource::XApiKey];
        }),
    ];
    for (name, fault, change) in refused {
        let denied = Case::with(change).admit().expect_err(name);
        assert_eq!(denied.cause, Cause::Credentials(*fault), "{name}");
        let presented = denied.presented.as_ref();
        let known = matches!(fault, KeyFault::OfAnother | KeyFault::Expired);
        assert_eq!(presented.is_some(), known || *fault == KeyFault::Unknown, "{name}");
        assert_eq!(presented.is_some_and(|it| it.id.is_some()), known, "{name}");
        assert!(presented.is_none_or(|it| it.mask.len() == "sk_live_012345***".len()), "{name}");
        assert!(denied.application.is_some() && denied.key.is_none(), "{name}");
    }
    let admitted: &[(&str, key::Carrier, Change)] = &[
        ("not yet expired", key::Carrier::Bearer, |c| {
            c.key.expires_at = Some("2026-11-22T12:00:01Z".parse().expect("a time"));
        }),
        ("any case of the scheme", key::Carrier::Bearer, |c| {
            let value = format!("bearer {}", c.secret);
            c.set("authorization", &value);
        }),
        ("header", key::Carrier::ApiKeyHeader, |c| {
            c.application.accept = vec![KeySource::XApiKey];
            let secret = c.secret.clone();
            c.set("authorization", "Bearer of.another.kind");
            c.add("x-api-key", &secret);
        }),
        ("header beside an end user's token", key::Carrier::ApiKeyHeader, |c| {
            c.application.accept = vec![KeySource::Bearer, KeySource::XApiKey];
            let secret = c.secret.clone();
            c.set("authorization", "Bearer of.another.kind");
            c.add("x-api-key", &secret);
        }),
        ("query", key::Carrier::Query, |c| {
            c.application.accept = vec![KeySource::Query];
            c.headers.retain(|(name, _)| *name != "authorization");
            c.target = format!("/v1/app_1/users?a=1&key={}", c.secret);
        }),
    ];
    for (name, carrier, change) in admitted {
        assert_eq!(Case::with(change).admit().expect(name).carrier, *carrier, "{name}");
    }
}

#[test]
fn the_key_parameter_is_taken_out_of_a_query() {
    for (query, left) in [
        ("key=x", None),
        ("a=1&key=x&b=2", Some("a=1&b=2")),
        ("key=x&monkey=1", Some("monkey=1")),
        ("a=key=1", Some("a=key=1")),
    ] {
        assert_eq!(key::strip(query).as_deref(), left, "{query}");
    }
}

#[test]
fn only_what_is_active_is_served() {
    use wire::{ApplicationStatus as A, WorkspaceStatus as W};
    for (workspace, application, reason) in [
        (W::Active, A::Provisioning, "provisioning"),
        (W::Active, A::Failed, "failed"),
        (W::Active, A::Suspended, "suspended"),
        (W::Active, A::Maintenance, "maintenance"),
        (W::Suspended, A::Active, "suspended"),
        (W::PastDue, A::Active, "past_due"),
    ] {
        let case = Case::with(|case| {
            case.workspace.status = workspace;
            case.application.status = application;
        });
        let denied = case.admit().expect_err(reason);
        assert_eq!(denied.cause, Cause::Unavailable(reason));
        assert!(denied.key.is_some());
    }
}

#[test]
fn addresses_are_held_to_the_keys_list() {
    for (allowed, peer, expected) in [
        ("203.0.113.0/24", "203.0.113.9", true),
        ("203.0.113.0/24", "::ffff:203.0.113.9", true),
        ("198.51.100.0/24", "203.0.113.9", false),
        ("2001:db8::/32", "2001:db8::1", true),
    ] {
        let case = Case::with(|case| {
            case.key.allowed_ips = vec![allowed.parse().expect("a net")];
            case.peer = peer;
        });
        match case.admit() {
            Ok(_) => assert!(expected, "{peer} in {allowed}"),
            Err(denied) => assert!(!expected && denied.cause == Cause::Address),
        }
    }
}

#[test]
fn the_default_table() {
    for (scopes, method, path, expected) in [
        ("users:read", "GET", "/users", true),
        ("users:read", "HEAD", "/users/7", true),
        ("users:read", "POST", "/users", false),
        ("users:write", "POST", "/users", true),
        ("users:write", "DELETE", "/users/7/x", true),
        ("users:write", "GET", "/users", false),
        ("organizations:read", "GET", "/organizations/1", true),
        ("organizations:read", "PATCH", "/organizations/1", false),
        ("organizations:write", "PATCH", "/organizations/1", true),
        ("audit:read", "GET", "/audit", true),
        ("audit:read", "POST", "/audit", false),
        ("sessions:manage", "GET", "/sessions", true),
        ("sessions:manage", "DELETE", "/sessions/7", true),
        ("users:read", "DELETE", "/sessions/7", false),
        ("users:read", "POST", "/auth/signup", true),
        ("users:read", "GET", "/session", true),
        ("users:read users:write", "GET", "/anything", false),
        ("*", "GET", "/anything", true),
        ("*", "POST", "/users", true),
        ("*", "POST", "/audit", true),
        ("", "GET", "/users", false),
    ] {
        let case = Case::with(|case| {
            case.key.scopes = scopes.split_whitespace().map(str::to_owned).collect();
            case.method = method;
            case.target = format!("/v1/app_1{path}");
        });
        assert_eq!(case.admit().is_ok(), expected, "{scopes}: {method} {path}");
    }
}

#[test]
fn a_public_key_may_call_public_routes_only() {
    for (method, path, expected) in [
        ("POST", "/auth/signup", true),
        ("POST", "/auth", false),
        ("GET", "/auth/signup", false),
        ("GET", "/session", true),
        ("HEAD", "/session", true),
        ("DELETE", "/session", false),
        ("GET", "/users", false),
        ("GET", "/anything", false),
    ] {
        let case = Case::with(|case| {
            case.key.key_type = KeyType::Public;
            case.key.scopes = vec!["*".into()];
            case.method = method;
            case.target = format!("/v1/app_1{path}");
        });
        match case.admit() {
            Ok(_) => assert!(expected, "{method} {path}"),
            Err(denied) => {
                assert!(!expected && denied.cause == Cause::PublicKey, "{method} {path}");
            }
        }
    }
}

#[test]
fn an_applications_routes_replace_the_default_table() {
    let route = |pattern: &str, scope: Option<&str>, public, cost| wire::Route {
        pattern: pattern.parse().expect("a pattern"),
        scope: scope.map(str::to_owned),
        public,
        cost,
    };
    let routes = vec![
        route("* /*", Some("rest:all"), false, 1),
        route("GET /reports/*", Some("reports:read"), false, 5),
        route("GET /reports/free", None, false, 0),
        route("GET /status", None, true, 1),
    ];
    for (scopes, public, method, path, expected) in [
        ("reports:read", false, "GET", "/reports/7", Ok(("GET /reports/*", 5))),
        ("x:y", false, "GET", "/reports/free", Ok(("GET /reports/free", 0))),
        ("x:y", false, "GET", "/reports/7", Err(Cause::Scope("reports:read".into()))),
        ("rest:all", false, "POST", "/reports/7", Ok(("* /*", 1))),
        ("users:read", false, "GET", "/users", Err(Cause::Scope("rest:all".into()))),
        ("*", true, "GET", "/status", Ok(("GET /status", 1))),
        ("*", true, "GET", "/reports/free", Err(Cause::PublicKey)),
        ("rest:all", false, "GET", "/", Err(Cause::Scope("*".into()))),
    ] {
        let case = Case::with(|case| {
            case.application.routes = routes.clone();
            case.key.key_type = if public { KeyType::Public } else { KeyType::Secret };
            case.key.scopes = vec![scopes.into()];
            case.method = method;
            case.target = format!("/v1/app_1{path}");
        });
        let found = case.admit();
        let found = match &found {
            Ok(admitted) => Ok((&*admitted.route, admitted.cost)),
            Err(denied) => Err(denied.cause.clone()),
        };
        assert_eq!(found, expected, "{scopes}: {method} {path}");
    }
}

#[test]
fn the_first_failing_step_answers() {
    // Everything is wrong; each repair uncovers the next refusal.
    let mut case = Case::with(|case| {
        case.method = "get";
        case.target = "/v1/app_9/users".into();
        case.key.expires_at = Some("2020-01-01T00:00:00Z".parse().expect("a time"));
        case.application.status = wire::ApplicationStatus::Maintenance;
        case.key.allowed_ips = vec!["10.0.0.0/8".parse().expect("a net")];
        case.key.scopes = vec![];
    });
    assert_eq!(case.code(), Code::InvalidRequest);
    case.method = "GET";
    assert_eq!(case.code(), Code::NotFound);
    case.target = "/v1/app_1/users".into();
    assert_eq!(case.code(), Code::Unauthorized);
    case.key.expires_at = None;
    assert_eq!(case.code(), Code::ServiceUnavailable);
    case.application.status = wire::ApplicationStatus::Active;
    let cause = case.admit().expect_err("refused").cause;
    assert_eq!(cause, Cause::Address);
    case.key.allowed_ips = vec![];
    let cause = case.admit().expect_err("refused").cause;
    assert_eq!(cause, Cause::Scope("users:read".into()));
    case.key.scopes = vec!["users:read".into()];
    assert!(case.admit().is_ok());
}

#[test]
fn the_nearest_rate_limit_holds() {
    let limit = |requests| wire::RateLimit::fast(requests, 1_000, requests);
    let mut case = Case::new();
    let found = |case: &Case| {
        let (level, limit) = case.admit().expect("admitted").rate_limit();
        (level, limit.requests)
    };
    case.workspace.rate_limit = limit(10);
    assert_eq!(found(&case), (Level::Workspace, 10));
    case.application.rate_limit = Some(limit(20));
    assert_eq!(found(&case), (Level::Application, 20));
    case.key.rate_limit = Some(limit(5));
    assert_eq!(found(&case), (Level::Key, 5));
}
