//! A dead or slow endpoint delays nobody.

use std::time::{Duration, Instant};

use authsome_control_plane::webhooks::dispatcher;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Scene;
use crate::support::{Receiver, text, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_endpoints_that_hang_do_not_delay_one_that_answers() {
    let scene = Scene::with(|config| config.webhooks.timeout_seconds = 60).await;
    let dead = Receiver::start().await;
    dead.hang();
    // All of one workspace, and each with more to send than it has places.
    for count in [20, 20, 10] {
        let application = scene.owner.application(&scene.workspace, json!({})).await;
        scene.app.run_due().await;
        let path = format!("/control/v1/applications/{}/webhooks", text(&application["id"]));
        for _ in 0..count {
            let body = json!({ "url": dead.url(), "events": ["usage.threshold"] });
            let hook = text(&scene.owner.post(&path, body).await.json(201)["id"]);
            for _ in 0..3 {
                scene.test(&format!("{path}/{hook}")).await;
            }
        }
    }
    let (live, hook) = scene.receiver(json!(["*"])).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher::run(scene.app.app.clone(), stop.clone()));
    // Two places each, all of them taken.
    dead.count(100).await;
    let mut latencies = vec![];
    for n in 1..=20 {
        let began = Instant::now();
        scene.test(&hook).await;
        live.count(n).await;
        latencies.push(began.elapsed());
    }
    latencies.sort();
    eprintln!("with 100 hanging: median {:?}, longest {:?}", latencies[10], latencies[19]);
    assert!(latencies[10] < Duration::from_millis(500), "{latencies:?}");
    assert_eq!(dead.received().len(), 100, "no endpoint has more than its places");
    stop.cancel();
    within(running).await.unwrap();
}
