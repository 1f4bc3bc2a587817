//! Which events reach whom, and what they say.

use authsome_control_plane::actor::Role;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Scene;
use crate::support::{Received, fields, text};

fn of(received: &[Received], event: &str) -> Value {
    let found = received.iter().find(|it| it.event() == event);
    found.unwrap_or_else(|| panic!("no {event} in {received:?}")).json()
}

/// Lets the application be restored, which provisions it anew.
async fn provision_again(scene: &Scene) {
    let path = format!("/control/v1/applications/{}", scene.application());
    scene.owner.delete(&path).await.is(204);
    scene.owner.post(&format!("{path}/restore"), json!({})).await.is(200);
    scene.app.run_due().await;
}

#[tokio::test]
async fn application_events_say_what_the_contract_has() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["application.*"])).await;
    provision_again(&scene).await;
    scene.app.deliver().await;
    let received = receiver.received();
    let (id, workspace) = (scene.application(), &scene.workspace);
    assert_eq!(
        of(&received, "application.provisioned"),
        json!({
            "event": "application.provisioned",
            "timestamp": "2026-03-10T12:00:00Z",
            "data": {
                "applicationId": id, "workspaceId": workspace, "status": "active",
                "publicKey": scene.application["publicKey"],
                "apiUrl": format!("https://api.example.com/v1/{id}"),
            },
        })
    );
    let deleted = of(&received, "application.deleted");
    assert_eq!(deleted["data"]["status"], "deleted");
    assert_eq!(deleted["data"]["purgeAt"], "2026-03-17T12:00:00Z");
    assert_eq!(of(&received, "application.restored")["data"]["status"], "provisioning");
    assert_eq!(received.len(), 3);
    receiver.forget();

    let path = format!("/control/v1/applications/{id}");
    scene.owner.patch(&path, json!({ "name": "Renamed" })).await.is(200);
    scene.owner.patch(&path, json!({ "config": { "maxBodyBytes": 5 } })).await.is(200);
    scene.app.deliver().await;
    assert_eq!(receiver.events(), ["application.updated", "application.updated"]);
    assert_eq!(receiver.received()[0].json()["data"]["name"], "Renamed");
}

#[tokio::test]
async fn a_failed_provisioning_says_why_and_after_how_many_attempts() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["application.failed"])).await;
    let path = format!("/control/v1/applications/{}", scene.application());
    let change = json!({ "config": { "upstream": { "urls": ["http://127.0.0.1:9"] } } });
    scene.owner.patch(&path, change).await.is(200);
    scene.owner.delete(&path).await.is(204);
    scene.owner.post(&format!("{path}/restore"), json!({})).await.is(200);
    for _ in 0..3 {
        scene.app.run_due().await;
        scene.app.advance(TimeDelta::minutes(1));
    }
    scene.app.deliver().await;
    let failed = receiver.only().json();
    assert_eq!(fields(&failed), ["data", "event", "timestamp"]);
    assert_eq!(fields(&failed["data"]), ["applicationId", "error", "retryCount"]);
    assert_eq!(failed["data"]["retryCount"], 3);
    assert!(text(&failed["data"]["error"]).contains("127.0.0.1:9"), "{failed}");
}

#[tokio::test]
async fn key_events_never_hold_the_key() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["key.*"])).await;
    let path = format!("/control/v1/applications/{}/keys", scene.application());
    let first = scene.owner.key(&scene.application()).await;
    let rotate = format!("{path}/{}/rotate", text(&first["id"]));
    let second = scene.owner.post(&rotate, json!({ "overlap": "1h" })).await.json(201);
    scene.owner.delete(&format!("{path}/{}", text(&second["id"]))).await.is(204);
    scene.app.deliver().await;
    let received = receiver.received();
    let created = of(&received, "key.created");
    assert_eq!(created["data"]["keyId"], first["id"]);
    assert_eq!(created["data"]["applicationId"], scene.application());
    let rotated = of(&received, "key.rotated");
    assert_eq!(
        (&rotated["data"]["keyId"], &rotated["data"]["replaces"]),
        (&second["id"], &first["id"])
    );
    assert_eq!(rotated["data"]["replacedExpiresAt"], "2026-03-10T13:00:00Z");
    assert_eq!(of(&received, "key.revoked")["data"]["keyId"], second["id"]);
    assert_eq!(received.len(), 3);
    for key in [&first, &second] {
        let key = text(&key["key"]);
        assert!(received.iter().all(|it| !String::from_utf8_lossy(&it.body).contains(&key)));
    }
}

#[tokio::test]
async fn member_events_reach_every_application_of_the_workspace() {
    let scene = Scene::new().await;
    let (one, _) = scene.receiver(json!(["member.*"])).await;
    let other = scene.owner.application(&scene.workspace, json!({})).await;
    let deleted = scene.owner.application(&scene.workspace, json!({})).await;
    let foreign = scene.owner.application(&scene.owner.workspace("pro").await, json!({})).await;
    scene.app.run_due().await;
    let mut receivers = vec![one];
    for application in [&other, &deleted, &foreign] {
        let receiver = crate::support::Receiver::start().await;
        let path = format!("/control/v1/applications/{}/webhooks", text(&application["id"]));
        let body = json!({ "url": receiver.url(), "events": ["member.*"] });
        scene.owner.post(&path, body).await.is(201);
        receivers.push(receiver);
    }
    let path = format!("/control/v1/applications/{}", text(&deleted["id"]));
    scene.owner.delete(&path).await.is(204);

    let guest = scene.app.sign_up("guest").await;
    let members = format!("/control/v1/workspaces/{}/members", scene.workspace);
    let body = json!({ "email": guest.email(), "role": "viewer" });
    let member = scene.owner.post(&members, body).await.json(201);
    scene.app.run_due().await;
    let body = json!({ "token": scene.app.invitation() });
    guest.post("/control/v1/invitations/accept", body).await.is(200);
    let path = format!("{members}/{}", text(&member["id"]));
    scene.owner.patch(&path, json!({ "role": "billing" })).await.is(200);
    scene.owner.patch(&path, json!({ "role": "billing" })).await.is(200);
    scene.owner.delete(&path).await.is(204);
    scene.app.deliver().await;

    for receiver in &receivers[..2] {
        let received = receiver.received();
        assert_eq!(received.len(), 4, "{:?}", receiver.events());
        let invited = of(&received, "member.invited");
        assert_eq!(invited["data"]["email"], guest.email());
        assert_eq!(invited["data"]["workspaceId"], scene.workspace);
        assert_eq!(of(&received, "member.joined")["data"]["userId"], guest.id());
        let changed = of(&received, "member.role_changed");
        let roles = (&changed["data"]["previousRole"], &changed["data"]["role"]);
        assert_eq!(roles, (&json!("viewer"), &json!("billing")));
        assert_eq!(of(&received, "member.removed")["data"]["memberId"], member["id"]);
    }
    for receiver in &receivers[2..] {
        assert!(receiver.received().is_empty(), "of a deleted application, or another workspace");
    }
}

#[tokio::test]
async fn an_event_reaches_those_who_subscribed_to_it_and_its_application_only() {
    let scene = Scene::new().await;
    let (all, _) = scene.receiver(json!(["*"])).await;
    let (keys, _) = scene.receiver(json!(["key.created", "member.joined"])).await;
    let (none, _) = scene.receiver(json!(["invoice.*", "key.revoked"])).await;
    scene.owner.key(&scene.application()).await;
    let other = scene.owner.application(&scene.workspace, json!({})).await;
    scene.app.run_due().await;
    scene.owner.key(&text(&other["id"])).await;
    scene.app.deliver().await;
    assert_eq!(all.events(), ["key.created"]);
    assert_eq!(keys.events(), ["key.created"]);
    assert!(none.received().is_empty());
    assert_eq!(all.only().header("webhook-id"), keys.only().header("webhook-id"));
}

#[tokio::test]
async fn a_refused_change_tells_nobody() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["*"])).await;
    let viewer = scene.app.sign_up("viewer").await;
    scene.app.add_member(&scene.workspace, &viewer, Role::Viewer).await;
    let path = format!("/control/v1/applications/{}/keys", scene.application());
    viewer.post(&path, json!({ "name": "A", "type": "secret" })).await.error(403, "forbidden");
    scene.owner.post(&path, json!({ "name": "", "type": "secret" })).await.assert_invalid("name");
    assert_eq!(scene.app.deliver().await, 0);
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_restart_is_told_once_it_has_ended() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["application.*"])).await;
    let path = format!("/control/v1/applications/{}/restart", scene.application());
    scene.owner.post(&path, json!({})).await.is(202);
    assert_eq!(scene.app.deliver().await, 0);
    scene.app.run_due().await;
    scene.app.deliver().await;
    let restarted = receiver.only().json();
    assert_eq!(restarted["event"], "application.restarted");
    assert_eq!(restarted["data"]["status"], "active");
}

#[tokio::test]
async fn a_handed_over_workspace_tells_both_new_roles() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["member.role_changed"])).await;
    let heir = scene.app.sign_up("heir").await;
    let member = scene.app.add_member(&scene.workspace, &heir, Role::Viewer).await;
    let path = format!("/control/v1/workspaces/{}/transfer-ownership", scene.workspace);
    scene.owner.post(&path, json!({ "memberId": member })).await.is(200);
    scene.app.deliver().await;
    let mut roles: Vec<String> =
        receiver.received().iter().map(|it| text(&it.json()["data"]["role"])).collect();
    roles.sort();
    assert_eq!(roles, ["admin", "owner"]);
}
