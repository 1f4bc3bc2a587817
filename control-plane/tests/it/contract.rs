//! The published contract, held as a table (`table`): every operation with its status, what it
//! takes and what it answers. Each is called, and each field looked for in the live answer and in
//! the API's description, with its type. More than the contract is fine; less is not.
//!
//! What is in the contract and not here yet is listed in `table::NOT_YET`; the test fails as well
//! when it has come and is still listed.

mod schema;
mod table;

use axum::body::Body;
use axum::http::{Method, header};
use serde_json::{Value, json};

use crate::support::{Client, Collecting, FakeProxy, PASSWORD, Record, TestApp, text, within};
use authsome_shared::id::EpochId;
use schema::Description;
use table::{Kind, NOT_YET, Operation, TABLE};

/// What stands in the paths and bodies of the table.
struct Scene {
    owner: Client,
    workspace: String,
    application: String,
    key: String,
    member: String,
}

impl Scene {
    async fn of(app: &TestApp) -> Self {
        let owner = app.sign_up("owner").await;
        let workspace = owner.workspace("pro").await;
        let made = owner.application(&workspace, json!({ "session": { "timeout": "7d" } })).await;
        let application = text(&made["id"]);
        let key = text(&owner.key(&application).await["id"]);
        let members = format!("/control/v1/workspaces/{workspace}/members");
        let invitation = json!({ "email": "invited@example.com", "role": "developer" });
        let member = text(&owner.post(&members, invitation).await.json(201)["id"]);
        app.run_due().await;
        let mut records = Record::of(app, &made, &key).times(3);
        records[0].user = Some("end-user".into());
        FakeProxy::new(app).apply(&EpochId::new(), 1, &records).await;
        app.issue(&workspace).await;
        Self { owner, workspace, application, key, member }
    }

    fn fill(&self, template: &str) -> String {
        template
            .replace("{workspaceId}", &self.workspace)
            .replace("{applicationId}", &self.application)
            .replace("{keyId}", &self.key)
            .replace("{memberId}", &self.member)
            .replace("{password}", PASSWORD)
    }

    async fn call(&self, operation: &Operation) -> crate::support::Response {
        let mut path = format!("/control/v1{}", self.fill(operation.path));
        let query: Vec<String> =
            operation.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let method: Method = operation.method.parse().unwrap();
        let request = self.owner.request(method, &path);
        let request = match operation.body {
            "" => request.body(Body::empty()),
            body => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(self.fill(body).into()),
        };
        within(self.owner.send(request.unwrap())).await
    }
}

fn is_not_yet(operation: &Operation, field: &str) -> bool {
    let known = |(method, path, what): &(&str, &str, &str)| {
        (*method, *path) == (operation.method, operation.path)
            && (what.is_empty() || *what == field)
    };
    NOT_YET.iter().any(known)
}

#[tokio::test]
async fn every_operation_answers_what_the_contract_says() {
    let description = Description::read();
    let mut wrong = vec![];
    for operation in TABLE {
        if is_not_yet(operation, "") && !description.has(operation) {
            continue;
        }
        // One for each: what an operation changes must not be seen by another.
        let Collecting { app, .. } = &Collecting::new().await;
        app.leave_jobs();
        let scene = Scene::of(app).await;
        let answer = scene.call(operation).await;
        if answer.status != operation.status {
            wrong.push(format!("not {}: {answer}", operation.status));
            continue;
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        for (field, kind) in operation.answer {
            if is_not_yet(operation, field) {
                continue;
            }
            if let Err(why) = look(&body, field, *kind) {
                wrong.push(format!("{} {}: {why} in {body}", operation.method, operation.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Looks a field up by a path such as `data[].id` (every item, at least one) or `data[1].id`.
fn look(value: &Value, path: &str, kind: Kind) -> Result<(), String> {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, index) = match step.split_once('[') {
        Some((name, index)) => (name, Some(index.trim_end_matches(']'))),
        None => (step, None),
    };
    let found = value.get(name).ok_or_else(|| format!("there is no `{name}`"))?;
    let items: Vec<&Value> = match index {
        None => vec![found],
        Some("") => found.as_array().into_iter().flatten().collect(),
        Some(n) => found.get(n.parse::<usize>().unwrap()).into_iter().collect(),
    };
    if items.is_empty() {
        return Err(format!("`{step}` holds nothing"));
    }
    for item in items {
        if !rest.is_empty() {
            look(item, rest, kind)?;
        } else if !kind.holds(item) {
            return Err(format!("`{path}` is no {kind:?}: {item}"));
        }
    }
    Ok(())
}

#[test]
fn every_operation_is_described_as_the_contract_says() {
    let description = Description::read();
    let mut wrong = vec![];
    for operation in TABLE {
        let what = format!("{} {}", operation.method, operation.path);
        if is_not_yet(operation, "") {
            if description.has(operation) {
                wrong.push(format!("{what} is here: take it off NOT_YET"));
            }
            continue;
        }
        if !description.has(operation) {
            wrong.push(format!("{what} is missing"));
            continue;
        }
        for (name, _) in operation.query {
            if !description.takes_query(operation, name) {
                wrong.push(format!("{what}: no query parameter `{name}`"));
            }
        }
        let body: Value = serde_json::from_str(operation.body).unwrap_or_default();
        for field in body.as_object().into_iter().flat_map(|body| body.keys()) {
            if !description.takes_field(operation, field) {
                wrong.push(format!("{what}: the request has no `{field}`"));
            }
        }
        for (field, kind) in operation.answer {
            let described = description.answers(operation, field);
            match (described, is_not_yet(operation, field)) {
                (Some(_), true) => {
                    wrong.push(format!("{what}: `{field}` is here: take it off NOT_YET"));
                }
                (None, false) => wrong.push(format!("{what}: no answer with `{field}`")),
                (Some(types), false) if !kind.is_described_by(&types) => {
                    wrong.push(format!("{what}: `{field}` is {types:?}, not {kind:?}"));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_yet_there_is_in_the_table() {
    for (method, path, field) in NOT_YET {
        let known = |it: &&Operation| {
            (it.method, it.path) == (*method, *path)
                && (field.is_empty() || it.answer.iter().any(|(name, _)| name == field))
        };
        assert!(TABLE.iter().any(|it| known(&it)), "{method} {path} {field} is in no row");
    }
}

#[test]
fn every_error_code_has_its_status() {
    for (code, status) in table::ERRORS {
        let found = authsome_shared::code::Code::ALL.iter().find(|known| known.as_str() == *code);
        assert_eq!(found.map(|code| code.status()), Some(*status), "{code}");
    }
}

#[tokio::test]
async fn every_error_a_client_can_cause_is_told_in_the_envelope() {
    let app = TestApp::with(|config| config.identity.logins_per_minute = 1).await;
    let owner = app.sign_up("owner").await;
    let viewer = app.sign_up("viewer").await;
    let workspace = owner.workspace("free").await;
    app.add_member(&workspace, &viewer, authsome_control_plane::actor::Role::Viewer).await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let members = format!("{path}/members");
    let missing = owner.post(&members, json!({ "role": "viewer" })).await;
    let error = missing.error(400, "invalid_request");
    assert_eq!(error["details"], json!({ "field": "email", "reason": "missing_field" }));
    owner
        .send_text(Method::POST, &members, "application/json", "{")
        .await
        .error(400, "invalid_request");
    app.anonymous().get(&path).await.error(401, "unauthorized");
    viewer.delete(&path).await.error(403, "forbidden");
    owner.get("/control/v1/applications/app_none").await.error(404, "not_found");
    let login = json!({ "email": "owner@example.com", "password": PASSWORD });
    let somebody = app.anonymous();
    somebody.post("/control/v1/auth/login", login.clone()).await.is(200);
    let refused = somebody.post("/control/v1/auth/login", login).await;
    let error = refused.error(429, "rate_limit_exceeded");
    let seconds = error["retryAfter"].as_u64().unwrap();
    assert_eq!(refused.header("retry-after"), Some(seconds.to_string().as_str()));
}

#[tokio::test]
async fn answers_tell_how_the_caller_stands_with_its_limit() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    for (plan, per_minute) in [("free", "100"), ("pro", "1000")] {
        let workspace = owner.workspace(plan).await;
        let answer = owner.get(&format!("/control/v1/workspaces/{workspace}")).await;
        assert_eq!(answer.header("x-ratelimit-limit"), Some(per_minute), "{plan}");
        let number = |name| answer.header(name).unwrap().parse::<i64>().unwrap();
        assert!(number("x-ratelimit-remaining") < per_minute.parse().unwrap());
        assert!(number("x-ratelimit-reset") > app.now().timestamp(), "seconds since the epoch");
    }
}
