//! Errors in Stripe's shape: `{"error": {type, code, message, param, …}}`.

use serde_json::{Map, Value, json};

/// A refused request.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: u16,
    error: Map<String, Value>,
}

impl Refusal {
    pub fn new(status: u16, kind: &str, message: impl Into<String>) -> Self {
        let mut error = Map::new();
        error.insert("type".into(), kind.into());
        error.insert("message".into(), message.into().into());
        Self { status, error }
    }

    /// 400: the request can't be as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// An object that a parameter names and that is not there; 404 when it is the path that does.
    pub fn missing(what: &str, id: &str, param: &str) -> Self {
        let mut refusal = Self::invalid(format!("No such {what}: '{id}'"));
        if param == "id" {
            refusal.status = 404;
        }
        refusal.code("resource_missing").param(param)
    }

    /// 402: what the card's issuer says.
    pub fn card(code: &str, decline_code: Option<&str>, message: &str) -> Self {
        let mut refusal = Self::new(402, "card_error", message).code(code);
        if let Some(decline_code) = decline_code {
            refusal.error.insert("decline_code".into(), decline_code.into());
        }
        refusal
    }

    pub fn code(mut self, code: &str) -> Self {
        self.error.insert("code".into(), code.into());
        let doc = format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-"));
        self.error.insert("doc_url".into(), doc.into());
        self
    }

    pub fn param(mut self, param: &str) -> Self {
        let mut parts = param.split('.');
        let mut name = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            name = format!("{name}[{part}]");
        }
        self.error.insert("param".into(), name.into());
        self
    }

    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.error.insert(field.into(), value);
        self
    }

    pub fn body(&self) -> Value {
        json!({ "error": self.error })
    }
}
