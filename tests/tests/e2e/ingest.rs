//! What the operator's own programs report, through `kill -9` of everything.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use authsome_e2e::api::Api;
use authsome_e2e::platform::Platform;
use authsome_e2e::wait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const SENDERS: u64 = 6;
const BATCHES: u64 = 40;
const EVENTS: u64 = 25;

const METER: &str = "/control/v1/ingest/meters/gpu_hours/events";
const STORAGE: &str = "/control/v1/ingest/storage";

/// How soon a sender that nobody listened to tries again.
const AGAIN: Duration = Duration::from_millis(5);

/// Sends until it is told that it was taken.
async fn insist(api: &Api, path: &str, name: &str, body: &Value) -> Value {
    let mut attempt = 0;
    loop {
        attempt += 1;
        // Each under another key: what counts once does so by itself.
        let answer = api.try_post(path, &format!("{name}-{attempt}"), body).await;
        match answer {
            Some(answer) if answer.status == 200 => return answer.body,
            Some(answer) if answer.status < 500 => {
                panic!("{name}: {} {}", answer.status, answer.body)
            }
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// The values of an event, in hundredths.
fn hundredths(event: u64) -> u64 {
    event % 700 + 1
}

/// When the n-th report of storage says what is stored, and how many bytes.
fn level(now: DateTime<Utc>, n: u64) -> (DateTime<Utc>, u64) {
    (now - TimeDelta::minutes(i64::try_from(n * 7 % 241).unwrap_or_default()), n * 1_000_000_007)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_reports_sent_through_kill_9_count_once() {
    let mut platform = Platform::start().await;
    let token = fs::read_to_string(platform.data_dir().join("ingest.token")).expect("the token");
    let ingest = Api::with_token(&platform.urls, token.trim());
    let admin = Api::login(&platform.urls, platform.quick("email"), platform.quick("password"));
    let admin = admin.await;
    let workspace = admin.workspace("pro").await;
    let application = admin.application(&workspace, json!({})).await.id;
    let meter = json!({
        "name": "gpu_hours", "label": "GPU time", "unit": "hour", "aggregation": "sum",
    });
    admin.post("/control/v1/admin/meters", meter).await.expect(201);

    // The platform's clock, by what it made last.
    let path = format!("/control/v1/applications/{application}");
    let now = admin.get(&path).await.expect(200).text("/createdAt");
    let now = now.parse::<DateTime<Utc>>().expect("a time");
    let sent = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (ingest, sent) = (Api::with_token(&platform.urls, token.trim()), sent.clone());
        let (workspace, application) = (workspace.clone(), application.clone());
        senders.spawn(async move {
            let mut accepted = 0;
            for batch in 0..BATCHES {
                let number = sender * BATCHES + batch;
                let events: Vec<Value> = (number * EVENTS..(number + 1) * EVENTS)
                    .map(|n| {
                        let value = format!("{}.{:02}", hundredths(n) / 100, hundredths(n) % 100);
                        json!({
                            "id": format!("job-{n}"), "workspaceId": workspace,
                            "applicationId": application, "at": now, "value": value,
                        })
                    })
                    .collect();
                let body = json!({ "events": events });
                for again in 0..=(number % 2) {
                    let name = format!("events-{number}-{again}");
                    let taken = insist(&ingest, METER, &name, &body).await;
                    assert_eq!(taken["conflicts"], json!([]));
                    accepted += taken["accepted"].as_u64().expect("a number");
                }
                let (at, bytes) = level(now, number);
                let report = json!({ "applicationId": application, "bytes": bytes, "at": at });
                let body = json!({ "reports": [report] });
                insist(&ingest, STORAGE, &format!("storage-{number}"), &body).await;
                sent.fetch_add(1, Ordering::Relaxed);
            }
            accepted
        });
    }
    for kills in 1..=3 {
        wait::until("batches are on their way", Duration::from_mins(1), async || {
            let some = kills * SENDERS * BATCHES / 5;
            (sent.load(Ordering::Relaxed) >= some).then_some(())
        })
        .await;
        platform.process.kill_9();
        platform.start_again().await;
    }
    let accepted: u64 = senders.join_all().await.into_iter().sum();
    let total = SENDERS * BATCHES * EVENTS;
    eprintln!("{total} events, {accepted} told to be counted in answers that came");
    assert!(accepted <= total, "{accepted} of {total} were counted");
    // From a new start, and all of it once more.
    platform.process.kill_9();
    platform.start_again().await;
    let (at, bytes) = level(now, 0);
    let report = json!({ "applicationId": application, "bytes": bytes, "at": at });
    let answer = ingest.post(STORAGE, json!({ "reports": [report] })).await.expect(200);
    assert_eq!(answer.body["unchanged"], 1);

    let sum: u64 = (0..total).map(hundredths).sum();
    let period = period_of(now);
    let path = format!("/control/v1/workspaces/{workspace}/usage?period={period}");
    let usage = Api::login(&platform.urls, platform.quick("email"), platform.quick("password"))
        .await
        .get(&path)
        .await
        .expect(200);
    let counted = &usage.body["usage"]["meters"][0];
    #[expect(clippy::cast_precision_loss, reason = "exact to nine billion units")]
    let expected = sum as f64 / 100.0;
    assert_eq!(counted["quantity"], expected, "{counted}");
    assert_eq!(counted["events"], total, "{counted}");
    let stored = &usage.body["usage"]["storage"];
    let off = stored["gbMonths"].as_f64().expect("a number") - gb_months(now);
    assert!(off.abs() < 0.000_001, "off by {off}: {stored}");
}

fn period_of(at: DateTime<Utc>) -> String {
    at.format("%Y-%m").to_string()
}

/// What the reports come to in the month of `now`, counted another way.
#[expect(clippy::cast_precision_loss, reason = "held to a millionth")]
fn gb_months(now: DateTime<Utc>) -> f64 {
    let start =
        format!("{}-01T00:00:00Z", period_of(now)).parse::<DateTime<Utc>>().expect("a time");
    let end = format!("{}-01T00:00:00Z", period_of(start + TimeDelta::days(31)));
    let end = end.parse::<DateTime<Utc>>().expect("a time");
    let mut levels: Vec<_> = (0..SENDERS * BATCHES).map(|n| level(now, n)).collect();
    levels.sort_unstable();
    let mut sum = 0.0;
    for (n, (at, bytes)) in levels.iter().enumerate() {
        let until = levels.get(n + 1).map_or(end, |next| next.0);
        let held = (until.max(start) - (*at).max(start)).num_microseconds().expect("it fits");
        sum += *bytes as f64 * held as f64;
    }
    sum / (1_u64 << 30) as f64 / (end - start).num_microseconds().expect("it fits") as f64
}
