//! A control plane that collects by a stand-in for Stripe, both on one clock.

use authsome_control_plane::config::Config;
use authsome_shared::secret::Secret;
use axum::http::Method;
use serde_json::{Value, json};
use stripe_stand_in::{Delivery, Manner, SECRET_KEY, StandIn};

use super::app::{TestApp, within};
use super::client::{Client, Response};

pub const WEBHOOKS: &str = "/control/v1/webhooks/stripe";

pub struct Collecting {
    pub app: TestApp,
    pub stripe: StandIn,
}

impl Collecting {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings of its own. Webhooks are held until they are told.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let clock = TestApp::clock();
        let stripe = StandIn::start(clock.clone()).await.unwrap();
        stripe.send_webhooks(Manner { held: true, ..Manner::default() });
        let secret = stripe.listen("http://not.sent");
        let app = TestApp::with_clock(clock, |config| {
            config.billing.stripe.secret_key = Secret::new(SECRET_KEY.to_owned());
            config.billing.stripe.webhook_secret = Secret::new(secret);
            config.billing.stripe.api_url = stripe.url();
            change(config);
        })
        .await;
        Self { app, stripe }
    }

    /// Sends one webhook as Stripe would.
    pub async fn send(&self, delivery: &Delivery) -> Response {
        let caller = self.app.anonymous();
        let request = caller
            .request(Method::POST, WEBHOOKS)
            .header("content-type", "application/json; charset=utf-8")
            .header("stripe-signature", &delivery.signature);
        within(caller.send(request.body(delivery.body.clone().into()).unwrap())).await
    }

    /// Sends what Stripe has to tell, and has it looked at, until there is nothing more.
    pub async fn tell(&self) {
        loop {
            let deliveries = self.stripe.take_webhooks();
            for delivery in &deliveries {
                self.send(delivery).await.is(200);
            }
            if within(self.app.run_due()).await == 0 && deliveries.is_empty() {
                return;
            }
        }
    }

    /// An owner with a workspace on pro.
    pub async fn owner(&self) -> (Client, String) {
        let owner = self.app.sign_up("owner").await;
        let workspace = owner.workspace("pro").await;
        (owner, workspace)
    }

    /// Has the workspace pay with one of Stripe's test cards; the answer.
    pub async fn pay_with(&self, caller: &Client, workspace: &str, card: &str) -> Response {
        let path = format!("/control/v1/workspaces/{workspace}/payment-method");
        within(caller.post(&path, json!({ "stripePaymentMethodId": card }))).await
    }

    /// The one object of a kind that is at Stripe.
    #[track_caller]
    pub fn only(&self, kind: &str) -> Value {
        let mut objects = self.stripe.objects(kind);
        assert_eq!(objects.len(), 1, "{objects:?}");
        objects.remove(0)
    }
}
