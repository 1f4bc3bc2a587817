//! Stripe, the collector: the stand-in that other tests rest on, judged by Stripe's own library; and
//! the platform against it and against somebody else's stand-in, with real webhooks.

use std::path::Path;
use std::time::Duration;

use authsome_e2e::api::Api;
use authsome_e2e::clients::{self, LocalStripe, json_from};
use authsome_e2e::control_plane::ControlPlane;
use authsome_e2e::split::free_port;
use authsome_e2e::{api, wait};
use authsome_shared::clock::Clock;
use serde_json::{Value, json};
use stripe_stand_in::{Manner, SECRET_KEY, StandIn, VERSION};

const SOON: Duration = Duration::from_secs(30);
const WITNESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/stripe_witness.py");

#[tokio::test(flavor = "multi_thread")]
async fn stripes_own_library_takes_the_stand_in_for_stripe() {
    let Some(python) = clients::python_with_stripe() else { return };
    assert!(Path::new(WITNESS).is_file());
    let stripe = StandIn::start(Clock::system()).await.expect("a port");
    let said =
        tokio::task::block_in_place(|| json_from(&python, &[WITNESS, &stripe.url(), SECRET_KEY]));
    assert_eq!(said["version"], VERSION, "the version that we pin is the library's");
    eprintln!("{said}");
}

/// A control plane at a URL that collects by the Stripe at another.
async fn collecting(own: &str, url: &str, key: &str, secret: &str) -> ControlPlane {
    let settings = vec![
        ("BILLING__STRIPE__API_URL".into(), url.into()),
        ("BILLING__STRIPE__SECRET_KEY".into(), key.into()),
        ("BILLING__STRIPE__WEBHOOK_SECRET".into(), secret.into()),
    ];
    ControlPlane::start_at(own, settings).await
}

/// Where a control plane is going to be, and where it takes Stripe's webhooks.
fn place() -> (String, String) {
    let own = format!("http://127.0.0.1:{}", free_port());
    let webhooks = format!("{own}/control/v1/webhooks/stripe");
    (own, webhooks)
}

/// A user with a workspace; the path of its payment method.
async fn payer(control: &ControlPlane) -> (Api, String) {
    let api = Api::register(&control.urls).await;
    let workspace = api.workspace("pro").await;
    (api, format!("/control/v1/workspaces/{workspace}/payment-method"))
}

async fn card(api: &Api, path: &str) -> Value {
    api.get(path).await.expect(200).body["paymentMethod"]["card"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bank_changes_reaches_the_platform_by_webhook() {
    let stripe = StandIn::start(Clock::system()).await.expect("a port");
    let (own, webhooks) = place();
    let secret = stripe.listen(&webhooks);
    let mut control = collecting(&own, &stripe.url(), SECRET_KEY, &secret).await;
    let (api, path) = payer(&control).await;
    let set = json!({ "stripePaymentMethodId": "pm_card_visa" });
    let answer = api.post(&path, set).await.expect(200);
    assert_eq!(answer.text("/paymentMethod/card/last4"), "4242");
    let method = stripe.objects("payment_method")[0]["id"].as_str().expect("an id").to_owned();
    // Twice each.
    stripe.send_webhooks(Manner { duplicates: 1, ..Manner::default() });
    stripe.replace_card(&method, "1881", 2039);
    wait::gently("the new card is shown", SOON, async || {
        (card(&api, &path).await["last4"] == "1881").then_some(())
    })
    .await;

    // While nobody is there, Stripe keeps what it has to tell.
    control.process.kill_9();
    stripe.replace_card(&method, "0005", 2040);
    control.restart().await;
    wait::gently("the newest card is shown", SOON, async || {
        (card(&api, &path).await["last4"] == "0005").then_some(())
    })
    .await;
    api.delete(&path).await.expect(204);
    assert!(card(&api, &path).await.is_null());
    assert!(!control.process.stderr().contains(SECRET_KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_set_followed_and_removed_at_localstripe() {
    let Some(stripe) = LocalStripe::start().await else { return };
    let (own, hook) = place();
    let control = collecting(&own, &stripe.url, "sk_test_local", "whsec_local").await;
    let config = json!({ "url": hook, "secret": "whsec_local" });
    let request = api::http_client().post(format!("{}/_config/webhooks/ours", stripe.url));
    let told = request.json(&config).send().await.expect("an answer");
    assert!(told.status().is_success(), "{told:?}");

    let (api, path) = payer(&control).await;
    let set = json!({ "stripePaymentMethodId": "pm_card_visa" });
    let answer = api.post(&path, set).await.expect(200);
    assert_eq!(answer.text("/paymentMethod/card/brand"), "visa");
    let declined = json!({ "stripePaymentMethodId": "pm_card_visa_chargeDeclined" });
    let refused = api.post(&path, declined).await.expect(402);
    assert_eq!(refused.code(), "card_declined");
    let unknown = json!({ "stripePaymentMethodId": "pm_none" });
    api.post(&path, unknown).await.expect(400);
    let intent = api.post(&format!("{path}/setup-intent"), json!({})).await.expect(201);
    assert!(intent.text("/clientSecret").contains("_secret_"));

    // Somebody changes it at Stripe; its own webhook, signed its own way, brings us to look.
    let customers = api::http_client()
        .get(format!("{}/v1/customers", stripe.url))
        .bearer_auth("sk_test_local")
        .send()
        .await
        .expect("an answer");
    let customers: Value = customers.json().await.expect("JSON");
    let customer = customers["data"][0]["id"].as_str().expect("a customer").to_owned();
    let path_of = "/v1/payment_methods/pm_card_chargeCustomerFail/attach";
    let method = stripe.post(path_of, &format!("customer={customer}")).await;
    let form = format!(
        "invoice_settings[default_payment_method]={}",
        method["id"].as_str().expect("an id")
    );
    stripe.post(&format!("/v1/customers/{customer}"), &form).await;
    wait::gently("the other card is shown", SOON, async || {
        (card(&api, &path).await["last4"] == "0341").then_some(())
    })
    .await;
    api.delete(&path).await.expect(204);
    assert!(card(&api, &path).await.is_null());
}
