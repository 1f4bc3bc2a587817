//! Forms with nested keys, as Stripe's API takes them: `a[b]=1`, `a[]=2`, `a[0][b]=3`. Values stay
//! texts; what they must be is for those who read them.

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::refusal::Refusal;

/// A form or a query as an object. Lists are objects by their index until [`Params::list`] reads
/// them.
pub fn parse(text: &str) -> Value {
    let mut whole = Value::Object(Map::new());
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        let mut parts = key.split('[').map(|part| part.trim_end_matches(']'));
        let first = parts.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = parts.collect();
        put(&mut whole, &first, &rest, value.into_owned());
    }
    whole
}

fn put(into: &mut Value, key: &str, rest: &[&str], value: String) {
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(object) = into.as_object_mut() else { return };
    let key = if key.is_empty() { object.len().to_string() } else { key.to_owned() };
    match rest {
        [] => {
            object.insert(key, Value::String(value));
        }
        [next, rest @ ..] => put(object.entry(key).or_insert(Value::Null), next, rest, value),
    }
}

/// The parameters of a request.
pub struct Params<'a>(pub &'a Value);

impl Params<'_> {
    /// Refuses what an operation does not take, as Stripe does.
    pub fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        for name in self.0.as_object().into_iter().flat_map(Map::keys) {
            if name != "expand" && !known.contains(&name.as_str()) {
                let refusal = Refusal::invalid(format!("Received unknown parameter: {name}"));
                return Err(refusal.code("parameter_unknown").param(name));
            }
        }
        Ok(())
    }

    /// By a path such as `invoice_settings.default_payment_method`.
    pub fn value(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(self.0, |value, name| value.get(name))
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.value(path)?.as_str()
    }

    pub fn required(&self, path: &str) -> Result<&str, Refusal> {
        self.text(path).filter(|text| !text.is_empty()).ok_or_else(|| {
            let refusal = Refusal::invalid(format!("Missing required param: {path}."));
            refusal.code("parameter_missing").param(path)
        })
    }

    pub fn integer(&self, path: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(path) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let refusal = Refusal::invalid(format!("Invalid integer: {text}"));
            refusal.code("parameter_invalid_integer").param(path)
        })
    }

    pub fn boolean(&self, path: &str) -> Result<Option<bool>, Refusal> {
        match self.text(path) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Refusal::invalid(format!("Invalid boolean: {other}")).param(path)),
        }
    }

    /// A list's items, in the order of their indices.
    pub fn list(&self, path: &str) -> Vec<String> {
        let items = self.value(path).and_then(Value::as_object);
        let mut items: Vec<(usize, String)> = items
            .into_iter()
            .flatten()
            .filter_map(|(index, item)| Some((index.parse().ok()?, item.as_str()?.to_owned())))
            .collect();
        items.sort();
        items.into_iter().map(|(_, item)| item).collect()
    }

    /// Merges `metadata` into what is there: an empty value removes.
    pub fn metadata(&self, into: &mut Value) {
        let Some(given) = self.value("metadata").and_then(Value::as_object) else { return };
        let Some(kept) = into.as_object_mut() else { return };
        for (name, value) in given {
            if value == "" {
                kept.remove(name);
            } else {
                kept.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_nest_and_lists_keep_their_order() {
        let parsed = parse("a=1&b[c]=2&b[d][e]=x%20y&l[]=p&l[]=q&o[1]=z&o[0]=y");
        let expected = json!({
            "a": "1", "b": { "c": "2", "d": { "e": "x y" } },
            "l": { "0": "p", "1": "q" }, "o": { "1": "z", "0": "y" },
        });
        assert_eq!(parsed, expected);
        assert_eq!(Params(&parsed).list("l"), ["p", "q"]);
        assert_eq!(Params(&parsed).list("o"), ["y", "z"]);
        assert_eq!(Params(&parsed).text("b.d.e"), Some("x y"));
    }
}
