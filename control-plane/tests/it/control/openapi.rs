//! `/control/v1/openapi.json`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::TestApp;

const PATH: &str = "/control/v1/openapi.json";
const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

/// Every operation: its path, method and description.
pub fn operations() -> Vec<(String, String, Value)> {
    let description = serde_json::to_value(authsome_control_plane::http::description()).unwrap();
    let mut operations = vec![];
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                operations.push((path.clone(), method.to_uppercase(), operation.clone()));
            }
        }
    }
    assert!(operations.len() > 20);
    operations
}

#[tokio::test]
async fn the_description_is_public_and_of_3_1() {
    let app = TestApp::new().await;
    let answer = app.anonymous().get(PATH).await;
    let served = answer.json(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(served, serde_json::to_value(authsome_control_plane::http::description()).unwrap());
}

/// Clients are made from the description: a change of it must be seen in review.
#[test]
fn the_description_changes_only_on_purpose() {
    let description = authsome_control_plane::http::description();
    let now = serde_json::to_string_pretty(&description).unwrap() + "\n";
    #[expect(clippy::disallowed_methods, reason = "tests have no settings")]
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    if update {
        std::fs::write(SNAPSHOT, &now).unwrap();
    }
    let stored = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
    assert!(
        stored == now,
        "control-plane/openapi.json is not what is served. If the change is meant: \
         UPDATE=1 cargo test -p authsome-control-plane --test it openapi"
    );
}

/// What somebody who is not signed in may call.
const PUBLIC: [&str; 12] = [
    "register",
    "login",
    "login_totp",
    "refresh",
    "forgot_password",
    "reset_password",
    "verify_email",
    "list_providers",
    "start_oauth",
    "finish_oauth",
    "exchange_oauth_code",
    // By Stripe's signature.
    "receive_stripe_webhook",
];

#[test]
fn every_operation_is_described_whole() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let what = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{what}: no id"));
        assert!(ids.insert(id.to_owned()), "{what}: {id} is taken");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{what}: one tag");
        assert!(operation["summary"].is_string(), "{what}: a summary");
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with(['2', '3'])),
            "{what}: no success"
        );
        assert!(responses.keys().any(|status| status.starts_with('4')), "{what}: no 4xx");
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|d| !d.is_empty()), "{what}");
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/ErrorBody", "{what} {status}");
            }
        }
        let declared: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let in_path: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        assert_eq!(declared, in_path, "{what}: its path's parameters");
        let public = PUBLIC.contains(&id);
        let security = &operation["security"];
        assert_eq!(security.is_null(), public, "{what}: {security}");
        if !public {
            let expected = match operation["tags"][0].as_str() {
                Some("ingest") => json!([{ "ingest": [] }, { "bearer": [] }]),
                _ => json!([{ "bearer": [] }]),
            };
            assert_eq!(*security, expected, "{what}");
            assert!(responses.contains_key("401"), "{what}: no 401");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let description = serde_json::to_value(authsome_control_plane::http::description()).unwrap();
    let mut references = vec![];
    collect(&description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

/// Two types of one name would silently become one schema.
#[test]
fn states_of_different_things_have_schemas_of_their_own() {
    let description = serde_json::to_value(authsome_control_plane::http::description()).unwrap();
    let states = |body: &str| {
        let schemas = &description["components"]["schemas"];
        let reference = schemas[body]["properties"]["status"]["$ref"].as_str().unwrap();
        description.pointer(&reference[1..]).unwrap()["enum"].clone()
    };
    assert_eq!(states("WorkspaceBody"), json!(["active", "suspended", "past_due", "deleted"]));
    assert_eq!(states("MemberBody"), json!(["active", "invited", "suspended"]));
    assert_eq!(
        states("ApplicationBody"),
        json!(["provisioning", "active", "failed", "restarting", "suspended", "deleted"])
    );
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                references.push(reference.clone());
            }
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[test]
fn every_tag_is_described_and_every_body_has_an_example() {
    let description = serde_json::to_value(authsome_control_plane::http::description()).unwrap();
    let tags = description["tags"].as_array().unwrap();
    let described: BTreeSet<&str> = tags.iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert!(tags.iter().all(|tag| tag["description"].as_str().is_some_and(|d| !d.is_empty())));
    for (path, method, operation) in operations() {
        let what = format!("{method} {path}");
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(described.contains(tag), "{what}: say what the tag {tag} is about");
        let bodies = operation["responses"].as_object().unwrap().values();
        for body in bodies.chain(operation.get("requestBody")) {
            for (media, content) in body["content"].as_object().into_iter().flatten() {
                let shown = media != "application/json" || !content["example"].is_null();
                assert!(shown, "{what}: no example in {body}");
            }
        }
    }
}

#[test]
fn ids_say_how_they_begin() {
    let description = serde_json::to_value(authsome_control_plane::http::description()).unwrap();
    let mut ids = 0;
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        if name.ends_with("Id") {
            let pattern =
                schema["pattern"].as_str().unwrap_or_else(|| panic!("{name}: no pattern"));
            assert!(pattern.starts_with('^') && pattern.contains('_'), "{name}: {pattern}");
            ids += 1;
        }
    }
    assert!(ids > 5);
}
