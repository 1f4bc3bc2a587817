//! How a request ended, as one label: the class of the upstream's status, or the code of our own
//! answer.

use authsome_shared::code::Code;

use super::label::label;

label! {
    /// How a request ended.
    Outcome {
        Informational => "1xx",
        Success => "2xx",
        Redirection => "3xx",
        ClientError => "4xx",
        ServerError => "5xx",
        /// The client left before it was answered.
        ClientGone => "client_gone",
        InvalidRequest => "invalid_request",
        Unauthorized => "unauthorized",
        Forbidden => "forbidden",
        NotFound => "not_found",
        RequestTimeout => "request_timeout",
        PayloadTooLarge => "payload_too_large",
        UriTooLong => "uri_too_long",
        RateLimitExceeded => "rate_limit_exceeded",
        QuotaExceeded => "quota_exceeded",
        HeadersTooLarge => "headers_too_large",
        InternalError => "internal_error",
        NotImplemented => "not_implemented",
        BadGateway => "bad_gateway",
        ServiceUnavailable => "service_unavailable",
        GatewayTimeout => "gateway_timeout",
    }
}

impl Outcome {
    /// Of our own `code`, or else of the upstream's `status`.
    pub fn of(code: Option<Code>, status: u16) -> Self {
        match (code, status) {
            (Some(code), _) => Self::of_code(code),
            (None, 499) => Self::ClientGone,
            (None, 100..=199) => Self::Informational,
            (None, 200..=299) => Self::Success,
            (None, 300..=399) => Self::Redirection,
            (None, 400..=498) => Self::ClientError,
            (None, _) => Self::ServerError,
        }
    }

    fn of_code(code: Code) -> Self {
        match code {
            Code::InvalidRequest => Self::InvalidRequest,
            Code::Unauthorized => Self::Unauthorized,
            Code::Forbidden => Self::Forbidden,
            Code::NotFound => Self::NotFound,
            Code::RequestTimeout => Self::RequestTimeout,
            Code::PayloadTooLarge => Self::PayloadTooLarge,
            Code::UriTooLong => Self::UriTooLong,
            Code::RateLimitExceeded => Self::RateLimitExceeded,
            Code::QuotaExceeded => Self::QuotaExceeded,
            Code::HeadersTooLarge => Self::HeadersTooLarge,
            Code::NotImplemented => Self::NotImplemented,
            Code::BadGateway => Self::BadGateway,
            Code::ServiceUnavailable => Self::ServiceUnavailable,
            Code::GatewayTimeout => Self::GatewayTimeout,
            // The proxy gives no other.
            _ => Self::InternalError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::label::Label;

    #[test]
    fn our_own_answers_are_told_from_the_upstreams() {
        for (code, status, wanted) in [
            (None, 101, "1xx"),
            (None, 204, "2xx"),
            (None, 404, "4xx"),
            (None, 499, "client_gone"),
            (None, 503, "5xx"),
            (Some(Code::NotFound), 404, "not_found"),
            (Some(Code::GatewayTimeout), 504, "gateway_timeout"),
            (Some(Code::LastOwner), 409, "internal_error"),
        ] {
            assert_eq!(Outcome::of(code, status).as_str(), wanted);
        }
    }
}
