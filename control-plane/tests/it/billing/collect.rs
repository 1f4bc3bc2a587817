//! Collecting by Stripe: what is brought there, what becomes of it, and what is taken up here.

use authsome_control_plane::billing::credit;
use authsome_control_plane::billing::invoice::settle::{self, By};
use authsome_control_plane::billing::invoice::{Collector, Invoice, Status};
use authsome_control_plane::billing::stripe::compare::{self, Compared, Difference};
use authsome_control_plane::execute;
use authsome_shared::id::WorkspaceId;
use chrono::TimeDelta;
use serde_json::{Value, json};
use stripe_stand_in::{Fault, Kind, Manner, Outcome};

use super::{invoice, invoices, set_users, turn_to};
use crate::support::{Client, Collecting, text, within};

const ISSUED: &str = "2026-04-01T01:00:00Z";

/// An owner with a workspace on pro that pays with a card, if any.
pub async fn payer(it: &Collecting, card: Option<&str>) -> (Client, WorkspaceId) {
    let (owner, workspace) = it.owner().await;
    if let Some(card) = card {
        it.pay_with(&owner, &workspace, card).await.is(200);
    }
    (owner, workspace.parse().unwrap())
}

/// Has March's invoice issued and brought to Stripe.
async fn issue(it: &Collecting) {
    turn_to(&it.app, ISSUED);
    it.app.bill().await;
    within(it.app.run_due()).await;
}

async fn ours(it: &Collecting, workspace: &WorkspaceId) -> Invoice {
    invoice(&it.app, workspace).await.0
}

pub async fn compared(it: &Collecting) -> Vec<Compared> {
    let stripe = it.app.app.stripe().unwrap();
    within(compare::compare(&it.app.app, stripe, None, None)).await.unwrap()
}

/// The differences of the one invoice.
async fn differences(it: &Collecting) -> Vec<Difference> {
    let mut all = compared(it).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).differences
}

fn amounts(lines: &Value) -> Vec<i64> {
    lines["data"].as_array().unwrap().iter().map(|it| it["amount"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn an_invoice_is_paid_by_the_card_line_by_line() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, Some("pm_card_visa")).await;
    set_users(&it.app, &workspace, "2026-03", 150_000).await;
    issue(&it).await;
    let (paid, lines) = invoice(&it.app, &workspace).await;
    assert_eq!((paid.status, paid.total, paid.amount_due), (Status::Paid, 257_500, 257_500));
    assert_eq!(paid.collector, Collector::Stripe);
    let theirs = it.only("invoice");
    assert_eq!((&theirs["status"], &theirs["total"]), (&json!("paid"), &json!(257_500)));
    assert_eq!(theirs["metadata"]["authsome_invoice"], paid.id.as_str());
    assert_eq!(theirs["metadata"]["authsome_number"], "INV-000001");
    let expected: Vec<i64> = lines.iter().map(|line| line.amount).collect();
    assert_eq!(amounts(&theirs["lines"]), expected);
    assert!(expected.contains(&2_500) && expected.contains(&75_000), "{expected:?}");
    let first = &theirs["lines"]["data"][0];
    assert_eq!(first["description"], lines[0].description.as_str());
    assert_eq!(first["period"]["start"], lines[0].starts_at.timestamp());
    assert_eq!(it.only("charge")["amount"], 257_500);
    it.tell().await;
    assert_eq!(differences(&it).await, []);
    assert_eq!(it.stripe.objects("invoice").len(), 1, "the events changed nothing");
}

#[tokio::test]
async fn the_balance_comes_off_what_is_collected() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, Some("pm_card_visa")).await;
    set_users(&it.app, &workspace, "2026-03", 11_000).await;
    issue(&it).await;
    let first = ours(&it, &workspace).await;
    assert_eq!((first.status, first.total), (Status::Paid, 4_500));
    let mut tx = it.app.write().await;
    let settings = &it.app.app.config.billing;
    credit::issue(&mut tx, settings, By::System("test"), &first.id, 4_000, "Late").await.unwrap();
    tx.commit().await.unwrap();
    // April's is paid by the balance alone, May's by the rest of it and the card.
    for month in ["2026-05-01T01:00:00Z", "2026-06-01T01:00:00Z"] {
        turn_to(&it.app, month);
        it.app.bill().await;
        within(it.app.run_due()).await;
    }
    let all = invoices(&it.app, &workspace).await;
    assert!(all.iter().all(|invoice| invoice.status == Status::Paid), "{all:?}");
    let theirs = it.stripe.objects("invoice");
    let totals: Vec<i64> = theirs.iter().map(|it| it["total"].as_i64().unwrap()).collect();
    assert_eq!(totals, [4_500, 1_000], "what was paid by the balance never came there");
    assert_eq!(amounts(&theirs[1]["lines"]).last(), Some(&-1_500));
    let charged: i64 =
        it.stripe.objects("charge").iter().map(|it| it["amount"].as_i64().unwrap()).sum();
    assert_eq!(charged, 4_500 + 1_000, "no credit was refunded");
    it.tell().await;
    assert!(compared(&it).await.iter().all(|it| it.differences.is_empty()));
}

#[tokio::test]
async fn a_declined_card_fails_the_invoice_until_another_card_pays_it() {
    let it = Collecting::new().await;
    let (owner, workspace) = payer(&it, Some("pm_card_chargeCustomerFail")).await;
    issue(&it).await;
    let failed = ours(&it, &workspace).await;
    assert_eq!(failed.status, Status::Failed);
    assert_eq!(failed.failure.as_deref(), Some("Your card was declined."));
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Failed);
    assert!(it.app.mails().iter().any(|mail| mail.contains("Your card was declined.")));

    let owner = owner.be_again().await;
    it.pay_with(&owner, workspace.as_str(), "pm_card_visa").await.is(200);
    within(it.app.run_due()).await;
    let paid = ours(&it, &workspace).await;
    assert_eq!((paid.status, paid.failure), (Status::Paid, None));
    it.only("invoice");
    assert_eq!(it.only("charge")["amount"], 2_500);
    it.tell().await;
    assert_eq!(differences(&it).await, []);
}

#[tokio::test]
async fn what_stripes_own_retry_brings_is_taken_up() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, Some("pm_card_chargeCustomerFail")).await;
    issue(&it).await;
    let theirs = it.only("invoice");
    assert_eq!(theirs["auto_advance"], true, "Stripe tries again by itself");
    let method = text(&it.only("payment_method")["id"]);
    it.stripe.card_becomes(&method, Outcome::InsufficientFunds);
    it.stripe.retry_invoice(&text(&theirs["id"]));
    it.tell().await;
    let failed = ours(&it, &workspace).await;
    assert_eq!(failed.failure.as_deref(), Some("Your card has insufficient funds."));
    it.stripe.card_becomes(&method, Outcome::Succeeds);
    it.stripe.retry_invoice(&text(&theirs["id"]));
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
    assert_eq!(differences(&it).await, []);
}

#[tokio::test]
async fn a_card_that_its_holder_must_confirm_says_where() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, Some("pm_card_authenticationRequired")).await;
    issue(&it).await;
    for _ in 0..2 {
        let failed = ours(&it, &workspace).await;
        let reason = failed.failure.unwrap();
        assert!(reason.contains("https://invoice.stripe.com/"), "{reason}");
        it.tell().await;
    }
}

#[tokio::test]
async fn without_a_card_the_invoice_is_sent_and_a_later_card_pays_it() {
    let it = Collecting::new().await;
    let (owner, workspace) = payer(&it, None).await;
    issue(&it).await;
    let theirs = it.only("invoice");
    assert_eq!(theirs["status"], "open");
    assert_eq!(theirs["collection_method"], "send_invoice");
    let due = ours(&it, &workspace).await.due_at.unwrap().timestamp();
    assert_eq!(theirs["due_date"], due);
    let sent = |it: &Collecting| {
        let events = it.stripe.objects("event");
        events.iter().filter(|event| event["type"] == "invoice.sent").count()
    };
    assert_eq!(sent(&it), 1);
    it.tell().await;
    let open = ours(&it, &workspace).await;
    assert_eq!(open.status, Status::Pending);
    assert_eq!(differences(&it).await, []);

    let owner = owner.be_again().await;
    let path = format!("/control/v1/workspaces/{workspace}/invoices/{}", open.id);
    let page = owner.get(&path).await.json(200)["paymentUrl"].clone();
    assert!(text(&page).starts_with("https://invoice.stripe.com/"), "{page}");
    it.pay_with(&owner, workspace.as_str(), "pm_card_visa").await.is(200);
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
    it.only("invoice");
    it.only("charge");
    assert_eq!(owner.get(&path).await.json(200).get("paymentUrl"), None);
    assert_eq!(sent(&it), 1, "it was not mailed again");
}

#[tokio::test]
async fn a_card_that_is_set_in_stripes_portal_pays_what_is_open() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, None).await;
    issue(&it).await;
    let customer = text(&it.only("customer")["id"]);
    let attach = json!({ "customer": customer });
    let method = it.stripe.call("POST", "payment_methods/pm_card_visa/attach", &attach);
    let default = json!({ "invoice_settings": { "default_payment_method": method["id"] } });
    it.stripe.call("POST", &format!("customers/{customer}"), &default);
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
}

#[tokio::test]
async fn what_its_customer_pays_at_stripe_is_taken_up_in_any_order_and_twice() {
    for manner in [
        Manner { held: true, ..Manner::default() },
        Manner { held: true, reversed: true, duplicates: 1 },
    ] {
        let it = Collecting::new().await;
        it.stripe.send_webhooks(manner);
        let (_, workspace) = payer(&it, Some("pm_card_chargeCustomerFail")).await;
        issue(&it).await;
        let id = text(&it.only("invoice")["id"]);
        let method = text(&it.only("payment_method")["id"]);
        it.stripe.card_becomes(&method, Outcome::Succeeds);
        it.stripe.call("POST", &format!("invoices/{id}/pay"), &json!({}));
        // The failure and the payment are told together, in this order or the other.
        it.tell().await;
        let paid = ours(&it, &workspace).await;
        assert_eq!((paid.status, paid.failure), (Status::Paid, None));
        let events = super::events(&it.app).await;
        let count = |kind: &str| events.iter().filter(|event| *event == kind).count();
        assert_eq!(count("invoice.paid"), 1, "{events:?}");
        assert_eq!(differences(&it).await, []);
    }
}

#[tokio::test]
async fn voiding_ours_voids_stripes_and_the_other_way() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, None).await;
    issue(&it).await;
    let mut tx = it.app.write().await;
    let id = ours(&it, &workspace).await.id;
    settle::void(&mut tx, By::System("test"), &id, "A mistake").await.unwrap();
    tx.commit().await.unwrap();
    it.tell().await;
    assert_eq!(it.only("invoice")["status"], "void");
    assert_eq!(differences(&it).await, []);

    turn_to(&it.app, "2026-05-01T01:00:00Z");
    it.app.bill().await;
    it.tell().await;
    let second = it.stripe.objects("invoice").remove(1);
    it.stripe.call("POST", &format!("invoices/{}/void", text(&second["id"])), &json!({}));
    it.tell().await;
    let all = invoices(&it.app, &workspace).await;
    assert!(all.iter().all(|invoice| invoice.status == Status::Void), "{all:?}");
    assert!(compared(&it).await.iter().all(|it| it.differences.is_empty()));
}

#[tokio::test]
async fn one_that_is_voided_before_it_came_to_stripe_never_comes_there() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, None).await;
    turn_to(&it.app, ISSUED);
    it.app.bill().await;
    let mut tx = it.app.write().await;
    let id = ours(&it, &workspace).await.id;
    settle::void(&mut tx, By::System("test"), &id, "A mistake").await.unwrap();
    tx.commit().await.unwrap();
    it.tell().await;
    assert!(it.stripe.objects("invoice").is_empty());
    assert_eq!(differences(&it).await, []);
}

#[tokio::test]
async fn one_that_stripe_gives_up_is_failed_and_can_still_be_paid() {
    let it = Collecting::new().await;
    let (owner, workspace) = payer(&it, None).await;
    issue(&it).await;
    let id = text(&it.only("invoice")["id"]);
    it.stripe.call("POST", &format!("invoices/{id}/mark_uncollectible"), &json!({}));
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Failed);
    let owner = owner.be_again().await;
    it.pay_with(&owner, workspace.as_str(), "pm_card_visa").await.is(200);
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Failed, "somebody gave it up by hand");
    it.stripe.call("POST", &format!("invoices/{id}/pay"), &json!({}));
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
}

#[tokio::test]
async fn what_is_paid_by_hand_is_not_collected_too() {
    let it = Collecting::new().await;
    let (owner, workspace) = payer(&it, None).await;
    issue(&it).await;
    let mut tx = it.app.write().await;
    let id = ours(&it, &workspace).await.id;
    settle::paid(&mut tx, By::CommandLine, &id, Some("Bank transfer")).await.unwrap();
    tx.commit().await.unwrap();
    it.tell().await;
    assert_eq!(it.only("invoice")["status"], "paid");
    let owner = owner.be_again().await;
    it.pay_with(&owner, workspace.as_str(), "pm_card_visa").await.is(200);
    it.tell().await;
    assert!(it.stripe.objects("charge").is_empty());
    assert_eq!(differences(&it).await, []);
}

async fn credit(it: &Collecting, workspace: &WorkspaceId, amount: i64) {
    let id = ours(it, workspace).await.id;
    let mut tx = it.app.write().await;
    let settings = &it.app.app.config.billing;
    credit::issue(&mut tx, settings, By::System("test"), &id, amount, "A mistake").await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_credit_of_what_is_open_comes_off_at_stripe() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, None).await;
    issue(&it).await;
    credit(&it, &workspace, 1_000).await;
    it.tell().await;
    let theirs = it.only("invoice");
    assert_eq!((&theirs["total"], &theirs["amount_remaining"]), (&json!(2_500), &json!(1_500)));
    assert_eq!(differences(&it).await, []);
    credit(&it, &workspace, 500).await;
    it.tell().await;
    assert_eq!(it.only("invoice")["amount_remaining"], 1_000);
    credit(&it, &workspace, 1_000).await;
    it.tell().await;
    assert_eq!(it.only("invoice")["status"], "paid");
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
    assert!(it.stripe.objects("charge").is_empty());
    assert_eq!(differences(&it).await, []);
}

#[tokio::test]
async fn what_was_paid_while_it_was_credited_goes_to_the_balance() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, None).await;
    issue(&it).await;
    let id = text(&it.only("invoice")["id"]);
    let paid = json!({ "paid_out_of_band": "true" });
    it.stripe.call("POST", &format!("invoices/{id}/pay"), &paid);
    credit(&it, &workspace, 1_000).await;
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
    let mut tx = it.app.read().await;
    assert_eq!(credit::balance(&mut tx, &workspace).await.unwrap(), 1_000);
    drop(tx);
    assert_eq!(
        differences(&it).await,
        [
            Difference::Total { ours: 1_500, theirs: 2_500 },
            Difference::Paid { ours: 1_500, theirs: 2_500 },
        ]
    );
}

#[tokio::test]
async fn a_total_that_is_not_ours_is_not_charged() {
    let it = Collecting::new().await;
    it.app.leave_jobs();
    let (_, workspace) = payer(&it, Some("pm_card_visa")).await;
    it.stripe.fail(Fault::once("POST /v1/invoices/*/finalize", Kind::Status(503)));
    issue(&it).await;
    let draft = it.only("invoice");
    assert_eq!(draft["status"], "draft");
    // Somebody adds to the draft at Stripe.
    let item = json!({
        "customer": draft["customer"], "invoice": draft["id"], "amount": "1", "currency": "usd",
    });
    it.stripe.call("POST", "invoiceitems", &item);
    it.app.advance(TimeDelta::hours(2));
    within(it.app.run_due()).await;
    assert_eq!(it.only("invoice")["status"], "draft");
    assert!(it.stripe.objects("charge").is_empty());
    assert_eq!(ours(&it, &workspace).await.status, Status::Pending);
    let problem = "Stripe's total is $25.01, and ours is $25.00";
    assert_eq!(
        differences(&it).await,
        [
            Difference::Stopped { problem: problem.into() },
            Difference::Status { ours: "pending", theirs: "draft".into() },
            Difference::Total { ours: 2_500, theirs: 2_501 },
        ]
    );
    // It is taken off again.
    let items = it.stripe.objects("invoiceitem");
    let path = format!("invoiceitems/{}", text(&items.last().unwrap()["id"]));
    it.stripe.call("DELETE", &path, &json!({}));
    it.app.advance(TimeDelta::hours(2));
    within(it.app.run_due()).await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
    assert_eq!(differences(&it).await, []);
}

#[tokio::test]
async fn what_is_given_back_at_stripe_is_named() {
    let it = Collecting::new().await;
    let (owner, workspace) = payer(&it, Some("pm_card_visa")).await;
    issue(&it).await;
    let charge = it.only("charge");
    let refund = json!({ "charge": charge["id"], "amount": "700" });
    it.stripe.call("POST", "refunds", &refund);
    let note =
        json!({ "invoice": it.only("invoice")["id"], "amount": "300", "credit_amount": "300" });
    it.stripe.call("POST", "credit_notes", &note);
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid, "it was paid");
    assert_eq!(
        differences(&it).await,
        [Difference::Refunded { amount: 700 }, Difference::CreditedAtStripe { amount: 300 }]
    );
    let path = format!("/control/v1/workspaces/{workspace}/usage/reconciliation?period=");
    let owner = owner.be_again().await;
    let told = owner.get(&format!("{path}2026-03")).await.json(200);
    assert_eq!(told["consistent"], false);
    let named: Vec<(&Value, &Value)> = told["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["what"], &it["message"]))
        .collect();
    assert_eq!(
        named,
        [
            (&json!("stripe.refunded"), &json!("Invoice INV-000001: $7.00 was refunded at Stripe")),
            (&json!("stripe.credited"), &json!("Invoice INV-000001: $3.00 was credited at Stripe")),
        ]
    );
    let other = owner.get(&format!("{path}2026-02")).await.json(200);
    assert_eq!(other["differences"], json!([]));
    it.stripe.fail(Fault::outage(Kind::Cut));
    let unknown = owner.get(&format!("{path}2026-03")).await.json(200);
    assert_eq!(unknown["consistent"], false);
    assert_eq!(unknown["differences"][0]["what"], "stripe.answers");
}

#[tokio::test]
async fn a_few_cents_that_stripe_carries_over_are_named() {
    let it = Collecting::new().await;
    let owner = it.app.sign_up("owner").await;
    let workspace: WorkspaceId = owner.workspace("free").await.parse().unwrap();
    it.pay_with(&owner, workspace.as_str(), "pm_card_visa").await.is(200);
    for (month, amount) in [("2026-04-01T01:00:00Z", 30), ("2026-05-01T01:00:00Z", 900)] {
        let mut tx = it.app.write().await;
        execute!(
            tx,
            sqlx::query(
                "insert into pending_items \
                 (id, workspace_id, item, description, amount, created_at) \
                 values ($1, $2, 'charge', 'A charge', $3, $4)"
            )
            .bind(format!("itm_{amount}"))
            .bind(&workspace)
            .bind(amount)
            .bind(it.app.now())
        )
        .unwrap();
        tx.commit().await.unwrap();
        turn_to(&it.app, month);
        it.app.bill().await;
        within(it.app.run_due()).await;
    }
    it.tell().await;
    let all = invoices(&it.app, &workspace).await;
    assert!(all.iter().all(|invoice| invoice.status == Status::Paid), "{all:?}");
    assert_eq!(it.only("charge")["amount"], 930);
    let mut tx = it.app.read().await;
    assert_eq!(credit::balance(&mut tx, &workspace).await.unwrap(), 0);
    drop(tx);
    let mut carried: Vec<Vec<Difference>> =
        compared(&it).await.into_iter().map(|it| it.differences).collect();
    carried.reverse();
    assert_eq!(
        carried,
        [[Difference::Carried { amount: -30 }], [Difference::Carried { amount: 30 }]]
    );
}

#[tokio::test]
async fn an_invoice_with_more_lines_than_stripe_takes_is_whole_there() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, Some("pm_card_visa")).await;
    let mut tx = it.app.write().await;
    for n in 0..300_i64 {
        execute!(
            tx,
            sqlx::query(
                "insert into pending_items \
                 (id, workspace_id, item, description, amount, created_at) \
                 values ($1, $2, 'charge', 'A charge', $3, $4)"
            )
            .bind(format!("itm_{n}"))
            .bind(&workspace)
            .bind(n)
            .bind(it.app.now())
        )
        .unwrap();
    }
    tx.commit().await.unwrap();
    issue(&it).await;
    let paid = ours(&it, &workspace).await;
    assert_eq!((paid.status, paid.total), (Status::Paid, 2_500 + 299 * 300 / 2));
    assert_eq!(it.only("charge")["amount"], paid.total);
    it.tell().await;
    assert_eq!(differences(&it).await, []);
}

#[tokio::test]
async fn one_whose_customer_was_deleted_at_stripe_is_collected_from_another() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, Some("pm_card_visa")).await;
    let customer = text(&it.only("customer")["id"]);
    it.stripe.call("DELETE", &format!("customers/{customer}"), &json!({}));
    // Before it is told of: there is nothing to pay with any more, which nobody here knows yet.
    issue(&it).await;
    it.tell().await;
    it.app.advance(TimeDelta::hours(1));
    it.tell().await;
    let theirs = it.only("invoice");
    assert_eq!(it.stripe.objects("customer").len(), 2);
    assert_ne!(theirs["customer"], customer.as_str());
    assert_eq!(theirs["status"], "open", "the card went with the customer");
    assert_eq!(ours(&it, &workspace).await.status, Status::Pending);
}

#[tokio::test]
async fn a_draft_that_was_deleted_at_stripe_is_made_anew() {
    let it = Collecting::new().await;
    let (_, workspace) = payer(&it, Some("pm_card_visa")).await;
    it.stripe.fail(Fault::once("POST /v1/invoices/*/finalize", Kind::Status(503)));
    issue(&it).await;
    let path = format!("invoices/{}", text(&it.only("invoice")["id"]));
    it.stripe.call("DELETE", &path, &json!({}));
    it.app.advance(TimeDelta::hours(2));
    it.tell().await;
    assert_eq!(ours(&it, &workspace).await.status, Status::Paid);
    it.only("charge");
}
