use std::collections::BTreeSet;

use authsome_shared::api_key::KeyDigest;
use authsome_shared::snapshot::{ApplicationStatus, Change, DefaultUpstream, WorkspaceStatus};
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, text};

#[tokio::test]
async fn an_empty_platform_has_its_settings_only() {
    let app =
        TestApp::with(|config| config.egress.allow = Some(vec!["10.0.0.0/8".parse().unwrap()]))
            .await;
    let snapshot = FakeProxy::new(&app).snapshot().await;
    assert_eq!(snapshot.header.revision.cast_signed(), app.revision().await);
    let [Change::Settings(settings)] = &snapshot.changes[..] else { panic!("{snapshot:?}") };
    assert_eq!(settings.default_upstream, Some(DefaultUpstream::Echo));
    assert_eq!(settings.egress_allow, ["10.0.0.0/8".parse().unwrap()]);
    // The platform stays the same over a restart.
    app.reopen().await;
    assert_eq!(FakeProxy::new(&app).snapshot().await.header, snapshot.header);
}

#[tokio::test]
async fn it_holds_exactly_what_may_be_served() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let (kept, gone) = (owner.workspace("pro").await, owner.workspace("free").await);
    let application = owner.application(&kept, json!({ "quota": { "requests": 7 } })).await;
    let deleted = owner.application(&kept, json!({})).await;
    let suspended = owner.application(&gone, json!({})).await;
    app.run_due().await;
    let id = text(&application["id"]);
    let path = format!("/control/v1/applications/{id}/keys");
    let standing = owner.key(&id).await;
    let revoked = owner.key(&id).await;
    let rotated = owner.key(&id).await;
    let ended = owner.key(&id).await;
    let expiring = json!({ "name": "A", "type": "secret", "expiresAt": "2026-03-10T12:05:00Z" });
    let expired = owner.post(&path, expiring).await.json(201);
    owner.delete(&format!("{path}/{}", text(&revoked["id"]))).await.is(204);
    let overlap = json!({ "overlap": "1h" });
    let rotate = format!("{path}/{}/rotate", text(&rotated["id"]));
    let successor = owner.post(&rotate, overlap).await.json(201);
    let rotate = format!("{path}/{}/rotate", text(&ended["id"]));
    let replacement = owner.post(&rotate, json!({})).await.json(201);
    owner.delete(&format!("/control/v1/applications/{}", text(&deleted["id"]))).await.is(204);
    owner.delete(&format!("/control/v1/workspaces/{gone}")).await.is(204);
    app.advance(TimeDelta::minutes(5));

    let snapshot = FakeProxy::new(&app).snapshot().await;
    assert_eq!(snapshot.header.revision.cast_signed(), app.revision().await);
    assert_eq!(snapshot.quarantined, Vec::<String>::new());
    let (mut workspaces, mut applications, mut keys) = (vec![], vec![], BTreeSet::new());
    for change in snapshot.changes {
        match change {
            Change::Settings(_) => {}
            Change::Workspace(wire) => workspaces.push((wire.id.to_string(), wire.status)),
            Change::Application(wire) => {
                assert_eq!(wire.status, ApplicationStatus::Active);
                applications.push((wire.id.to_string(), wire.quota));
            }
            Change::Key(wire) => {
                keys.insert(wire.digest.to_hex());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        workspaces,
        [(kept, WorkspaceStatus::Active), (gone, WorkspaceStatus::Suspended)],
        "a deleted workspace is suspended, so that it can come back"
    );
    assert_eq!(applications, [(id, Some(7)), (text(&suspended["id"]), None)]);
    let expected: BTreeSet<String> = [
        &application["publicKey"],
        &application["secretKey"],
        &suspended["publicKey"],
        &suspended["secretKey"],
        &standing["key"],
        &rotated["key"],
        &successor["key"],
        &replacement["key"],
    ]
    .into_iter()
    .map(|key| KeyDigest::of(&text(key)).to_hex())
    .collect();
    assert_eq!(keys, expected);
    assert!(!keys.contains(&KeyDigest::of(&text(&expired["key"])).to_hex()));
}
