//! `/webhooks/stripe`: what Stripe tells, and who else can't.

use axum::http::Method;
use chrono::TimeDelta;
use serde_json::{Value, json};
use stripe_stand_in::{Delivery, Manner, sign};

use crate::support::{Client, Collecting, text};

async fn shown(owner: &Client, workspace: &str) -> Value {
    let path = format!("/control/v1/workspaces/{workspace}/payment-method");
    owner.get(&path).await.json(200)["paymentMethod"].clone()
}

#[tokio::test]
async fn a_body_that_stripe_did_not_sign_is_refused() {
    let it = Collecting::new().await;
    it.stripe.call("POST", "customers", &json!({}));
    let good = it.stripe.take_webhooks().remove(0);
    let now = it.app.now().timestamp();
    let with = |body: &str, signature: &str| Delivery {
        url: String::new(),
        body: body.to_owned(),
        signature: signature.to_owned(),
    };
    for (what, bad) in [
        ("another secret", with(&good.body, &sign("whsec_other", &good.body, now))),
        ("another body", with(&good.body.replace("cus_", "cus_x"), &good.signature)),
        ("no signature", with(&good.body, "")),
        ("nonsense", with(&good.body, "t=1,v1=2,v1")),
    ] {
        let refused = it.send(&bad).await;
        assert_eq!(refused.status, 400, "{what}");
        refused.assert_invalid("Stripe-Signature");
    }
    let caller = it.app.anonymous();
    let path = "/control/v1/webhooks/stripe";
    caller.post(path, json!({})).await.assert_invalid("Stripe-Signature");
    it.send(&good).await.is(200);
    it.app.advance(TimeDelta::seconds(301));
    it.send(&good).await.assert_invalid("Stripe-Signature");
    assert_eq!(it.app.number("select count(*) from stripe_events").await, 0);
}

#[tokio::test]
async fn a_signed_body_that_is_no_event_is_refused() {
    let it = Collecting::new().await;
    let secret = it.app.app.config.billing.stripe.webhook_secret.expose().clone();
    let now = it.app.now().timestamp();
    for body in ["", "{", "[]", "{}", r#"{"id":"evt_/..","type":"x","data":{"object":{}}}"#] {
        let signature = sign(&secret, body, now);
        let refused = it.send(&Delivery { url: String::new(), body: body.into(), signature }).await;
        refused.error(400, "invalid_request");
    }
    let body =
        r#"{"id":"evt_1","type":"balance.available","data":{"object":{"object":"balance"}}}"#;
    let signature = sign(&secret, body, now);
    it.send(&Delivery { url: String::new(), body: body.into(), signature }).await.is(200);
    assert_eq!(it.app.number("select count(*) from stripe_events").await, 0, "of no concern");
}

#[tokio::test]
async fn a_card_that_the_bank_replaces_is_shown_as_it_is_now() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    it.pay_with(&owner, &workspace, "pm_card_visa").await.is(200);
    it.tell().await;
    let method = text(&it.only("payment_method")["id"]);
    it.stripe.replace_card(&method, "1881", 2039);
    it.tell().await;
    let card = &shown(&owner, &workspace).await["card"];
    assert_eq!((&card["last4"], &card["expYear"]), (&json!("1881"), &json!(2039)));
}

#[tokio::test]
async fn what_is_changed_in_stripes_portal_is_followed_in_any_order_and_twice() {
    for manner in [
        Manner { held: true, ..Manner::default() },
        Manner { held: true, reversed: true, duplicates: 2 },
    ] {
        let it = Collecting::new().await;
        it.stripe.send_webhooks(manner);
        let (owner, workspace) = it.owner().await;
        it.pay_with(&owner, &workspace, "pm_card_visa").await.is(200);
        let customer = text(&it.only("customer")["id"]);
        let attach = json!({ "customer": customer });
        let path = "payment_methods/pm_card_amex/attach";
        let other = text(&it.stripe.call("POST", path, &attach)["id"]);
        let default = json!({ "invoice_settings": { "default_payment_method": other } });
        it.stripe.call("POST", &format!("customers/{customer}"), &default);
        it.tell().await;
        assert_eq!(shown(&owner, &workspace).await["card"]["brand"], "amex");
        let events = it.app.number("select count(*) from stripe_events").await;
        let distinct = it.app.number("select count(distinct object_id) from stripe_events").await;
        assert!(events >= distinct && distinct >= 3, "{events} {distinct}");

        it.stripe.call("POST", &format!("payment_methods/{other}/detach"), &json!({}));
        it.tell().await;
        assert_eq!(shown(&owner, &workspace).await, Value::Null);
        it.stripe.call("DELETE", &format!("customers/{customer}"), &json!({}));
        it.tell().await;
        it.pay_with(&owner, &workspace, "pm_card_visa").await.is(200);
        assert_eq!(shown(&owner, &workspace).await["card"]["brand"], "visa");
        it.tell().await;
        let open = "select count(*) from stripe_events where handled_at is null";
        assert_eq!(it.app.number(open).await, 0);
    }
}

#[tokio::test]
async fn an_event_that_comes_again_later_is_known() {
    let it = Collecting::new().await;
    let (owner, workspace) = it.owner().await;
    it.pay_with(&owner, &workspace, "pm_card_visa").await.is(200);
    let deliveries = it.stripe.take_webhooks();
    for delivery in &deliveries {
        it.send(delivery).await.is(200);
    }
    assert!(it.app.run_due().await >= 2);
    for delivery in deliveries.iter().rev() {
        it.send(delivery).await.is(200);
    }
    assert_eq!(it.app.run_due().await, 0);
}

#[tokio::test]
async fn events_of_others_in_the_same_account_change_nothing() {
    let it = Collecting::new().await;
    let other = it.stripe.call("POST", "customers", &json!({ "name": "Somebody" }));
    let attach = json!({ "customer": other["id"] });
    it.stripe.call("POST", "payment_methods/pm_card_visa/attach", &attach);
    let path = format!("customers/{}", text(&other["id"]));
    it.stripe.call("POST", &path, &json!({ "email": "x@example.com" }));
    it.tell().await;
    assert_eq!(it.app.number("select count(*) from payment_methods").await, 0);
    assert_eq!(it.app.number("select count(*) from stripe_customers").await, 0);
}

#[tokio::test]
async fn a_burst_of_webhooks_from_one_address_is_taken() {
    let it = Collecting::with(|config| config.identity.anonymous_requests_per_minute = 3).await;
    it.stripe.call("POST", "customers", &json!({}));
    let delivery = it.stripe.take_webhooks().remove(0);
    let caller = it.app.anonymous();
    for _ in 0..20 {
        let request = caller
            .request(Method::POST, "/control/v1/webhooks/stripe")
            .header("stripe-signature", &delivery.signature);
        caller.send(request.body(delivery.body.clone().into()).unwrap()).await.is(200);
    }
}
