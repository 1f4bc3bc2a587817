//! The queue of background jobs, on either database.

use std::collections::BTreeSet;

use authsome_control_plane::db::Topic;
use authsome_control_plane::jobs::{self, Claimed, Job};
use authsome_control_plane::worker::Worker;
use authsome_shared::id::ApplicationId;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{TestApp, text, within};

async fn enqueue(app: &TestApp, count: usize) {
    let mut tx = app.write().await;
    for _ in 0..count {
        let job = Job::Provision { application_id: ApplicationId::new() };
        jobs::enqueue(&mut tx, &job).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn claim(app: &TestApp) -> Option<Claimed> {
    let mut tx = app.write().await;
    let claimed = jobs::claim(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_job_is_claimed_by_one() {
    let app = TestApp::new().await;
    app.leave_jobs();
    enqueue(&app, 200).await;
    let claimer = || async {
        let mut claims = vec![];
        let mut misses = 0;
        // A claimer that lost a race sees nothing once, though jobs are left.
        while misses < 50 {
            match claim(&app).await {
                Some(job) => claims.push(job.id.to_string()),
                None => misses += 1,
            }
        }
        claims
    };
    let claims = join_all((0..8).map(|_| claimer())).await.concat();
    let distinct: BTreeSet<_> = claims.iter().collect();
    assert_eq!((claims.len(), distinct.len()), (200, 200));
    assert!(claim(&app).await.is_none());
}

#[tokio::test]
async fn a_lost_claim_runs_out() {
    let app = TestApp::new().await;
    enqueue(&app, 1).await;
    let first = claim(&app).await.unwrap();
    app.advance(TimeDelta::seconds(120));
    assert!(claim(&app).await.is_none());
    app.advance(TimeDelta::microseconds(1));
    let second = claim(&app).await.unwrap();
    assert_eq!(first.id, second.id);
    let mut tx = app.write().await;
    jobs::finish(&mut tx, &second.id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(claim(&app).await.is_none());
}

#[tokio::test]
async fn a_job_given_back_comes_after_its_pause() {
    let app = TestApp::new().await;
    app.leave_jobs();
    enqueue(&app, 1).await;
    let job = claim(&app).await.unwrap();
    assert_eq!(job.attempts, 0);
    let mut tx = app.write().await;
    jobs::retry_after(&mut tx, &job.id, TimeDelta::seconds(5), "no luck").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = app.read().await;
    let due = jobs::next_due(&mut tx).await.unwrap();
    drop(tx);
    assert_eq!(due, Some(app.now() + TimeDelta::seconds(5)));
    assert!(claim(&app).await.is_none());
    app.advance(TimeDelta::seconds(5));
    assert_eq!(claim(&app).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn a_job_that_was_rolled_back_never_was() {
    let app = TestApp::new().await;
    let mut tx = app.write().await;
    let job = Job::Provision { application_id: ApplicationId::new() };
    jobs::enqueue(&mut tx, &job).await.unwrap();
    drop(tx);
    assert!(claim(&app).await.is_none());
}

#[tokio::test]
async fn the_oldest_job_is_first() {
    let app = TestApp::new().await;
    app.leave_jobs();
    enqueue(&app, 1).await;
    let first = claim(&app).await.unwrap().id;
    app.advance(TimeDelta::seconds(1));
    enqueue(&app, 1).await;
    app.advance(TimeDelta::seconds(200));
    assert_eq!(claim(&app).await.unwrap().id, first);
}

#[tokio::test]
async fn a_mail_that_cannot_be_sent_is_tried_again() {
    let app = TestApp::with(|config| {
        // Nobody listens on the discard port.
        config.mail.smtp_url = authsome_shared::secret::Secret::new("smtp://127.0.0.1:9".into());
    })
    .await;
    app.leave_jobs();
    let owner = app.sign_up("owner").await;
    let path = format!("/control/v1/workspaces/{}/members", owner.workspace("pro").await);
    let body = json!({ "email": "a@b.co", "role": "viewer" });
    owner.post(&path, body).await.is(201);
    for pause in [5, 10, 20] {
        assert_eq!(app.run_due().await, 1);
        assert_eq!(app.run_due().await, 0);
        app.advance(TimeDelta::seconds(pause));
    }
    assert_eq!(app.number("select attempts from jobs").await, 3);
}

#[tokio::test]
async fn a_running_worker_needs_no_prompting() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let stop = CancellationToken::new();
    let worker = Worker::start(&app.app, &stop);
    let mut revisions = app.app.db.subscribe(Topic::Revisions);
    let application = owner.application(&owner.workspace("pro").await, json!({})).await;
    let path = format!("/control/v1/applications/{}", text(&application["id"]));
    let active = async {
        while owner.get(&path).await.json(200)["status"] != "active" {
            revisions.changed().await.unwrap();
        }
    };
    within(active).await;
    // Jobs in hand are brought to their end.
    stop.cancel();
    within(worker.stopped()).await;
}
