//! `/control/v1/applications/{applicationId}/webhooks`, and what comes out of them.

mod crash;
mod create;
mod deliveries;
mod delivery;
mod disable;
mod events;
mod fairness;
mod guard;
mod list;
mod replay;
mod rotate;
mod test_event;
mod threshold;
mod update;

use authsome_control_plane::config::Config;
use serde_json::{Value, json};

use crate::support::{Client, Receiver, TestApp, text};

/// Endpoints of this machine may be sent to.
fn loopback(config: &mut Config) {
    config.egress.allow = Some(vec!["127.0.0.0/8".parse().unwrap()]);
    config.webhooks.timeout_seconds = 5;
    // Days pass here.
    config.identity.access_token_seconds = 60 * 86_400;
    config.identity.refresh_token_days = 60;
}

/// An owner and an active application, of which nothing is left to be sent.
struct Scene {
    app: TestApp,
    owner: Client,
    workspace: String,
    application: Value,
    /// Of the application's webhooks.
    path: String,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let app = TestApp::with(|config| {
            loopback(config);
            change(config);
        })
        .await;
        let owner = app.sign_up("owner").await;
        let workspace = owner.workspace("pro").await;
        let application = owner.application(&workspace, json!({})).await;
        app.run_due().await;
        app.deliver().await;
        let path = format!("/control/v1/applications/{}/webhooks", text(&application["id"]));
        Self { app, owner, workspace, application, path }
    }

    fn application(&self) -> String {
        text(&self.application["id"])
    }

    /// A new webhook; the whole answer.
    async fn webhook(&self, url: &str, events: Value) -> Value {
        self.owner.post(&self.path, json!({ "url": url, "events": events })).await.json(201)
    }

    /// A receiver with a webhook of its own, and the webhook's path.
    async fn receiver(&self, events: Value) -> (Receiver, String) {
        let receiver = Receiver::start().await;
        let webhook = self.webhook(&receiver.url(), events).await;
        (receiver, format!("{}/{}", self.path, text(&webhook["id"])))
    }

    /// Sends a test event to the webhook; the delivery's path.
    async fn test(&self, hook: &str) -> String {
        let delivery = self.owner.post(&format!("{hook}/test"), json!({})).await.json(202);
        format!("{hook}/deliveries/{}", text(&delivery["id"]))
    }
}
