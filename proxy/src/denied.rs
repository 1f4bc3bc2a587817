//! Causes for which a request is refused, and the one place that turns a cause into status, code,
//! headers and body (the contract's error format). It decides nothing and sends nothing. `kind` has
//! the names by which operators know causes.

pub mod kind;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use authsome_shared::code::Code;
use authsome_shared::id::{KeyId, RequestId};

use crate::json::{number, text};
use crate::limit::Level;
use crate::limit::rate::State;
use crate::snapshot::entity::{Application, Key};

/// Why a request is refused. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Malformed, or over a fixed bound.
    Request {
        code: Code,
        reason: &'static str,
        message: &'static str,
    },
    UnknownApplication,
    /// No key, or not a good one. The client is never told which.
    Credentials(KeyFault),
    /// Not served now; the reason is part of the contract.
    Unavailable(&'static str),
    /// The application's circuit breaker; seconds until it lets a request through.
    BreakerOpen {
        retry_after: u64,
    },
    /// The key may not be used from this address.
    Address,
    /// A public key on a route that is not public.
    PublicKey,
    /// The key lacks this scope.
    Scope(Box<str>),
    RateLimit {
        level: Level,
        state: State,
    },
    Quota {
        level: Level,
        quota: u64,
        period: String,
        retry_after: u64,
    },
    BodyTooLarge {
        limit: u64,
    },
    /// The client was too slow.
    ClientTimeout,
    /// The upstream could not be reached, or broke off.
    BadGateway {
        reason: &'static str,
        message: &'static str,
    },
    GatewayTimeout {
        reason: &'static str,
    },
    Internal,
}

/// What is wrong with the credentials of a request, for operators' eyes only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    Missing,
    /// More than one, or one that is no text.
    Ambiguous,
    /// Not in a key's form, or with a wrong checksum.
    Malformed,
    /// Never issued, or revoked.
    Unknown,
    OfAnother,
    Expired,
}

/// A well-formed key that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The form in which keys are listed: `sk_live_abc123***`.
    pub mask: Box<str>,
    /// Its id, if it is known at all.
    pub id: Option<KeyId>,
}

/// A refusal, and as much of whom it concerns as was known.
#[derive(Clone)]
pub struct Denied {
    pub cause: Cause,
    pub application: Option<Arc<Application>>,
    pub key: Option<Arc<Key>>,
    pub presented: Option<Presented>,
}

impl Denied {
    pub fn of(application: &Arc<Application>, cause: Cause) -> Self {
        Self { cause, application: Some(application.clone()), key: None, presented: None }
    }
}

impl From<Cause> for Denied {
    fn from(cause: Cause) -> Self {
        Self { cause, application: None, key: None, presented: None }
    }
}

impl fmt::Debug for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// How a cause is told to the client.
#[derive(Debug)]
pub struct Answer {
    pub code: Code,
    pub body: Vec<u8>,
    /// Whole seconds.
    pub retry_after: Option<u64>,
    /// Whether a `WWW-Authenticate` belongs to it.
    pub challenge: bool,
    /// The request may have been read wrongly, so that nothing more is read from its connection.
    pub close: bool,
}

impl Cause {
    pub fn code(&self) -> Code {
        match self {
            Self::Request { code, .. } => *code,
            Self::UnknownApplication => Code::NotFound,
            Self::Credentials(_) => Code::Unauthorized,
            Self::Unavailable(_) | Self::BreakerOpen { .. } => Code::ServiceUnavailable,
            Self::Address | Self::PublicKey | Self::Scope(_) => Code::Forbidden,
            Self::RateLimit { .. } => Code::RateLimitExceeded,
            Self::Quota { .. } => Code::QuotaExceeded,
            Self::BodyTooLarge { .. } => Code::PayloadTooLarge,
            Self::ClientTimeout => Code::RequestTimeout,
            Self::BadGateway { .. } => Code::BadGateway,
            Self::GatewayTimeout { .. } => Code::GatewayTimeout,
            Self::Internal => Code::InternalError,
        }
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Request { message, .. } | Self::BadGateway { message, .. } => (*message).into(),
            Self::UnknownApplication => "Application not found".into(),
            Self::Credentials(_) => "Invalid or expired API key".into(),
            Self::Unavailable("past_due") => "The workspace has unpaid invoices".into(),
            Self::Unavailable("ledger_full") => "Usage can't be recorded at the moment".into(),
            Self::Unavailable("no_upstream") => "The application has no upstream".into(),
            Self::Unavailable(_) => "Application is currently unavailable".into(),
            Self::BreakerOpen { .. } => "The upstream has failed too often lately".into(),
            Self::Address => "The API key may not be used from this address".into(),
            Self::PublicKey | Self::Scope(_) => {
                "Insufficient permissions for this operation".into()
            }
            Self::RateLimit { state, .. } => {
                // Told by the thousand, so that it goes without the machinery of `format!`.
                let mut digits = itoa::Buffer::new();
                let seconds = digits.format(state.retry_after());
                ["Rate limit exceeded. Retry after ", seconds, " seconds"].concat().into()
            }
            Self::Quota { level, .. } => {
                format!("The {}'s monthly quota is used up", level.as_str()).into()
            }
            Self::BodyTooLarge { limit } => {
                format!("The request body is larger than {limit} bytes").into()
            }
            Self::ClientTimeout => "The request did not arrive in time".into(),
            Self::GatewayTimeout { .. } => "The upstream did not answer in time".into(),
            Self::Internal => "An unexpected error occurred".into(),
        }
    }

    /// Appends the field `details`, where there is more to tell.
    fn write_details(&self, body: &mut Vec<u8>) {
        const BEGIN: &str = ",\"details\":{\"reason\":";
        const LIMIT: &str = ",\"details\":{\"limit\":";
        match self {
            Self::Request { reason, .. }
            | Self::BadGateway { reason, .. }
            | Self::GatewayTimeout { reason } => text(body, BEGIN, reason.as_bytes()),
            Self::Address => text(body, BEGIN, b"address"),
            Self::PublicKey => text(body, BEGIN, b"public_key"),
            Self::Scope(scope) => {
                text(body, BEGIN, b"scope");
                text(body, ",\"required\":", scope.as_bytes());
            }
            Self::RateLimit { level, state } => {
                text(body, LIMIT, level.of_rate().as_bytes());
                number(body, ",\"requests\":", state.limit.requests);
                number(body, ",\"windowMs\":", state.limit.window_ms);
            }
            Self::Quota { level, quota, period, .. } => {
                text(body, LIMIT, level.as_str().as_bytes());
                number(body, ",\"quota\":", *quota);
                text(body, ",\"period\":", period.as_bytes());
            }
            Self::BodyTooLarge { limit } => number(body, LIMIT, *limit),
            _ => return,
        }
        body.push(b'}');
    }

    /// Why there is no service now.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable(reason) => Some(reason),
            Self::BreakerOpen { .. } => Some("breaker_open"),
            _ => None,
        }
    }

    /// Whole seconds, where it is known when to come back.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimit { state, .. } => Some(state.retry_after()),
            Self::Quota { retry_after, .. } | Self::BreakerOpen { retry_after } => {
                Some(*retry_after)
            }
            Self::Unavailable("ledger_full") => Some(5),
            _ => None,
        }
    }

    /// In the contract's error format.
    pub fn answer(&self, request_id: &RequestId) -> Answer {
        let code = self.code();
        let retry_after = self.retry_after();
        let counted = matches!(code, Code::RateLimitExceeded | Code::QuotaExceeded);
        let mut body = Vec::with_capacity(256);
        text(&mut body, "{\"error\":{\"code\":", code.as_str().as_bytes());
        text(&mut body, ",\"message\":", self.message().as_bytes());
        text(&mut body, ",\"requestId\":", request_id.as_bytes());
        self.write_details(&mut body);
        if let Some(reason) = self.reason() {
            text(&mut body, ",\"reason\":", reason.as_bytes());
        }
        if let Some(seconds) = retry_after.filter(|_| counted) {
            number(&mut body, ",\"retryAfter\":", seconds);
        }
        body.extend_from_slice(b"}}");
        Answer {
            code,
            body,
            retry_after,
            challenge: code == Code::Unauthorized,
            close: matches!(self, Self::Request { .. } | Self::ClientTimeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use authsome_shared::snapshot::RateLimit;
    use serde_json::{Value, json};

    use super::*;

    const REQUEST: &str = "req_1";

    fn body(cause: &Cause) -> Value {
        serde_json::from_slice(&cause.answer(&REQUEST.parse().expect("an id")).body).expect("JSON")
    }

    #[test]
    fn a_rate_limit_tells_which_and_when_to_return() {
        let limit = RateLimit::fast(10, 60_000, 10);
        let state = State { limit, remaining: 0, full_at: 0, wait: 5_500_000_000 };
        let cause = Cause::RateLimit { level: Level::Application, state };
        assert_eq!(
            body(&cause),
            json!({"error": {
                "code": "rate_limit_exceeded",
                "message": "Rate limit exceeded. Retry after 6 seconds",
                "retryAfter": 6,
                "details": {"limit": "application", "requests": 10, "windowMs": 60_000},
                "requestId": "req_1",
            }})
        );
        assert_eq!(cause.answer(&REQUEST.parse().expect("an id")).retry_after, Some(6));
    }

    #[test]
    fn unavailability_has_its_reason_where_the_contract_has_it() {
        let found = body(&Cause::Unavailable("maintenance"));
        assert_eq!(found["error"]["reason"], "maintenance");
        assert_eq!(found["error"]["message"], "Application is currently unavailable");
    }

    #[test]
    fn what_a_refusal_has_to_say_is_in_its_details() {
        let (reason, message) = ("connect", "Said \"so\"");
        let (level, period) = (Level::Key, "2026-11".to_owned());
        for (cause, wanted) in [
            (Cause::Address, json!({"reason": "address"})),
            (Cause::PublicKey, json!({"reason": "public_key"})),
            (Cause::Scope("a\"b".into()), json!({"reason": "scope", "required": "a\"b"})),
            (Cause::BadGateway { reason, message }, json!({"reason": "connect"})),
            (Cause::GatewayTimeout { reason }, json!({"reason": "connect"})),
            (
                Cause::Quota { level, quota: 7, period, retry_after: 9 },
                json!({"limit": "key", "quota": 7, "period": "2026-11"}),
            ),
            (Cause::BodyTooLarge { limit: 5 }, json!({"limit": 5})),
            (Cause::Internal, Value::Null),
        ] {
            assert_eq!(body(&cause)["error"]["details"], wanted, "{cause:?}");
            assert_eq!(body(&cause)["error"]["message"], *cause.message());
            let told = if matches!(cause, Cause::Quota { .. }) { json!(9) } else { Value::Null };
            assert_eq!(body(&cause)["error"]["retryAfter"], told);
        }
    }

    #[test]
    fn every_refused_key_sounds_alike() {
        use KeyFault::{Ambiguous, Expired, Malformed, Missing, OfAnother, Unknown};
        let missing = Cause::Credentials(Missing).answer(&REQUEST.parse().expect("an id"));
        assert!(missing.challenge && !missing.close);
        let told = body(&Cause::Credentials(Missing));
        assert_eq!(told["error"]["message"], "Invalid or expired API key");
        for fault in [Ambiguous, Malformed, Unknown, OfAnother, Expired] {
            assert_eq!(
                Cause::Credentials(fault).answer(&REQUEST.parse().expect("an id")).body,
                missing.body,
                "{fault:?}"
            );
        }
    }
}
