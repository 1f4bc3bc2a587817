//! Who may do what: every operation of the API, for every role, for a member of another workspace
//! and for nobody. A new operation fails the test until it has its row.

use authsome_control_plane::actor::Role;
use axum::http::Method;
use serde_json::{Value, json};

use super::openapi::operations;
use crate::support::{Client, PASSWORD, TestApp, text};

/// Expected statuses of owner, admin, developer, billing, viewer, a stranger, and nobody.
type Expected = [u16; 7];

const ANYBODY_SIGNED_IN: Expected = [200, 200, 200, 200, 200, 200, 401];
const MEMBERS: Expected = [200, 200, 200, 200, 200, 404, 401];

const TABLE: &[(&str, Expected)] = &[
    ("register", [201; 7]),
    ("login", [200; 7]),
    ("refresh", [200; 7]),
    ("logout", [204, 204, 204, 204, 204, 204, 401]),
    ("me", ANYBODY_SIGNED_IN),
    ("create_workspace", [201, 201, 201, 201, 201, 201, 401]),
    ("list_workspaces", ANYBODY_SIGNED_IN),
    ("get_workspace", MEMBERS),
    ("update_workspace", [200, 200, 200, 403, 403, 404, 401]),
    ("delete_workspace", [204, 403, 403, 403, 403, 404, 401]),
    // A deleted workspace exists only for those who may restore it.
    ("restore_workspace", [200, 404, 404, 404, 404, 404, 401]),
    ("invite_member", [201, 201, 403, 403, 403, 404, 401]),
    ("list_members", MEMBERS),
    ("update_member", [200, 200, 403, 403, 403, 404, 401]),
    ("remove_member", [204, 204, 403, 403, 403, 404, 401]),
    // Judged by the token, which nobody here has; `invitations::accept` has the rest.
    ("accept_invitation", [404, 404, 404, 404, 404, 404, 401]),
    ("create_application", [202, 202, 202, 403, 403, 404, 401]),
    ("list_applications", MEMBERS),
    ("get_application", MEMBERS),
    ("update_application", [200, 200, 200, 403, 403, 404, 401]),
    ("delete_application", [204, 204, 204, 403, 403, 404, 401]),
    ("restore_application", [200, 200, 200, 404, 404, 404, 401]),
    ("create_key", [201, 201, 201, 403, 403, 404, 401]),
    ("list_keys", [200, 200, 200, 403, 403, 404, 401]),
    ("revoke_key", [204, 204, 204, 403, 403, 404, 401]),
    ("rotate_key", [201, 201, 201, 403, 403, 404, 401]),
    ("get_usage", [200, 200, 200, 200, 403, 404, 401]),
    ("get_reconciliation", [200, 200, 200, 200, 403, 404, 401]),
    // For the platform's admins, whatever their workspaces.
    ("list_proxies", [403, 403, 403, 403, 403, 403, 401]),
    ("list_audit", [200, 200, 403, 403, 403, 404, 401]),
    ("export_audit", [200, 200, 403, 403, 403, 404, 401]),
    ("list_platform_audit", [403, 403, 403, 403, 403, 403, 401]),
    ("create_webhook", [201, 201, 201, 403, 403, 404, 401]),
    ("list_webhooks", MEMBERS),
    ("get_webhook", MEMBERS),
    ("update_webhook", [200, 200, 200, 403, 403, 404, 401]),
    ("delete_webhook", [204, 204, 204, 403, 403, 404, 401]),
    ("rotate_webhook_secret", [200, 200, 200, 403, 403, 404, 401]),
    ("test_webhook", [202, 202, 202, 403, 403, 404, 401]),
    ("list_deliveries", MEMBERS),
    ("get_delivery", MEMBERS),
    ("replay_delivery", [202, 202, 202, 403, 403, 404, 401]),
];

/// A fresh workspace for one request, and what stands in the operation's path.
pub struct Scene {
    workspace: String,
    application: Option<String>,
    key: Option<String>,
    member: Option<String>,
    webhook: Option<String>,
    delivery: Option<String>,
}

impl Scene {
    /// As the operation needs it before it can succeed.
    pub async fn of(
        app: &TestApp,
        owner: &Client,
        bystander: &Client,
        path: &str,
        id: &str,
    ) -> Self {
        let workspace = owner.workspace("pro").await;
        let (application, key, member, webhook, delivery) = (None, None, None, None, None);
        let mut scene = Self { workspace, application, key, member, webhook, delivery };
        if path.contains("{applicationId}") {
            let application = owner.application(&scene.workspace, json!({})).await;
            scene.application = Some(text(&application["id"]));
        }
        if path.contains("{keyId}") {
            let application = scene.application.as_ref().unwrap();
            scene.key = Some(text(&owner.key(application).await["id"]));
        }
        if path.contains("{memberId}") {
            scene.member = Some(app.add_member(&scene.workspace, bystander, Role::Viewer).await);
        }
        if path.contains("{webhookId}") {
            let application = scene.application.as_ref().unwrap();
            let hooks = format!("/control/v1/applications/{application}/webhooks");
            let body = json!({ "url": "https://1.1.1.1/hook" });
            let webhook = text(&owner.post(&hooks, body).await.json(201)["id"]);
            let hook = format!("{hooks}/{webhook}");
            if path.contains("{deliveryId}") {
                let delivery = owner.post(&format!("{hook}/test"), json!({})).await.json(202);
                scene.delivery = Some(text(&delivery["id"]));
                // Ends it.
                owner.patch(&hook, json!({ "enabled": false })).await.is(200);
                owner.patch(&hook, json!({ "enabled": true })).await.is(200);
            }
            scene.webhook = Some(webhook);
        }
        match id {
            "restore_workspace" => {
                let path = format!("/control/v1/workspaces/{}", scene.workspace);
                owner.delete(&path).await.is(204);
            }
            "restore_application" => {
                let application = scene.application.as_ref().unwrap();
                let path = format!("/control/v1/applications/{application}");
                owner.delete(&path).await.is(204);
            }
            _ => {}
        }
        scene
    }

    pub fn path(&self, template: &str) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        template
            .replace("{workspaceId}", &self.workspace)
            .replace("{applicationId}", &part(&self.application))
            .replace("{keyId}", &part(&self.key))
            .replace("{memberId}", &part(&self.member))
            .replace("{webhookId}", &part(&self.webhook))
            .replace("{deliveryId}", &part(&self.delivery))
    }

    async fn send(&self, caller: &Client, method: &str, template: &str, body: Value) -> u16 {
        let method: Method = method.parse().unwrap();
        caller.send_json(method, &self.path(template), &body).await.status
    }
}

/// A body that the operation accepts.
pub fn body(id: &str, n: usize, refresh_token: &str) -> Value {
    match id {
        "register" => json!({
            "email": format!("new{n}@example.com"), "password": PASSWORD, "name": "New",
        }),
        "login" => json!({ "email": "owner@example.com", "password": PASSWORD }),
        "refresh" => json!({ "refreshToken": refresh_token }),
        "create_workspace" | "update_workspace" | "create_application" | "update_application" => {
            json!({ "name": "Named" })
        }
        "invite_member" => json!({ "email": "new@example.com", "role": "viewer" }),
        "update_member" => json!({ "role": "billing" }),
        "accept_invitation" => json!({ "token": "inv_none" }),
        "create_key" => json!({ "name": "Named", "type": "secret" }),
        "create_webhook" => json!({ "url": "https://1.1.1.1/hook" }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn every_operation_is_open_to_exactly_these() {
    let app = TestApp::with(|config| config.identity.logins_per_minute = 1_000).await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let member = app.sign_up("member").await;
    let stranger = app.sign_up("stranger").await;
    let bystander = app.sign_up("bystander").await;
    stranger.workspace("pro").await;

    let operations = operations();
    for (id, _) in TABLE {
        assert!(
            operations.iter().any(|(_, _, operation)| operation["operationId"] == *id),
            "{id} is in the table and not in the API"
        );
    }
    let mut wrong = vec![];
    for (template, method, operation) in operations {
        let id = text(&operation["operationId"]);
        let Some((_, expected)) = TABLE.iter().find(|(name, _)| *name == id) else {
            panic!("{id} has no row in the access table: who may call it?");
        };
        for (n, status) in expected.iter().enumerate() {
            let scene = Scene::of(&app, &owner, &bystander, &template, &id).await;
            let role = Role::ALL.get(n).copied();
            let mut caller = match n {
                0 => owner.clone(),
                1..5 => {
                    app.add_member(&scene.workspace, &member, role.unwrap()).await;
                    member.clone()
                }
                5 => stranger.clone(),
                _ => app.anonymous(),
            };
            if id == "logout" && n < 6 || id == "refresh" {
                // A session of its own, since this one ends.
                let email = if n < 6 { caller.email() } else { "owner@example.com".into() };
                let credentials = json!({ "email": email, "password": PASSWORD });
                let path = "/control/v1/auth/login";
                let signed_in = app.anonymous().post(path, credentials).await.json(200);
                caller.be(&signed_in);
            }
            let body = body(&id, n, &caller.refresh_token);
            let answered = scene.send(&caller, &method, &template, body).await;
            if answered != *status {
                let who =
                    ["owner", "admin", "developer", "billing", "viewer", "stranger", "nobody"];
                wrong.push(format!("{id} as {}: {answered}, not {status}", who[n]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
