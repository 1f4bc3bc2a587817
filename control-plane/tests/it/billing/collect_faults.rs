//! Collecting when something goes wrong at any point of it: one invoice at Stripe, one charge.

use std::time::Duration;

use authsome_control_plane::billing::invoice::{Invoice, Status};
use authsome_control_plane::billing::stripe::collect;
use authsome_control_plane::worker;
use authsome_shared::id::WorkspaceId;
use chrono::TimeDelta;
use serde_json::Value;
use stripe_stand_in::{Fault, Kind};

use super::collect::compared;
use super::{invoice, turn_to};
use crate::support::{Collecting, within};

const POSTS: [&str; 4] = [
    "POST /v1/invoices",
    "POST /v1/invoiceitems",
    "POST /v1/invoices/*/finalize",
    "POST /v1/invoices/*/pay",
];

/// So many workspaces, each with a card and an issued invoice that nobody has collected yet.
async fn issued(it: &Collecting, count: usize) -> Vec<Invoice> {
    it.app.leave_jobs();
    let owner = it.app.sign_up("owner").await;
    let mut workspaces: Vec<WorkspaceId> = vec![];
    for _ in 0..count {
        let workspace = owner.workspace("pro").await;
        it.pay_with(&owner, &workspace, "pm_card_visa").await.is(200);
        workspaces.push(workspace.parse().unwrap());
    }
    turn_to(&it.app, "2026-04-01T01:00:00Z");
    it.app.bill().await;
    let mut all = vec![];
    for workspace in &workspaces {
        all.push(invoice(&it.app, workspace).await.0);
    }
    all
}

async fn collect(it: &Collecting, invoice: &Invoice) -> Result<(), String> {
    let stripe = it.app.app.stripe().unwrap();
    let done = within(collect::run(&it.app.app, stripe, &invoice.id)).await;
    done.map_err(|error| format!("{error:?}"))
}

/// What Stripe has of one of ours.
fn theirs(it: &Collecting, invoice: &Invoice) -> Vec<Value> {
    let mut all = it.stripe.objects("invoice");
    all.retain(|theirs| theirs["metadata"]["authsome_invoice"] == invoice.id.as_str());
    all
}

/// Paid once, and of one invoice at Stripe.
async fn assert_collected_once(it: &Collecting, of: &Invoice, what: &str) {
    let (ours, lines) = invoice(&it.app, &of.workspace_id).await;
    assert_eq!(ours.status, Status::Paid, "{what}");
    let all = theirs(it, of);
    assert_eq!(all.len(), 1, "{what}: {all:?}");
    assert_eq!(all[0]["total"], ours.amount_due, "{what}");
    assert_eq!(all[0]["lines"]["data"].as_array().unwrap().len(), lines.len(), "{what}");
    let charges = it.stripe.objects("charge");
    let of_this = charges.iter().filter(|charge| charge["customer"] == all[0]["customer"]);
    assert_eq!(of_this.count(), 1, "{what}");
}

#[tokio::test]
async fn a_kill_at_any_step_leaves_one_invoice_and_one_charge() {
    const MOST: usize = 16;
    let it = Collecting::new().await;
    let mut invoices = issued(&it, 2 * MOST).await.into_iter();
    for kind in [Kind::HangBefore, Kind::HangAfter] {
        let mut steps = 0;
        for skip in 0..MOST {
            let invoice = invoices.next().unwrap();
            it.stripe.fail(Fault { skip, ..Fault::once("", kind) });
            let before = it.stripe.stalls();
            let stripe = it.app.app.stripe().unwrap();
            let killed = tokio::select! {
                done = collect::run(&it.app.app, stripe, &invoice.id) => {
                    done.unwrap();
                    false
                }
                // What has run so far is dropped here.
                () = it.stripe.stalled(before + 1) => true,
            };
            it.stripe.recover();
            collect(&it, &invoice).await.unwrap();
            assert_collected_once(&it, &invoice, &format!("{kind:?} at request {skip}")).await;
            if !killed {
                break;
            }
            steps += 1;
        }
        assert!((6..MOST).contains(&steps), "{steps} requests: each was a place to be killed at");
    }
    assert!(compared(&it).await.iter().filter(|it| it.status == Status::Paid).count() >= 12);
}

#[tokio::test]
async fn an_answer_that_is_lost_before_an_outage_of_more_than_a_day_doubles_nothing() {
    let it = Collecting::new().await;
    let invoices = issued(&it, POSTS.len()).await;
    for (of, invoice) in POSTS.iter().zip(&invoices) {
        // The effect without an answer, to the second and third sending too.
        it.stripe.fail(Fault { times: 3, ..Fault::once(of, Kind::Lost) });
        let error = collect(&it, invoice).await.unwrap_err();
        assert!(error.contains("no answer from Stripe"), "{of}: {error}");
        it.stripe.recover();
        it.stripe.fail(Fault::outage(Kind::Cut));
        for _ in 0..3 {
            it.app.advance(TimeDelta::hours(10));
            collect(&it, invoice).await.unwrap_err();
        }
        it.stripe.recover();
        // By now Stripe has forgotten every key.
        collect(&it, invoice).await.unwrap();
        assert_collected_once(&it, invoice, of).await;
    }
    assert!(compared(&it).await.iter().all(|it| it.differences.is_empty()));
}

#[tokio::test]
async fn a_failure_of_stripes_that_stays_under_the_key_is_got_over() {
    let it = Collecting::new().await;
    let mut invoices = issued(&it, 2 * POSTS.len()).await.into_iter();
    for kind in [Kind::Status(500), Kind::StatusAfter(500)] {
        for of in POSTS {
            let invoice = invoices.next().unwrap();
            it.stripe.fail(Fault::once(of, kind));
            let error = collect(&it, &invoice).await.unwrap_err();
            assert!(error.contains("Stripe failed (500)"), "{error}");
            collect(&it, &invoice).await.unwrap();
            assert_collected_once(&it, &invoice, &format!("{kind:?} {of}")).await;
        }
    }
}

#[tokio::test]
async fn being_told_to_slow_down_is_waited_out() {
    let it = Collecting::new().await;
    let invoices = issued(&it, 1).await;
    for of in POSTS {
        it.stripe.fail(Fault { times: 2, ..Fault::once(of, Kind::Status(429)) });
    }
    collect(&it, &invoices[0]).await.unwrap();
    assert_collected_once(&it, &invoices[0], "429").await;
}

#[tokio::test]
async fn of_two_that_collect_at_once_each_leaves_one_invoice_and_one_charge() {
    let it = Collecting::new().await;
    let invoices = issued(&it, 4).await;
    for invoice in &invoices {
        let (one, other) = tokio::join!(collect(&it, invoice), collect(&it, invoice));
        if let (Err(one), Err(other)) = (one, other) {
            panic!("{one} {other}");
        }
        collect(&it, invoice).await.unwrap();
        assert_collected_once(&it, invoice, "two at once").await;
    }
}

#[tokio::test]
async fn a_worker_goes_on_trying_for_as_long_as_it_takes() {
    let it = Collecting::new().await;
    let invoices = issued(&it, 1).await;
    it.stripe.fail(Fault::outage(Kind::Cut));
    let attempts = "select cast(max(attempts) as bigint) from jobs where kind = 'collect'";
    for _ in 0..40 {
        it.app.run_due().await;
        // No pause is longer.
        it.app.advance(TimeDelta::hours(1));
    }
    assert!(it.app.number(attempts).await >= 40);
    it.stripe.recover();
    within(it.app.run_due()).await;
    assert_collected_once(&it, &invoices[0], "after an outage").await;
    assert_eq!(it.app.number("select count(*) from jobs where kind = 'collect'").await, 0);
}

#[tokio::test]
async fn a_stripe_that_hangs_is_given_up_and_asked_again() {
    let it = Collecting::with(|config| config.billing.stripe.timeout_seconds = 1).await;
    let invoices = issued(&it, 1).await;
    it.stripe.fail(Fault::once("POST /v1/invoices/*/pay", Kind::HangAfter));
    let error = collect(&it, &invoices[0]).await.unwrap_err();
    assert!(error.contains("no answer from Stripe"), "{error}");
    it.stripe.recover();
    tokio::time::timeout(Duration::from_secs(20), worker::run_due(&it.app.app))
        .await
        .unwrap()
        .unwrap();
    assert_collected_once(&it, &invoices[0], "after a hang").await;
}
