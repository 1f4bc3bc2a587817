use authsome_shared::api_key::{self, KeyDigest, KeyMode, KeyType};
use authsome_shared::snapshot::Change;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, fields, text};

#[tokio::test]
async fn a_key_is_shown_once_and_published_by_its_digest() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let mut stream = FakeProxy::new(&app).follow().await;
    let body = json!({
        "name": "Backend Service", "type": "secret", "scopes": ["users:read", "users:write"],
        "expiresAt": "2026-11-01T00:00:00Z", "allowedIps": ["10.0.0.0/8", "1.2.3.4", "2001:db8::1"],
        "rateLimit": { "requests": 5, "windowMs": 60000 }, "quota": 1000,
        "metadata": { "team": "core" },
    });
    let path = format!("/control/v1/applications/{id}/keys");
    let answer = owner.post(&path, body).await.json(201);
    assert_eq!(
        fields(&answer),
        [
            "allowedIps",
            "createdAt",
            "expiresAt",
            "id",
            "key",
            "lastUsedAt",
            "metadata",
            "name",
            "quota",
            "rateLimit",
            "scopes",
            "type",
        ]
    );
    let key = text(&answer["key"]);
    assert_eq!(api_key::parse(&key), Some((KeyType::Secret, KeyMode::Live)));
    assert_eq!(answer["scopes"], json!(["users:read", "users:write"]));
    assert_eq!(answer["expiresAt"], "2026-11-01T00:00:00Z");
    assert_eq!(answer["allowedIps"], json!(["10.0.0.0/8", "1.2.3.4/32", "2001:db8::1/128"]));
    assert_eq!(answer["lastUsedAt"], json!(null));

    let (_, changes) = stream.delta().await;
    let [Change::Key(wire)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(wire.digest, KeyDigest::of(&key));
    assert_eq!(wire.id.as_str(), answer["id"]);
    assert_eq!(wire.bucket, wire.id);
    assert_eq!(wire.quota, Some(1000));
    assert_eq!(wire.rate_limit.map(|l| (l.requests, l.window_ms, l.burst)), Some((5, 60_000, 5)));
    assert_eq!(wire.expires_at.unwrap().to_rfc3339(), "2026-11-01T00:00:00+00:00");
    assert_eq!(wire.allowed_ips.len(), 3);
}

#[tokio::test]
async fn a_secret_key_has_every_scope_unless_told_and_a_public_one_none() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    for (body, scopes) in [
        (json!({ "name": "A", "type": "secret" }), json!(["*"])),
        (json!({ "name": "A", "type": "secret", "scopes": [] }), json!([])),
        (json!({ "name": "A", "type": "public" }), json!([])),
    ] {
        assert_eq!(owner.post(&path, body).await.json(201)["scopes"], scopes);
    }
}

#[tokio::test]
async fn refusals_name_the_field() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let revision = app.revision().await;
    let many: Vec<String> = (0..101).map(|n| format!("a:b{n}")).collect();
    for (field, value, violation) in [
        ("name", json!(""), "name"),
        ("name", json!("\u{0}"), "name"),
        ("type", json!("magic"), "type"),
        ("scopes", json!(["Users:read"]), "scopes[0]"),
        ("scopes", json!(["a:b", "all"]), "scopes[1]"),
        ("scopes", json!(many), "scopes"),
        ("scopes", json!("a:b"), "scopes"),
        ("expiresAt", json!("2026-03-10T12:00:00Z"), "expiresAt"),
        ("expiresAt", json!("2020-01-01T00:00:00Z"), "expiresAt"),
        ("expiresAt", json!("+12000-01-01T00:00:00Z"), "expiresAt"),
        ("expiresAt", json!("tomorrow"), "expiresAt"),
        ("allowedIps", json!(["nowhere"]), "allowedIps[0]"),
        ("allowedIps", json!(["10.0.0.0/33"]), "allowedIps[0]"),
        ("rateLimit", json!({ "requests": 0 }), "rateLimit.requests"),
        ("rateLimit", json!({ "requests": 1, "windowMs": 0 }), "rateLimit.windowMs"),
        ("rateLimit", json!({ "requests": 1, "burst": 0 }), "rateLimit.burst"),
        ("rateLimit", json!({ "requests": 1, "mode": "loose" }), "rateLimit.mode"),
        ("quota", json!(-1), "quota"),
        ("metadata", json!({ "a": "\u{0}" }), "metadata"),
        ("colour", json!("red"), "colour"),
    ] {
        let mut body = json!({ "name": "A", "type": "secret" });
        body[field] = value;
        owner.post(&path, body).await.assert_invalid(violation);
    }
    owner.post(&path, json!({ "name": "A" })).await.assert_invalid("type");
    let body = json!({ "name": "A", "type": "public", "scopes": ["*"] });
    owner.post(&path, body).await.assert_invalid("scopes");
    assert_eq!(app.revision().await, revision, "nothing was published");
}

#[tokio::test]
async fn times_are_kept_in_microseconds() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let id = text(&owner.application(&owner.workspace("pro").await, json!({})).await["id"]);
    app.run_due().await;
    let path = format!("/control/v1/applications/{id}/keys");
    let body = json!({
        "name": "A", "type": "secret", "expiresAt": "2027-01-01T01:00:00.123456789+01:00",
    });
    let made = owner.post(&path, body).await.json(201);
    assert_eq!(made["expiresAt"], "2027-01-01T00:00:00.123456Z");
    let list = owner.get(&path).await.json(200);
    assert_eq!(list["data"][2]["expiresAt"], made["expiresAt"]);
}
