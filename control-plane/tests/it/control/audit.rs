//! The audit log: every change is in it, and whoever tampers with it is found.

use authsome_control_plane::audit::chain::{self, Report};
use authsome_control_plane::execute;
use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::access::{Scene, body};
use super::openapi::operations;
use crate::support::{Client, PASSWORD, TestApp, text};

/// A workspace in which something has happened.
async fn eventful(app: &TestApp) -> (Client, String) {
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let application = text(&owner.application(&workspace, json!({})).await["id"]);
    for _ in 0..3 {
        owner.key(&application).await;
        app.advance(TimeDelta::minutes(1));
    }
    let path = format!("/control/v1/workspaces/{workspace}");
    owner.patch(&path, json!({ "name": "Renamed", "metadata": { "a": 1 } })).await.json(200);
    (owner, workspace)
}

async fn verify(app: &TestApp) -> Report {
    let mut tx = app.read().await;
    chain::verify(&mut tx, &app.app.sealer).await.unwrap()
}

async fn run(app: &TestApp, sql: &'static str) {
    let mut tx = app.write().await;
    assert!(execute!(tx, sqlx::query(sql)).unwrap() > 0, "{sql} touched nothing");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn every_operation_that_changes_something_is_logged() {
    let app = TestApp::with(|config| {
        config.identity.logins_per_minute = 1_000;
        config.identity.mail_tokens_per_minute = 1_000;
    })
    .await;
    app.leave_jobs();
    let mut owner = app.sign_up("owner").await;
    let bystander = app.sign_up("bystander").await;
    let mut logged = 0;
    for (n, (template, method, operation)) in operations().into_iter().enumerate() {
        let id = text(&operation["operationId"]);
        // A refresh changes nothing but its own tokens; a forgotten password is logged by the job
        // that finds its account; a preview changes nothing.
        let silent = ["refresh", "forgot_password", "preview_plan"];
        if method == "GET" || silent.contains(&id.as_str()) {
            continue;
        }
        // Anew each time: some operations end sessions.
        let login = json!({ "email": owner.email(), "password": PASSWORD });
        owner.be(&app.anonymous().post("/control/v1/auth/login", login.clone()).await.json(200));
        let scene = Scene::of(&app, &owner, &bystander, &template, &id).await;
        let mut caller = owner.clone();
        caller.be(&app.anonymous().post("/control/v1/auth/login", login).await.json(200));
        let before = app.number("select count(*) from audit_entries").await;
        let body = body(&id, 1_000 + n, &caller.refresh_token);
        let method: Method = method.parse().unwrap();
        let answer = caller.send_json(method, &scene.path(&template), &body).await;
        let after = app.number("select count(*) from audit_entries").await;
        if answer.status < 300 {
            assert!(after > before, "{id} is not in the audit log");
            logged += 1;
        } else {
            assert_eq!(after, before, "{id} failed, and yet something is logged");
        }
    }
    assert!(logged >= 16, "only {logged} operations succeeded");
    assert_eq!(verify(&app).await.problems, Vec::<String>::new());
}

#[tokio::test]
async fn an_entry_says_who_did_what_from_where() {
    let app = TestApp::new().await;
    let (owner, workspace) = eventful(&app).await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let answer = owner.patch(&path, json!({ "name": "Again" })).await;
    let request = answer.header("x-authsome-request-id").unwrap().to_owned();
    let log = owner.get(&format!("{path}/audit?action=workspace.*")).await.json(200);
    let entry = &log["data"][0];
    assert_eq!(entry["action"], "workspace.updated");
    assert_eq!(entry["actor"]["id"], owner.id());
    assert_eq!(entry["actor"]["email"], owner.email());
    assert_eq!(entry["resource"], json!({ "type": "workspace", "id": workspace }));
    assert_eq!(entry["before"], json!({ "name": "Renamed" }));
    assert_eq!(entry["after"], json!({ "name": "Again" }));
    assert_eq!(entry["requestId"], request);
    assert_eq!(entry["address"], owner.address.ip().to_string());
}

#[tokio::test]
async fn the_log_is_paged_and_filtered() {
    let app = TestApp::new().await;
    let (owner, workspace) = eventful(&app).await;
    let path = format!("/control/v1/workspaces/{workspace}/audit");
    let get = async |query: String| owner.get(&format!("{path}?{query}")).await.json(200);
    let all = get(String::new()).await;
    // The workspace, the application with two keys, three keys, the new name.
    assert_eq!(all["total"], 8);
    let second = get("page=2&pageSize=3".into()).await;
    assert_eq!(second["data"].as_array().unwrap(), &all["data"].as_array().unwrap()[3..6]);
    assert_eq!(get("action=key.created".into()).await["total"], 5);
    assert_eq!(get("action=key.*".into()).await["total"], 5);
    assert_eq!(get("action=nothing".into()).await["total"], 0);
    assert_eq!(get(format!("actor={}", owner.email())).await["total"], 8);
    assert_eq!(get("actor=provisioner".into()).await["total"], 0);
    assert_eq!(get("resourceType=application".into()).await["total"], 1);
    let since = text(&all["data"][0]["createdAt"]);
    assert_eq!(get(format!("since={since}")).await["total"], 1);
    assert_eq!(get(format!("until={since}")).await["total"], 7);
    owner.get(&format!("{path}?since=yesterday")).await.assert_invalid("since");
    owner.get(&format!("{path}?actor=a%00b")).await.assert_invalid("actor");
}

#[tokio::test]
async fn sign_ins_are_in_the_platforms_log() {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("root").await;
    let log = admin.get("/control/v1/admin/audit").await.json(200);
    let actions: Vec<&Value> =
        log["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["user.admin_granted", "session.created", "user.registered"]);
}

/// As a customer would, with nothing but the export and its documentation.
fn hash_of(line: &Value) -> String {
    let created: DateTime<Utc> = text(&line["createdAt"]).parse().unwrap();
    let hashed = json!([
        line["chain"],
        line["sequence"],
        line["id"],
        created.timestamp_micros(),
        line["actorType"],
        line["actorId"],
        line["actorEmail"],
        line["address"],
        line["requestId"],
        line["action"],
        line["resourceType"],
        line["resourceId"],
        line["before"],
        line["after"],
        line["previousHash"],
    ]);
    hex::encode(digest(&SHA256, hashed.to_string().as_bytes()))
}

#[tokio::test]
async fn an_export_can_be_checked_without_us() {
    let app = TestApp::new().await;
    let (owner, workspace) = eventful(&app).await;
    let path = format!("/control/v1/workspaces/{workspace}/audit/export");
    let export = owner.get(&path).await;
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(export.body.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8);
    let mut previous = json!("");
    for (n, line) in lines.iter().enumerate() {
        assert_eq!((&line["sequence"], &line["previousHash"]), (&json!(n + 1), &previous));
        assert_eq!(line["hash"], hash_of(line));
        previous = line["hash"].clone();
    }
    let csv = owner.get(&format!("{path}?format=csv")).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(String::from_utf8(csv.body.to_vec()).unwrap().matches("\r\n").count(), 9);
    owner.get(&format!("{path}?format=xml")).await.assert_invalid("format");
}

#[tokio::test]
async fn a_long_log_is_exported_whole() {
    let app = TestApp::with(|config| config.api.limits = false).await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{workspace}");
    for n in 0..1_100 {
        owner.patch(&path, json!({ "name": format!("{n}") })).await.is(200);
    }
    let export = owner.get(&format!("{path}/audit/export")).await;
    assert_eq!(String::from_utf8(export.body.to_vec()).unwrap().lines().count(), 1_101);
    let report = verify(&app).await;
    assert!(report.entries > 1_101 && report.problems.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_tampered_row_is_found() {
    for (sql, words) in [
        (
            "update audit_entries set actor_id = 'usr_other' where sequence = 3 and chain <> 'platform'",
            "entry 3: it was changed",
        ),
        (
            "update audit_entries set after_state = '{}' where sequence = 8 and chain <> 'platform'",
            "entry 8: it was changed",
        ),
        (
            "delete from audit_entries where sequence = 4 and chain <> 'platform'",
            "entries 4 to 4 are missing",
        ),
        (
            "delete from audit_entries where sequence = 8 and chain <> 'platform'",
            "the end of the log is not the one recorded",
        ),
        (
            "delete from audit_entries where sequence > 2 and chain <> 'platform'",
            "it ends with entry 2, but entry 8 was sealed",
        ),
        (
            "update audit_checkpoints set seal = 'AAAA' where chain <> 'platform'",
            "the checkpoint of entry 8 is forged",
        ),
        (
            "delete from audit_heads where chain <> 'platform'",
            "the end of the log is not the one recorded",
        ),
    ] {
        let app = TestApp::new().await;
        eventful(&app).await;
        app.housekeeping().await;
        let report = verify(&app).await;
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!((report.chains, report.checkpoints), (2, 2));
        run(&app, sql).await;
        let problems = verify(&app).await.problems;
        assert!(problems.iter().any(|problem| problem.contains(words)), "{sql}: {problems:?}");
    }
}

#[tokio::test]
async fn a_log_computed_anew_is_found_by_its_checkpoint() {
    let app = TestApp::new().await;
    let (owner, workspace) = eventful(&app).await;
    app.housekeeping().await;
    // Somebody who knows how it works writes the last entry anew, with all that depends on it.
    let export = owner.get(&format!("/control/v1/workspaces/{workspace}/audit/export")).await;
    let last = String::from_utf8(export.body.to_vec()).unwrap().lines().last().unwrap().to_owned();
    let mut line: Value = serde_json::from_str(&last).unwrap();
    line["actorEmail"] = json!("somebody.else@example.com");
    let forged = hash_of(&line);
    let mut tx = app.write().await;
    let update =
        "update audit_entries set actor_email = $1, hash = $2 where chain = $3 and sequence = 8";
    let email = "somebody.else@example.com";
    execute!(tx, sqlx::query(update).bind(email).bind(&forged).bind(&workspace)).unwrap();
    let update = "update audit_heads set hash = $1 where chain = $2";
    execute!(tx, sqlx::query(update).bind(&forged).bind(&workspace)).unwrap();
    tx.commit().await.unwrap();
    let problems = verify(&app).await.problems;
    assert_eq!(
        problems,
        [format!("{workspace}, entry 8: its hash is not the one that was sealed at the time")]
    );
}

#[tokio::test]
async fn parallel_changes_make_one_chain() {
    let app = TestApp::new().await;
    let (owner, workspace) = eventful(&app).await;
    let path = format!("/control/v1/workspaces/{workspace}");
    let changes = (0..40).map(|n| {
        let (owner, path) = (owner.clone(), path.clone());
        async move { owner.patch(&path, json!({ "name": format!("{n}") })).await.is(200) }
    });
    futures_util::future::join_all(changes).await;
    let report = verify(&app).await;
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(owner.get(&format!("{path}/audit")).await.json(200)["total"], 48);
}
