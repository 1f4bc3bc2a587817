//! Looks fields up in the API's description.

use serde_json::Value;

use super::table::Operation;

pub struct Description(Value);

impl Description {
    pub fn read() -> Self {
        Self(serde_json::to_value(authsome_control_plane::http::description()).unwrap())
    }

    fn operation(&self, operation: &Operation) -> Option<&Value> {
        let path = format!("/control/v1{}", operation.path);
        self.0["paths"].get(path)?.get(operation.method.to_lowercase())
    }

    pub fn has(&self, operation: &Operation) -> bool {
        self.operation(operation).is_some()
    }

    pub fn takes_query(&self, operation: &Operation, name: &str) -> bool {
        let parameters = self.operation(operation).and_then(|it| it["parameters"].as_array());
        let is = |it: &&Value| it["in"] == "query" && it["name"] == name;
        parameters.into_iter().flatten().any(|it| is(&it))
    }

    pub fn takes_field(&self, operation: &Operation, name: &str) -> bool {
        let Some(operation) = self.operation(operation) else { return false };
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        self.property(schema, name).is_some()
    }

    /// The types that a field of the success may have.
    pub fn answers(&self, operation: &Operation, path: &str) -> Option<Vec<String>> {
        let responses = &self.operation(operation)?["responses"];
        let content = &responses[operation.status.to_string()]["content"];
        let mut schema = &content["application/json"]["schema"];
        for step in path.split('.') {
            let name = step.split('[').next().unwrap_or_default();
            schema = self.property(schema, name)?;
            if step.contains('[') {
                schema = self.items(schema)?;
            }
        }
        let mut types = vec![];
        self.types(schema, &mut types);
        Some(types)
    }

    /// Through a reference.
    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => {
                self.0.pointer(&reference[1..]).expect("a reference leads somewhere")
            }
            None => schema,
        }
    }

    fn parts(schema: &Value) -> impl Iterator<Item = &Value> {
        ["allOf", "oneOf", "anyOf"].into_iter().filter_map(|name| schema[name].as_array()).flatten()
    }

    fn property<'a>(&'a self, schema: &'a Value, name: &str) -> Option<&'a Value> {
        let schema = self.resolved(schema);
        let own = schema["properties"].get(name);
        own.or_else(|| Self::parts(schema).find_map(|part| self.property(part, name)))
    }

    fn items<'a>(&'a self, schema: &'a Value) -> Option<&'a Value> {
        let schema = self.resolved(schema);
        schema.get("items").or_else(|| Self::parts(schema).find_map(|part| self.items(part)))
    }

    fn types(&self, schema: &Value, types: &mut Vec<String>) {
        let schema = self.resolved(schema);
        match &schema["type"] {
            Value::String(name) => types.push(name.clone()),
            Value::Array(names) => {
                types.extend(names.iter().filter_map(Value::as_str).map(ToOwned::to_owned));
            }
            _ => Self::parts(schema).for_each(|part| self.types(part, types)),
        }
    }
}
