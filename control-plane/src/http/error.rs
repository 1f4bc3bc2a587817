//! Renders errors: the one envelope `{"error":{code,message,details,requestId}}` of every surface.
//!
//! An error becomes a bare response that carries its description; `layers::finish` writes the body
//! once the request id is known. A 5xx is logged here, once, with its cause; the client gets none
//! of it.

use authsome_shared::code::Code;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::error::Error;

/// What the envelope will say.
#[derive(Debug, Clone)]
pub struct Description {
    pub code: Code,
    pub message: String,
    pub details: Option<Value>,
    pub retry_after: Option<u64>,
}

impl Description {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, retry_after: None }
    }

    /// The response's body.
    pub fn envelope(&self, request_id: &str) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(details) = &self.details {
            error["details"] = details.clone();
        }
        if let Some(seconds) = self.retry_after {
            error["retryAfter"] = seconds.into();
        }
        error["requestId"] = request_id.into();
        json!({ "error": error })
    }
}

impl IntoResponse for Description {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).expect("codes carry valid statuses");
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == Code::Unauthorized {
            let challenge = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<&Error> for Description {
    fn from(error: &Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NotFound(what) => {
                let mut what = (*what).to_owned();
                what[..1].make_ascii_uppercase();
                Self::new(Code::NotFound, format!("{what} not found"))
            }
            Error::Conflict(code, _) => Self::new(*code, message),
            Error::Invalid(violations) => {
                let mut description = Self::new(Code::InvalidRequest, message);
                if let Some(first) = violations.first() {
                    let mut details = json!({ "field": first.field, "reason": first.reason });
                    if violations.len() > 1 {
                        details["errors"] = violations
                            .iter()
                            .map(|v| json!({ "field": v.field, "reason": v.reason, "message": v.message }))
                            .collect();
                    }
                    description.details = Some(details);
                }
                description
            }
            Error::Unauthenticated(_) => Self::new(Code::Unauthorized, message),
            Error::MfaRequired { token, methods, expires_in } => {
                let mut description = Self::new(Code::MfaRequired, message);
                description.details = Some(json!({
                    "mfaToken": token, "methods": methods, "expiresIn": expires_in,
                }));
                description
            }
            Error::Forbidden(_) => Self::new(Code::Forbidden, message),
            Error::PlanLimit { what, limit, plan } => {
                let mut description = Self::new(Code::PlanLimitReached, message);
                description.details =
                    Some(json!({ "resource": what, "limit": limit, "plan": plan }));
                description
            }
            Error::Declined { code, .. } => {
                let mut description = Self::new(Code::CardDeclined, message);
                description.details = Some(json!({ "reason": code }));
                description
            }
            Error::PaymentsNotConfigured => Self::new(Code::PaymentsNotConfigured, message),
            Error::RateLimited { retry_after } => {
                let mut description = Self::new(Code::RateLimitExceeded, message);
                description.retry_after = Some(*retry_after);
                description
            }
            Error::Unavailable(_) => {
                let mut description = Self::new(Code::ServiceUnavailable, message);
                description.retry_after = Some(1);
                description
            }
            Error::Internal(_) => Self::new(Code::InternalError, message),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) | Self::Unavailable(cause) = &self {
            tracing::error!(error = format!("{cause:#}"), "request failed");
        }
        Description::from(&self).into_response()
    }
}
