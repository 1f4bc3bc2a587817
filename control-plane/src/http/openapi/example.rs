//! Examples of bodies, made from their schemas: of each field its own example, else its default, its
//! first allowed value, or what the field's name suggests. What a field must be, its example is; a
//! test validates every one.

use authsome_shared::code::Code;
use serde_json::{Map, Value, json};
use utoipa::openapi::Content;

/// A schema within a schema within … this deep is shown empty.
const DEEPEST: usize = 8;

/// Gives a body its example, unless it has one; that of an error is the status's.
pub fn put(content: &mut Content, components: &Value, status: &str) {
    if content.example.is_some() {
        return;
    }
    let Some(schema) = &content.schema else { return };
    let Ok(schema) = serde_json::to_value(schema) else { return };
    content.example = match schema["$ref"].as_str() {
        Some("#/components/schemas/ErrorBody") => Some(error(status)),
        _ => Some(of(&schema, components, "", 0)),
    };
}

/// What a refusal with this status looks like.
fn error(status: &str) -> Value {
    let is = |code: &&Code| code.status().to_string() == status;
    let code = match status {
        "409" => Code::Conflict,
        _ => Code::ALL.iter().find(is).copied().unwrap_or(Code::InvalidRequest),
    };
    let message = match code {
        Code::InvalidRequest => "`name` is required",
        Code::Unauthorized => "The access token is invalid or expired",
        Code::PlanLimitReached => "The free plan includes 3 applications",
        Code::Forbidden => "Insufficient permissions for this operation",
        Code::NotFound => "Workspace not found",
        Code::Conflict => "The present state forbids it",
        Code::PayloadTooLarge => "The body may have at most 1048576 bytes",
        Code::UnsupportedMediaType => {
            "Send the body as JSON, with `Content-Type: application/json`"
        }
        Code::RateLimitExceeded => "Rate limit exceeded. Retry after 60 seconds",
        Code::ServiceUnavailable => "The service is not available right now",
        _ => "An unexpected error occurred",
    };
    let mut error = json!({
        "code": code.as_str(), "message": message, "requestId": "req_0352BzK1sipBK5mYlLMDcU",
    });
    match code {
        Code::InvalidRequest => {
            error["details"] = json!({ "field": "name", "reason": "missing_field" });
        }
        Code::PlanLimitReached => {
            let details = json!({ "resource": "applications", "limit": 3, "plan": "free" });
            error["details"] = details;
        }
        Code::RateLimitExceeded => error["retryAfter"] = 60.into(),
        _ => {}
    }
    json!({ "error": error })
}

/// An example of a schema, as the value of a field called `name`.
pub fn of(schema: &Value, components: &Value, name: &str, depth: usize) -> Value {
    let given = [&schema["example"], &schema["examples"][0], &schema["default"]];
    if let Some(example) = given.into_iter().find(|value| !value.is_null()) {
        return example.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if depth > DEEPEST {
        return json!({});
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches("#/components");
        let target = components.pointer(pointer).unwrap_or(&Value::Null);
        return of(target, components, name, depth + 1);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = Map::new();
        for part in parts {
            if let Value::Object(part) = of(part, components, name, depth + 1) {
                whole.extend(part);
            }
        }
        return Value::Object(whole);
    }
    for list in [&schema["oneOf"], &schema["anyOf"]] {
        let mut choices = list.as_array().into_iter().flatten();
        if let Some(choice) = choices.find(|choice| choice["type"] != "null") {
            return of(choice, components, name, depth + 1);
        }
    }
    match type_of(schema) {
        "object" => object(schema, components, name, depth),
        "array" => {
            let item = of(&schema["items"], components, singular(name), depth + 1);
            json!([item])
        }
        "integer" => number(schema, name).into(),
        #[expect(clippy::cast_precision_loss, reason = "an example")]
        "number" => (number(schema, name) as f64).into(),
        "boolean" => json!(name == "consistent" || name == "connected"),
        "string" => text(schema, name).into(),
        _ => Value::Null,
    }
}

/// Of several types the first that is not `null`.
fn type_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names.into_iter().find(|name| *name != "null").unwrap_or("null")
        }
        _ => "null",
    }
}

/// All its fields but those that tell what is not usual.
fn object(schema: &Value, components: &Value, name: &str, depth: usize) -> Value {
    let Some(properties) = schema["properties"].as_object() else {
        return match name {
            "metadata" => json!({ "industry": "technology" }),
            "config" => json!({ "upstream": { "urls": ["https://api.example.com"] } }),
            "details" => json!({ "field": "email", "reason": "missing_field" }),
            _ => json!({}),
        };
    };
    let unusual = |name: &str| {
        ["deletedAt", "purgeAt", "suspendedReason", "statusReason", "disabledAt", "replaces"]
            .contains(&name)
    };
    let required = |name: &str| {
        schema["required"].as_array().is_some_and(|list| list.iter().any(|it| it == name))
    };
    let fields = properties
        .iter()
        .filter(|(name, _)| required(name) || !unusual(name))
        .map(|(name, field)| (name.clone(), of(field, components, name, depth + 1)));
    Value::Object(fields.collect())
}

fn number(schema: &Value, name: &str) -> i64 {
    let usual = match name {
        "total" | "page" | "count" | "applications" | "members" => 1,
        "pageSize" => 20,
        "expiresIn" => 900,
        "errors" | "lag" | "missing" | "overage" | "quarantined" | "unshipped" => 0,
        "requests" => 100,
        "windowMs" => 1000,
        "status" => 200,
        _ => 120,
    };
    let bound = |field: &str| schema[field].as_i64();
    usual.clamp(
        bound("minimum").unwrap_or(i64::MIN),
        bound("maximum").unwrap_or(i64::MAX).max(bound("minimum").unwrap_or(i64::MIN)),
    )
}

fn text(schema: &Value, name: &str) -> String {
    match schema["format"].as_str() {
        Some("date-time") => {
            let later = ["expiresAt", "billingDate", "until"].contains(&name);
            return if later { "2027-01-01T00:00:00Z" } else { "2026-01-15T09:30:00Z" }.into();
        }
        Some("email") => return "ada@example.com".into(),
        Some("password") => return "correct horse battery".into(),
        Some("uri") => return "https://api.example.com/hooks".into(),
        _ => {}
    }
    let usual = match name {
        "email" | "ownerEmail" | "actorEmail" => "ada@example.com",
        "name" => "Acme Corporation",
        "slug" => "acme-corp",
        "region" => "us-east-1",
        "apiUrl" => "https://api.example.com/v1/app_0352BzK1sipBK5mYlLMDcU",
        "dashboardUrl" => "https://dashboard.example.com/workspace/ws_0352BzK1sipBK5mYlLMDcU",
        "url" => "https://app.example.com/webhooks",
        "publicKey" => "pk_live_4kXw2mQ8sT1vB6nY9cR3hJ7pL5dF0gA2Ze8uKq3xWt",
        "secretKey" => "sk_live_9bR2xK7mQ4sT8vN1yC6hJ3pL5dF0gA2ZwE8uKqV0Ma",
        "secret" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "token" => "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3JfMDM1MiJ9.c2lnbmF0dXJl",
        "refreshToken" => "rt_Qm9x2K7sT4vB8nY1cR6hJ3pL5dF0gA2ZwE8uKqXt",
        "scope" => "users:read",
        "period" => "2026-01",
        "address" | "allowedIp" => "192.0.2.7",
        "version" => "0.1.0",
        "strict" => "off",
        "requestId" => "req_0352BzK1sipBK5mYlLMDcU",
        "resourceType" => "key",
        "resourceId" => "key_0352BzK1sipBK5mYlLMDcU",
        "action" => "key.created",
        "code" => "123456",
        _ => "text",
    };
    let least = schema["minLength"].as_u64().map_or(0, |n| usize::try_from(n).unwrap_or(0));
    if usual.len() >= least { usual.to_owned() } else { "x".repeat(least) }
}

/// What one of several is called.
fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fields_own_example_comes_first_then_its_bounds() {
        let components = json!({ "schemas": { "Colour": { "type": "string", "enum": ["red"] } } });
        let schema = json!({ "type": "object", "required": ["deletedAt"], "properties": {
            "own": { "type": "string", "example": "mine" },
            "limit": { "type": ["integer", "null"], "maximum": 7 },
            "colours": { "type": "array", "items": { "$ref": "#/components/schemas/Colour" } },
            "either": { "oneOf": [{ "type": "null" }, { "type": "boolean" }] },
            "purgeAt": { "type": "string", "format": "date-time" },
            "deletedAt": { "type": "string", "format": "date-time" },
        } });
        assert_eq!(
            of(&schema, &components, "", 0),
            json!({
                "own": "mine", "limit": 7, "colours": ["red"], "either": false,
                "deletedAt": "2026-01-15T09:30:00Z",
            })
        );
    }

    #[test]
    fn an_error_is_that_of_its_status() {
        assert_eq!(error("404")["error"]["code"], "not_found");
        assert_eq!(error("429")["error"]["retryAfter"], 60);
        assert_eq!(error("402")["error"]["code"], "plan_limit_reached");
    }
}
