//! Merging of JSON objects given by users (RFC 7396: `null` removes), and the bounds on metadata.

use serde_json::{Map, Value};

use crate::error::Checks;

const MAX_METADATA_KEYS: usize = 50;
const MAX_METADATA_BYTES: usize = 16 * 1024;

/// Sets each field of `change` in `target`; `null` removes it. Objects inside are replaced.
pub fn merge_flat(target: &mut Map<String, Value>, change: Map<String, Value>) {
    for (key, value) in change {
        if value.is_null() {
            target.remove(&key);
        } else {
            target.insert(key, value);
        }
    }
}

/// Merges objects at every depth; `null` removes; anything else, arrays too, is replaced.
pub fn merge_deep(target: &mut Map<String, Value>, change: Map<String, Value>) {
    for (key, value) in change {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(inner) => {
                let slot = target.entry(key).or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(existing) = slot {
                    merge_deep(existing, inner);
                }
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}

/// Metadata is for a few labels, not for documents. U+0000 is no text to PostgreSQL.
pub fn check_metadata(checks: &mut Checks, metadata: &Map<String, Value>) {
    checks.check(
        !metadata.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        "metadata",
        "`metadata` must not hold the character U+0000",
    );
    let bytes = serde_json::to_vec(metadata).map_or(0, |bytes| bytes.len());
    checks.check(
        metadata.len() <= MAX_METADATA_KEYS && bytes <= MAX_METADATA_BYTES,
        "metadata",
        format!(
            "`metadata` may have at most {MAX_METADATA_KEYS} fields and {MAX_METADATA_BYTES} bytes"
        ),
    );
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn deep_merging() {
        for (target, change, expected) in [
            (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"c": 3}}),
                json!({"a": {"b": 1, "c": 3}}),
            ),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": null}}), json!({"a": {"b": 1}})),
            (json!({"a": {"b": 1}}), json!({"a": null}), json!({})),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (
                json!({"a": 1}),
                json!({"a": {"b": {"c": null, "d": 1}}}),
                json!({"a": {"b": {"d": 1}}}),
            ),
        ] {
            let mut merged = object(target);
            merge_deep(&mut merged, object(change));
            assert_eq!(Value::Object(merged), expected);
        }
    }

    #[test]
    fn flat_merging_replaces_objects() {
        let mut target = object(json!({"a": {"b": 1}, "c": 1, "d": 2}));
        merge_flat(&mut target, object(json!({"a": {"x": 1}, "d": null})));
        assert_eq!(Value::Object(target), json!({"a": {"x": 1}, "c": 1}));
    }
}
