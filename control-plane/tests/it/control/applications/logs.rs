use authsome_control_plane::actor::Role;
use authsome_shared::id::LogId;
use authsome_shared::log::{Level, LogBatch, LogLine};
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::support::{Client, FakeProxy, TestApp, Upstream, text};

async fn logs(client: &Client, application: &Value, query: &str) -> Value {
    let path = format!("/control/v1/applications/{}/logs{query}", text(&application["id"]));
    client.get(&path).await.json(200)
}

/// The messages with their levels, in order.
fn told(logs: &Value) -> Vec<(String, String)> {
    let lines = logs["logs"].as_array().unwrap();
    lines.iter().map(|line| (text(&line["level"]), text(&line["message"]))).collect()
}

/// Ships lines of a level, a second apart, until now.
async fn ship(app: &TestApp, application: &Value, level: Level, count: i64) {
    let lines = (0..count).map(|n| LogLine {
        application: text(&application["id"]).parse().unwrap(),
        at: (app.now() - TimeDelta::seconds(count - 1 - n)).timestamp_micros(),
        level,
        message: format!("line {n}"),
        fields: Map::new(),
    });
    let proxy = FakeProxy::new(app);
    let batch = LogBatch { id: LogId::new(), node: proxy.id.clone(), lines: lines.collect() };
    proxy.log(&batch).await.is(204);
}

#[tokio::test]
async fn its_owner_reads_the_whole_life_of_an_application() {
    let app = TestApp::with(|config| {
        config.egress.allow = Some(vec!["127.0.0.0/8".parse().unwrap()]);
        config.identity.access_token_seconds = 86_400;
    })
    .await;
    let owner = app.sign_up("owner").await;
    let api = Upstream::start(500).await;
    let config = json!({ "upstream": { "urls": [api.url()], "healthCheck": {} } });
    let application = owner.application(&owner.workspace("pro").await, config).await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let later = async || {
        app.advance(TimeDelta::minutes(1));
        app.run_due().await;
    };
    later().await;
    later().await;
    later().await;
    api.answer(200);
    app.advance(TimeDelta::minutes(1));
    let change = json!({ "name": "New", "config": { "session": { "timeout": "14d" } } });
    owner.patch(&path, change).await.is(200);
    later().await;
    let key = owner.key(&text(&application["id"])).await;
    app.advance(TimeDelta::minutes(1));
    let rotate = format!("{path}/keys/{}/rotate", text(&key["id"]));
    let next = owner.post(&rotate, json!({ "overlap": "1h" })).await.json(201);
    app.advance(TimeDelta::minutes(1));
    owner.delete(&format!("{path}/keys/{}", text(&next["id"]))).await.is(204);
    app.advance(TimeDelta::minutes(1));
    owner.post(&format!("{path}/restart"), json!({})).await.is(202);
    later().await;
    app.advance(TimeDelta::minutes(1));
    owner.delete(&path).await.is(204);
    app.advance(TimeDelta::minutes(1));
    owner.post(&format!("{path}/restore"), json!({})).await.is(200);
    later().await;

    let whole = logs(&owner, &application, "").await;
    let told = told(&whole);
    let reason = format!("{}: the health check /health answered 500", api.url());
    let expected = [
        ("warn", format!("Attempt 1 of 3 at provisioning failed: {reason}")),
        ("warn", format!("Attempt 2 of 3 at provisioning failed: {reason}")),
        ("error", format!("Provisioning failed: {reason}")),
    ];
    // Three lines of one instant come first, in any order.
    let mut first: Vec<&str> = told[..3].iter().map(|(_, message)| message.as_str()).collect();
    first.sort_unstable();
    let created = "The application was created; it is being provisioned";
    assert_eq!(first, ["A key was created", "A key was created", created]);
    for (found, (level, message)) in told[3..6].iter().zip(expected) {
        assert_eq!(found, &(level.to_owned(), message));
    }
    let mut changed: Vec<&str> = told[6..8].iter().map(|(_, message)| message.as_str()).collect();
    changed.sort_unstable();
    let anew = "The application is being provisioned anew";
    assert_eq!(changed, [anew, "The settings were changed"]);
    let mut active: Vec<&str> = told[8..10].iter().map(|(_, message)| message.as_str()).collect();
    active.sort_unstable();
    assert_eq!(active, ["A key was created", "The application is active"]);
    let rest: Vec<&str> = told[10..].iter().map(|(_, message)| message.as_str()).collect();
    let restorable = rest[4];
    assert!(restorable.starts_with("The application was deleted; it can be restored until 2026-"));
    assert_eq!(
        rest,
        [
            "A key was rotated",
            "A key was revoked",
            "The application is restarting",
            "The application has restarted",
            restorable,
            "The application was restored; it is being provisioned",
            "The application is active",
        ]
    );
    let lines = whole["logs"].as_array().unwrap();
    let of = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap();
    let fields = &of("The settings were changed")["fields"];
    assert_eq!(fields, &json!({ "changed": ["name", "config.session.timeout"] }));
    let fields = &of("A key was rotated")["fields"];
    assert_eq!((&fields["key"], &fields["replaces"]), (&next["id"], &key["id"]));
    assert_eq!(of("The application is restarting")["fields"]["before"], "active");
    assert!(!whole.to_string().contains("sk_live_"), "{whole}");
    let total = whole["total"].as_u64().unwrap();
    assert_eq!((total, &whole["hasMore"]), (lines.len() as u64, &json!(false)));
}

#[tokio::test]
async fn the_newest_lines_come_oldest_first_and_are_cut_to_the_tail() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    app.advance(TimeDelta::minutes(10));
    ship(&app, &application, Level::Error, 150).await;

    let answer = logs(&owner, &application, "?level=error").await;
    assert_eq!((&answer["total"], &answer["hasMore"]), (&json!(150), &json!(true)));
    let lines = told(&answer);
    assert_eq!(lines.len(), 100);
    assert_eq!((lines[0].1.as_str(), lines[99].1.as_str()), ("line 50", "line 149"));
    let answer = logs(&owner, &application, "?level=error&tail=2").await;
    let two = [("error", "line 148"), ("error", "line 149")];
    assert_eq!(told(&answer), two.map(|(level, line)| (level.to_owned(), line.to_owned())));
    // Over the maximum is the maximum.
    let answer = logs(&owner, &application, "?level=error&tail=99999999999").await;
    assert_eq!((told(&answer).len(), &answer["hasMore"]), (150, &json!(false)));
    let answer = logs(&owner, &application, "?tail=0&level=error").await;
    assert_eq!(answer, json!({ "logs": [], "total": 150, "hasMore": true }));
    // Exactly that level.
    let answer = logs(&owner, &application, "?level=debug").await;
    assert_eq!(answer, json!({ "logs": [], "total": 0, "hasMore": false }));
    let answer = logs(&owner, &application, "?level=info").await;
    assert_eq!(answer["total"], 4, "created, active, two keys: {answer}");

    // The last line's own time, and one after it; also with a `+` that was not escaped.
    let now = app.now();
    for (since, count) in [
        (now.to_rfc3339().replace("+00:00", "Z"), 1),
        (now.to_rfc3339(), 1),
        (now.to_rfc3339().replace('+', "%2B"), 1),
        ((now - TimeDelta::seconds(9)).to_rfc3339().replace("+00:00", "Z"), 10),
        ((now + TimeDelta::seconds(1)).to_rfc3339().replace("+00:00", "Z"), 0),
        ("9999-12-31T23:59:59.999999999Z".into(), 0),
        ("0000-01-01T00:00:00Z".into(), 150),
    ] {
        let answer = logs(&owner, &application, &format!("?level=error&since={since}")).await;
        assert_eq!(answer["total"], count, "{since}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    app.run_due().await;
    let path = format!("/control/v1/applications/{}/logs", text(&application["id"]));
    for (query, field) in [
        ("since=yesterday", "since"),
        ("since=", "since"),
        ("since=2026-03-10", "since"),
        ("tail=-1", "tail"),
        ("tail=many", "tail"),
        ("level=loud", "level"),
        ("level=INFO", "level"),
    ] {
        owner.get(&format!("{path}?{query}")).await.assert_invalid(field);
    }
}

#[tokio::test]
async fn a_deleted_applications_log_is_read_by_who_may_restore_it() {
    let app = TestApp::new().await;
    let (owner, viewer) = (app.sign_up("owner").await, app.sign_up("viewer").await);
    let workspace = owner.workspace("pro").await;
    app.add_member(&workspace, &viewer, Role::Viewer).await;
    let application = owner.application(&workspace, json!({})).await;
    app.run_due().await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    assert_eq!(logs(&viewer, &application, "").await["total"], 4);
    owner.delete(&path).await.is(204);
    assert_eq!(logs(&owner, &application, "").await["total"], 5);
    viewer.get(&format!("{path}/logs")).await.error(404, "not_found");
}
