//! `/workspaces/{id}/payment-method`, its setup intents, and the billing portal.

use axum::http::{Method, header};
use serde_json::{Value, json};
use stripe_stand_in::{Fault, Kind};

use crate::support::{Collecting, TestApp, text, within};

fn path(workspace: &str) -> String {
    format!("/control/v1/workspaces/{workspace}/payment-method")
}

const VISA: &str = "pm_card_visa";

#[tokio::test]
async fn a_card_is_set_shown_and_removed() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    let path = path(&workspace);
    assert_eq!(owner.get(&path).await.json(200), json!({ "paymentMethod": null }));
    let expected = json!({ "paymentMethod": {
        "type": "card",
        "card": { "brand": "visa", "last4": "4242", "expMonth": 12, "expYear": 2034 },
    } });
    assert_eq!(it.pay_with(&owner, &workspace, VISA).await.json(200), expected);
    assert_eq!(owner.get(&path).await.json(200), expected);
    let customer = it.only("customer");
    assert_eq!(customer["name"], "Acme Corporation");
    assert_eq!(customer["email"], "owner@example.com");
    assert_eq!(customer["metadata"]["authsome_workspace"], workspace.as_str());
    let method = &customer["invoice_settings"]["default_payment_method"];
    assert!(text(method).starts_with("pm_"), "invoices are paid with it: {customer}");

    within(owner.delete(&path)).await.is(204);
    assert_eq!(owner.get(&path).await.json(200), json!({ "paymentMethod": null }));
    assert_eq!(it.only("payment_method")["customer"], Value::Null, "Stripe has it no more");
    within(owner.delete(&path)).await.is(204);
    it.tell().await;
    assert_eq!(owner.get(&path).await.json(200), json!({ "paymentMethod": null }));
}

#[tokio::test]
async fn another_card_takes_the_place_of_the_one_before() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    let second = it.pay_with(&owner, &workspace, "pm_card_mastercard").await.json(200);
    assert_eq!(second["paymentMethod"]["card"]["brand"], "mastercard");
    it.only("customer");
    let attached: Vec<Value> = it.stripe.objects("payment_method");
    let customers: Vec<bool> = attached.iter().map(|it| it["customer"].is_string()).collect();
    assert_eq!(customers, [false, true], "only the new one is still at Stripe");
    it.tell().await;
    assert_eq!(owner.get(&path(&workspace)).await.json(200), second);
}

#[tokio::test]
async fn a_declined_card_is_402_in_the_issuers_words_and_changes_nothing() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    let set = it.pay_with(&owner, &workspace, VISA).await.json(200);
    let declined = it.pay_with(&owner, &workspace, "pm_card_chargeDeclined").await;
    let error = declined.error(402, "card_declined");
    assert_eq!(error["message"], "Your card was declined.");
    assert_eq!(error["details"]["reason"], "generic_decline");
    assert_eq!(owner.get(&path(&workspace)).await.json(200), set);
    // Asked again, Stripe is asked again: a refusal is not kept for a day.
    it.pay_with(&owner, &workspace, "pm_card_chargeDeclined").await.error(402, "card_declined");
}

#[tokio::test]
async fn an_id_that_stripe_does_not_know_names_the_field() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    for id in ["pm_nowhere", "card_1", "pm_1/../../customers", ""] {
        it.pay_with(&owner, &workspace, id).await.assert_invalid("stripePaymentMethodId");
    }
    let body = json!({ "stripePaymentMethodId": VISA, "colour": "red" });
    owner.post(&path(&workspace), body).await.assert_invalid("colour");
    owner.post(&path(&workspace), json!({})).await.assert_invalid("stripePaymentMethodId");
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_one_customer_and_one_card() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    for of in ["POST /v1/customers", "POST /v1/payment_methods/*/attach", "POST /v1/customers/*"] {
        it.stripe.fail(Fault::once(of, Kind::Lost));
    }
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    it.only("customer");
    it.only("payment_method");
}

#[tokio::test]
async fn a_customer_whose_answer_was_lost_a_day_ago_is_found_again() {
    let it = Collecting::with(|config| config.identity.access_token_seconds = 1_000_000).await;
    let (owner, workspace) = it.owner().await;
    // Others of the same account, over more than a page.
    for n in 0..120 {
        it.stripe.call("POST", "customers", &json!({ "name": format!("Somebody {n}") }));
    }
    let times = 3;
    it.stripe.fail(Fault { times, ..Fault::once("POST /v1/customers", Kind::Lost) });
    it.pay_with(&owner, &workspace, VISA).await.error(503, "service_unavailable");
    for n in 0..120 {
        it.stripe.call("POST", "customers", &json!({ "name": format!("Somebody else {n}") }));
    }
    it.app.advance(chrono::TimeDelta::hours(30));
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    let ours = it.stripe.objects("customer").into_iter();
    let ours = ours.filter(|it| it["metadata"]["authsome_workspace"] == workspace.as_str());
    assert_eq!(ours.count(), 1, "Stripe had forgotten the key by then");
}

#[tokio::test]
async fn a_failure_of_stripes_that_stays_under_the_key_is_got_over() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    for kind in [Kind::StatusAfter(500), Kind::Status(500)] {
        it.stripe.fail(Fault::once("POST /v1/customers", kind));
        let workspace = owner.workspace("pro").await;
        it.pay_with(&owner, &workspace, VISA).await.error(503, "service_unavailable");
        it.pay_with(&owner, &workspace, VISA).await.is(200);
    }
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    assert_eq!(it.stripe.objects("customer").len(), 3, "one for each workspace");
}

#[tokio::test]
async fn too_many_requests_are_waited_out() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    it.stripe.fail(Fault { times: 2, ..Fault::once("POST /v1/customers", Kind::Status(429)) });
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    it.only("customer");
}

#[tokio::test]
async fn an_outage_is_503_and_loses_nothing() {
    let it = Collecting::with(|config| config.billing.stripe.timeout_seconds = 1).await;
    let (owner, workspace) = it.owner().await;
    let set = it.pay_with(&owner, &workspace, VISA).await.json(200);
    for kind in [Kind::Status(503), Kind::Cut, Kind::HangBefore] {
        it.stripe.fail(Fault::outage(kind));
        let refused = it.pay_with(&owner, &workspace, "pm_card_mastercard").await;
        refused.error(503, "service_unavailable");
        within(owner.delete(&path(&workspace))).await.error(503, "service_unavailable");
        assert_eq!(owner.get(&path(&workspace)).await.json(200), set);
        it.stripe.recover();
    }
}

#[tokio::test]
async fn a_customer_that_was_deleted_at_stripe_is_made_anew() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    let first = text(&it.only("customer")["id"]);
    it.stripe.call("DELETE", &format!("customers/{first}"), &json!({}));
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    let customers = it.stripe.objects("customer");
    assert_eq!(customers.len(), 2, "{customers:?}");
}

#[tokio::test]
async fn a_request_sent_again_with_its_key_has_one_answer() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    let send = async || {
        let request = owner
            .request(Method::POST, &path(&workspace))
            .header("idempotency-key", "one")
            .header(header::CONTENT_TYPE, "application/json");
        let body = json!({ "stripePaymentMethodId": VISA }).to_string();
        within(owner.send(request.body(body.into()).unwrap())).await
    };
    let first = send().await;
    first.is(200);
    let again = send().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    it.only("payment_method");
}

#[tokio::test]
async fn a_setup_intent_ends_as_the_payment_method() {
    let it = Collecting::with(|config| {
        config.billing.stripe.publishable_key = "pk_test_shown".into();
    })
    .await;
    let (owner, workspace) = it.owner().await;
    let path = format!("{}/setup-intent", path(&workspace));
    let made = within(owner.post(&path, json!({}))).await.json(201);
    assert!(text(&made["clientSecret"]).starts_with(&text(&made["setupIntentId"])), "{made}");
    assert_eq!(made["publishableKey"], "pk_test_shown");
    // What the browser does.
    let confirm = format!("setup_intents/{}/confirm", text(&made["setupIntentId"]));
    let params = json!({ "payment_method": "pm_card_amex" });
    let confirmed = it.stripe.call("POST", &confirm, &params);
    let method = text(&confirmed["payment_method"]);
    let set = it.pay_with(&owner, &workspace, &method).await.json(200);
    assert_eq!(set["paymentMethod"]["card"]["brand"], "amex");
    assert!(!it.app.dump().await.contains(&text(&made["clientSecret"])), "it is in the database");
}

#[tokio::test]
async fn the_portals_way_back_leads_to_our_own_pages_only() {
    let it = Collecting::with(|config| {
        config.platform.dashboard_url = "https://dashboard.example.com/app".into();
        config.api.allowed_origins = vec!["https://app.example.com".into()];
    })
    .await;
    let (owner, workspace) = it.owner().await;
    let path = format!("/control/v1/workspaces/{workspace}/billing-portal");
    let opened = within(owner.post(&path, json!({}))).await.json(201);
    assert!(text(&opened["url"]).starts_with("https://billing.stripe.com/"), "{opened}");
    for own in ["https://dashboard.example.com/x?y=z", "https://app.example.com/billing"] {
        within(owner.post(&path, json!({ "returnUrl": own }))).await.is(201);
    }
    let sent = it.stripe.requests();
    let sent: Vec<&Value> = sent
        .iter()
        .filter(|it| it.path.ends_with("/sessions"))
        .map(|it| &it.params["return_url"])
        .collect();
    let usual = format!("https://dashboard.example.com/app/workspace/{workspace}");
    assert_eq!(
        sent,
        [&usual, "https://dashboard.example.com/x?y=z", "https://app.example.com/billing"]
    );
    for foreign in [
        "https://evil.example.com/",
        "https://dashboard.example.com.evil.com/",
        "https://dashboard.example.com@evil.com/",
        "http://dashboard.example.com/",
        "javascript:alert(1)",
        "/billing",
        "",
    ] {
        let refused = within(owner.post(&path, json!({ "returnUrl": foreign }))).await;
        refused.assert_invalid("returnUrl");
    }
}

#[tokio::test]
async fn without_a_key_of_stripes_every_operation_says_so() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    let path = path(&workspace);
    let body = json!({ "stripePaymentMethodId": VISA });
    owner.post(&path, body).await.error(501, "payments_not_configured");
    owner.get(&path).await.error(501, "payments_not_configured");
    owner.delete(&path).await.error(501, "payments_not_configured");
    let setup = format!("{path}/setup-intent");
    owner.post(&setup, json!({})).await.error(501, "payments_not_configured");
    let portal = format!("/control/v1/workspaces/{workspace}/billing-portal");
    owner.post(&portal, json!({})).await.error(501, "payments_not_configured");
    let webhooks = "/control/v1/webhooks/stripe";
    app.anonymous().post(webhooks, json!({})).await.error(501, "payments_not_configured");
}

#[tokio::test]
async fn the_secret_key_is_in_no_answer_and_not_in_the_database() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    it.stripe.fail(Fault::once("POST /v1/customers", Kind::Status(500)));
    let refused = it.pay_with(&owner, &workspace, VISA).await;
    assert!(!refused.to_string().contains("sk_test"), "{refused}");
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    it.tell().await;
    assert!(!it.app.dump().await.contains("sk_test"));
    assert!(!format!("{:?}", it.app.app).contains("sk_test"));
}

#[tokio::test]
async fn every_change_has_its_audit_entry() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    it.pay_with(&owner, &workspace, VISA).await.is(200);
    within(owner.post(&format!("{}/setup-intent", path(&workspace)), json!({}))).await.is(201);
    let portal = format!("/control/v1/workspaces/{workspace}/billing-portal");
    within(owner.post(&portal, json!({}))).await.is(201);
    within(owner.delete(&path(&workspace))).await.is(204);
    let log = owner.get(&format!("/control/v1/workspaces/{workspace}/audit")).await.json(200);
    let actions: Vec<&str> = log["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .filter(|action| !action.starts_with("workspace"))
        .collect();
    assert_eq!(
        actions,
        [
            "payment_method.removed",
            "billing_portal.opened",
            "setup_intent.created",
            "payment_method.set"
        ]
    );
    it.tell().await;
}
