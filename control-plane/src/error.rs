//! What can go wrong in the control plane, free of any transport. `http/error.rs` renders it.

use std::fmt;

use authsome_shared::code::Code;
use authsome_shared::secret::Secret;

/// The control plane's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Absent, deleted, or another workspace's: these three are never told apart.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The present state forbids the change.
    #[error("{1}")]
    Conflict(Code, String),
    /// Input that breaks a rule; at least one violation.
    #[error("{}", first_message(.0))]
    Invalid(Vec<Violation>),
    /// No valid credentials.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The first factor was right, and the account has a second one.
    #[error("Send a code of your authenticator to finish the sign-in")]
    MfaRequired { token: Secret<String>, methods: Vec<&'static str>, expires_in: i64 },
    /// Known caller, insufficient permission.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The plan does not include more.
    #[error("The {plan} plan includes {limit} {what}")]
    PlanLimit { what: &'static str, limit: u64, plan: String },
    /// The card, or its issuer, says no. The message is for its holder.
    #[error("{message}")]
    Declined { code: String, message: String },
    /// No collector of payments is configured.
    #[error("Payments are not configured on this platform")]
    PaymentsNotConfigured,
    /// Too often; come back after so many seconds.
    #[error("Rate limit exceeded. Retry after {retry_after} seconds")]
    RateLimited { retry_after: u64 },
    /// A dependency does not answer.
    #[error("The service is not available right now")]
    Unavailable(#[source] anyhow::Error),
    /// A fault of ours.
    #[error("An unexpected error occurred")]
    Internal(#[source] anyhow::Error),
}

/// One broken rule of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `config.upstream.urls[0]`.
    pub field: String,
    /// Machine-readable: `missing_field`, `unknown_field`, `invalid_type`, `invalid_value`, ….
    pub reason: &'static str,
    /// For people; a whole sentence without its full stop.
    pub message: String,
}

impl Violation {
    /// Turns serde's words about a value at `path` (`.` for the whole) into a violation that names
    /// the field.
    pub fn from_serde(path: &str, message: &str) -> Self {
        let message = message.split(" at line ").next().unwrap_or(message);
        let parent = if path == "." { "" } else { path };
        let quoted = || message.split('`').nth(1).unwrap_or_default();
        // The path may or may not already end with the field that the message names.
        let join = |name: &str| match parent {
            "" => name.to_owned(),
            parent if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
            parent => format!("{parent}.{name}"),
        };
        let (field, reason) = if message.starts_with("unknown field") {
            (join(quoted()), "unknown_field")
        } else if message.starts_with("missing field") {
            (join(quoted()), "missing_field")
        } else if message.starts_with("duplicate field") {
            (join(quoted()), "duplicate_field")
        } else if message.starts_with("invalid type") {
            (parent.to_owned(), "invalid_type")
        } else {
            (parent.to_owned(), "invalid_value")
        };
        let field = if field.is_empty() { "body".to_owned() } else { field };
        let message = match reason {
            "missing_field" => format!("`{field}` is required"),
            "unknown_field" => format!("`{field}` is not a known field"),
            "duplicate_field" => format!("`{field}` is given more than once"),
            _ => format!("`{field}`: {message}"),
        };
        Self { field, reason, message }
    }
}

fn first_message(violations: &[Violation]) -> &str {
    violations.first().map_or("Invalid request", |violation| &violation.message)
}

impl Error {
    /// One violation.
    pub fn invalid(
        field: impl Into<String>,
        reason: &'static str,
        message: impl fmt::Display,
    ) -> Self {
        Self::Invalid(vec![Violation { field: field.into(), reason, message: message.to_string() }])
    }

    pub fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self::Internal(error.into())
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                Self::Unavailable(error.into())
            }
            // 57P01-57P03: the server is shutting down or starting up.
            sqlx::Error::Database(ref inner)
                if inner.code().is_some_and(|code| code.starts_with("57P")) =>
            {
                Self::Unavailable(error.into())
            }
            _ => Self::Internal(error.into()),
        }
    }
}

/// Collects every violation of an input, so that a caller learns of all at once.
#[derive(Debug, Default)]
pub struct Checks {
    violations: Vec<Violation>,
}

impl Checks {
    /// Notes a violation unless `holds`.
    pub fn check(&mut self, holds: bool, field: &str, message: impl fmt::Display) -> &mut Self {
        if !holds {
            self.fail(field, message);
        }
        self
    }

    /// Notes a violation.
    pub fn fail(&mut self, field: impl Into<String>, message: impl fmt::Display) {
        let message = message.to_string();
        self.violations.push(Violation { field: field.into(), reason: "invalid_value", message });
    }

    /// A name, as of a workspace, an application or a key: 1–200 characters, no control characters.
    pub fn name(&mut self, field: &str, value: &str) -> &mut Self {
        let length = value.trim().chars().count();
        let fine = (1..=200).contains(&length) && !value.chars().any(char::is_control);
        self.check(fine, field, format!("`{field}` must have 1 to 200 printable characters"))
    }

    pub fn finish(self) -> Result<()> {
        if self.violations.is_empty() { Ok(()) } else { Err(Error::Invalid(self.violations)) }
    }
}
