//! Causes without their particulars: what metrics count, the access log and `authsome explain` name.
//! Finer than what the client is told where telling would help someone who guesses keys.

use std::borrow::Cow;

use authsome_shared::code::Code;

use super::{Cause, KeyFault};
use crate::limit::Level;
use crate::metrics::label::{Label, label};

label! {
    /// Why a request was refused or failed.
    Kind {
        Malformed => "malformed",
        UriTooLong => "uri_too_long",
        HeadersTooLarge => "headers_too_large",
        NotImplemented => "not_implemented",
        UnknownApplication => "unknown_application",
        KeyMissing => "key_missing",
        KeyAmbiguous => "key_ambiguous",
        KeyMalformed => "key_malformed",
        KeyUnknown => "key_unknown",
        KeyOfAnother => "key_of_another_application",
        KeyExpired => "key_expired",
        Provisioning => "provisioning",
        ProvisioningFailed => "provisioning_failed",
        Suspended => "suspended",
        Maintenance => "maintenance",
        PastDue => "past_due",
        Address => "address",
        PublicKey => "public_key",
        Scope => "scope",
        RateLimitKey => "rate_limit_key",
        RateLimitApplication => "rate_limit_application",
        RateLimitPlan => "rate_limit_plan",
        QuotaKey => "quota_key",
        QuotaApplication => "quota_application",
        QuotaWorkspace => "quota_workspace",
        BodyTooLarge => "body_too_large",
        RequestTimeout => "request_timeout",
        LedgerFull => "ledger_full",
        NoUpstream => "no_upstream",
        BreakerOpen => "breaker_open",
        Unavailable => "unavailable",
        EgressDenied => "egress_denied",
        UpstreamName => "upstream_name",
        UpstreamConnect => "upstream_connect",
        UpstreamConnectTimeout => "upstream_connect_timeout",
        UpstreamTls => "upstream_tls",
        UpstreamInvalid => "upstream_invalid_response",
        UpstreamClosed => "upstream_closed",
        UpstreamTimeout => "upstream_timeout",
        Internal => "internal",
    }
}

impl Kind {
    pub fn of(cause: &Cause) -> Self {
        match cause {
            Cause::Request { code: Code::UriTooLong, .. } => Self::UriTooLong,
            Cause::Request { code: Code::HeadersTooLarge, .. } => Self::HeadersTooLarge,
            Cause::Request { code: Code::NotImplemented, .. } => Self::NotImplemented,
            Cause::Request { code: Code::RequestTimeout, .. } | Cause::ClientTimeout => {
                Self::RequestTimeout
            }
            Cause::Request { .. } => Self::Malformed,
            Cause::UnknownApplication => Self::UnknownApplication,
            Cause::Credentials(fault) => match fault {
                KeyFault::Missing => Self::KeyMissing,
                KeyFault::Ambiguous => Self::KeyAmbiguous,
                KeyFault::Malformed => Self::KeyMalformed,
                KeyFault::Unknown => Self::KeyUnknown,
                KeyFault::OfAnother => Self::KeyOfAnother,
                KeyFault::Expired => Self::KeyExpired,
            },
            Cause::Unavailable(reason) => match *reason {
                "provisioning" => Self::Provisioning,
                "failed" => Self::ProvisioningFailed,
                "suspended" => Self::Suspended,
                "maintenance" => Self::Maintenance,
                "past_due" => Self::PastDue,
                "ledger_full" => Self::LedgerFull,
                "no_upstream" => Self::NoUpstream,
                _ => Self::Unavailable,
            },
            Cause::BreakerOpen { .. } => Self::BreakerOpen,
            Cause::Address => Self::Address,
            Cause::PublicKey => Self::PublicKey,
            Cause::Scope(_) => Self::Scope,
            Cause::RateLimit { level, .. } => match level {
                Level::Key => Self::RateLimitKey,
                Level::Application => Self::RateLimitApplication,
                Level::Workspace => Self::RateLimitPlan,
            },
            Cause::Quota { level, .. } => match level {
                Level::Key => Self::QuotaKey,
                Level::Application => Self::QuotaApplication,
                Level::Workspace => Self::QuotaWorkspace,
            },
            Cause::BodyTooLarge { .. } => Self::BodyTooLarge,
            Cause::BadGateway { reason, .. } => match *reason {
                "egress_denied" => Self::EgressDenied,
                "dns" => Self::UpstreamName,
                "connect" => Self::UpstreamConnect,
                "tls" => Self::UpstreamTls,
                "invalid_response" => Self::UpstreamInvalid,
                _ => Self::UpstreamClosed,
            },
            Cause::GatewayTimeout { reason } => match *reason {
                "dns_timeout" => Self::UpstreamName,
                "connect_timeout" => Self::UpstreamConnectTimeout,
                _ => Self::UpstreamTimeout,
            },
            Cause::Internal => Self::Internal,
        }
    }

    /// From its text, as it stands in a decision.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

impl Cause {
    /// What `Kind` does not say: what was malformed, which scope is lacking.
    pub fn detail(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Request { reason, .. }
            | Self::Unavailable(reason)
            | Self::BadGateway { reason, .. }
            | Self::GatewayTimeout { reason } => Some(Cow::Borrowed(reason)),
            Self::Scope(scope) => Some(scope.to_string().into()),
            Self::BodyTooLarge { limit } => Some(limit.to_string().into()),
            _ => None,
        }
    }
}
