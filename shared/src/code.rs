//! The registry of error codes: what `error.code` can be on either plane, and the status it
//! travels with. A code is never renamed or given another status once released.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $status:literal, $text:literal;)*) => {
        /// A stable, machine-readable reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The text on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status it travels with.
            pub const fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// Malformed or invalid input; `details.field` and `details.reason` say where and why.
    InvalidRequest => 400, "invalid_request";
    /// No, unknown, expired or revoked credentials.
    Unauthorized => 401, "unauthorized";
    /// The first factor was right; `details.mfaToken` and a code finish the sign-in.
    MfaRequired => 401, "mfa_required";
    /// The plan does not include more of this; `details.limit` and `details.plan` say what it does.
    PlanLimitReached => 402, "plan_limit_reached";
    /// The card was declined; `details.reason` is what its issuer says.
    CardDeclined => 402, "card_declined";
    /// Known caller, insufficient permission.
    Forbidden => 403, "forbidden";
    /// Absent, or not visible to this caller.
    NotFound => 404, "not_found";
    /// The path exists, the method does not; `Allow` lists those that do.
    MethodNotAllowed => 405, "method_not_allowed";
    /// The request did not arrive in time.
    RequestTimeout => 408, "request_timeout";
    /// The resource's present state forbids the change.
    Conflict => 409, "conflict";
    /// A unique value (slug, e-mail address) is taken.
    AlreadyExists => 409, "already_exists";
    /// The move is not one of the resource's state machine.
    InvalidState => 409, "invalid_state";
    /// The address has an account that this identity may not sign in to: sign in and link it.
    LinkRequired => 409, "link_required";
    /// An account keeps at least one way to sign in.
    LastSignInMethod => 409, "last_sign_in_method";
    /// The `Idempotency-Key` was used for another request.
    IdempotencyConflict => 409, "idempotency_conflict";
    /// A workspace keeps at least one owner.
    LastOwner => 409, "last_owner";
    /// The body is over its limit.
    PayloadTooLarge => 413, "payload_too_large";
    /// The request target is over its limit.
    UriTooLong => 414, "uri_too_long";
    /// A body that is not `application/json`.
    UnsupportedMediaType => 415, "unsupported_media_type";
    /// Too many requests in the window; `retryAfter` says when to come back.
    RateLimitExceeded => 429, "rate_limit_exceeded";
    /// The month's quota is used up.
    QuotaExceeded => 429, "quota_exceeded";
    /// The request's header section is over its limit.
    HeadersTooLarge => 431, "headers_too_large";
    /// A fault of ours; the request id finds it in the log.
    InternalError => 500, "internal_error";
    /// The method or transfer coding is not implemented.
    NotImplemented => 501, "not_implemented";
    /// The operator has configured no collector of payments.
    PaymentsNotConfigured => 501, "payments_not_configured";
    /// The upstream could not be reached or broke off.
    BadGateway => 502, "bad_gateway";
    /// Not now; `reason` says why.
    ServiceUnavailable => 503, "service_unavailable";
    /// The upstream did not answer in time.
    GatewayTimeout => 504, "gateway_timeout";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_and_serialise_as_themselves() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).expect("a string"), code.as_str());
        }
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
