use authsome_control_plane::{execute, fetch_all, fetch_one};
use authsome_shared::id::{EpochId, KeyId};
use authsome_shared::node::Frame;
use authsome_shared::usage::{MAX_BATCH_BYTES, Total, UsageRecord};
use axum::http::Method;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, FakeProxy, Record, TestApp, text};

const SERIES: &str = "select cast(sum(requests) as bigint) from usage_series";

struct Scene {
    app: TestApp,
    owner: Client,
    application: Value,
    key: String,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let owner = app.sign_up("owner").await;
        let application = owner.application(&owner.workspace("pro").await, json!({})).await;
        app.run_due().await;
        let key = text(&owner.key(&text(&application["id"])).await["id"]);
        Self { app, owner, application, key }
    }

    fn record(&self) -> Record {
        Record::of(&self.app, &self.application, &self.key)
    }

    /// The workspace's requests of the month.
    async fn counted(&self) -> i64 {
        let workspace = text(&self.application["workspaceId"]);
        let path = format!("/control/v1/workspaces/{workspace}/usage");
        let usage = self.owner.get(&path).await.json(200);
        usage["usage"]["apiRequests"]["count"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn a_batch_is_applied_once_however_often_it_comes() {
    let scene = Scene::new().await;
    let (proxy, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let records = scene.record().times(10);
    let applied = proxy.apply(&epoch, 1, &records).await;
    assert_eq!(applied.watermark, 10);
    let workspace = text(&scene.application["workspaceId"]);
    let application = text(&scene.application["id"]);
    let mut subjects: Vec<_> = applied.totals.iter().map(|total| &total.subject).collect();
    subjects.sort();
    let mut expected = [&workspace, &application];
    expected.sort();
    assert_eq!(subjects, expected);
    for total in &applied.totals {
        assert_eq!((total.period.as_str(), total.used, total.applied), ("2026-03", 10, 10));
    }
    // A proxy that never saw the first answer learns as much from the next.
    for _ in 0..3 {
        assert_eq!(proxy.apply(&epoch, 1, &records).await, applied);
    }
    assert_eq!(scene.counted().await, 10);
}

#[tokio::test]
async fn of_an_overlapping_batch_only_the_rest_counts() {
    let scene = Scene::new().await;
    let (proxy, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let record = scene.record();
    proxy.apply(&epoch, 1, &record.times(10)).await;
    let applied = proxy.apply(&epoch, 6, &record.times(10)).await;
    assert_eq!(applied.watermark, 15);
    assert!(applied.totals.iter().all(|total| (total.used, total.applied) == (15, 10)));
    // One that lies wholly behind changes nothing.
    assert_eq!(proxy.apply(&epoch, 3, &record.times(5)).await.watermark, 15);
    assert_eq!(scene.counted().await, 15);
}

#[tokio::test]
async fn a_jump_is_applied_and_its_gap_recorded() {
    let scene = Scene::new().await;
    let (proxy, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let record = scene.record();
    proxy.apply(&epoch, 1, &record.times(2)).await;
    assert_eq!(proxy.apply(&epoch, 6, &record.times(2)).await.watermark, 7);
    proxy.apply(&epoch, 6, &record.times(2)).await;
    assert_eq!(scene.counted().await, 4);
    let mut tx = scene.app.read().await;
    let gaps: Vec<(String, String, i64, i64)> = fetch_all!(
        tx,
        sqlx::query_as("select node_id, epoch_id, first_sequence, last_sequence from ledger_gaps")
    )
    .unwrap();
    assert_eq!(gaps, [(proxy.id.to_string(), epoch.to_string(), 3, 5)]);
}

#[tokio::test]
async fn of_parallel_copies_of_a_batch_one_counts() {
    let scene = Scene::new().await;
    let (proxy, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let records = scene.record().times(20);
    for round in 0..3 {
        let copies = (0..8).map(|_| proxy.apply(&epoch, 1 + round * 20, &records));
        let applied = join_all(copies).await;
        assert!(applied.iter().all(|answer| answer.watermark == (round + 1) * 20));
        assert!(applied.iter().all(|answer| answer == &applied[0]));
    }
    assert_eq!(scene.counted().await, 60);
}

#[tokio::test]
async fn nodes_and_epochs_are_counted_apart() {
    let scene = Scene::new().await;
    let (one, two) = (FakeProxy::new(&scene.app), FakeProxy::new(&scene.app));
    let (first, second) = (EpochId::new(), EpochId::new());
    let records = scene.record().times(3);
    for (proxy, epoch) in [(&one, &first), (&one, &second), (&two, &first)] {
        assert_eq!(proxy.apply(epoch, 1, &records).await.watermark, 3);
    }
    // A late batch of an earlier run still counts.
    assert_eq!(one.apply(&first, 4, &records).await.watermark, 6);
    assert_eq!(scene.counted().await, 12);
}

#[tokio::test]
async fn nodes_that_ship_at_once_do_not_block_each_other() {
    let scene = Scene::new().await;
    let id = text(&scene.application["id"]);
    let mut keys = vec![scene.key.clone()];
    for _ in 0..4 {
        keys.push(text(&scene.owner.key(&id).await["id"]));
    }
    // The same rows, met in opposite orders.
    let records = |reverse: bool| {
        let mut records = vec![];
        for key in &keys {
            for route in ["GET /a", "GET /b", "POST /c"] {
                let record = Record::of(&scene.app, &scene.application, key);
                records.push(record.with(|r| {
                    r.route = route.into();
                    r.user = Some(format!("user of {route}"));
                }));
            }
        }
        if reverse {
            records.reverse();
        }
        records
    };
    let proxies: Vec<_> = (0..4).map(|_| FakeProxy::new(&scene.app)).collect();
    let epoch = EpochId::new();
    let ships = proxies.iter().enumerate().map(|(n, proxy)| {
        let (records, epoch) = (records(n % 2 == 0), &epoch);
        async move {
            for batch in 0..5 {
                proxy.apply(epoch, 1 + batch * 15, &records).await;
            }
        }
    });
    join_all(ships).await;
    assert_eq!(scene.counted().await, 4 * 5 * 15);
}

#[tokio::test]
async fn a_batch_that_can_not_be_stored_spoils_no_other() {
    let scene = Scene::new().await;
    let mut tx = scene.app.write().await;
    let refuse = "create unique index spoilt on usage_minutes (route) where route = 'spoilt'";
    execute!(tx, sqlx::query(refuse)).unwrap();
    tx.commit().await.unwrap();
    let spoilt = |minutes: i64| {
        let minute = |r: &mut UsageRecord| (r.route, r.at) = ("spoilt".into(), minutes * 60_000);
        scene.record().with(minute)
    };
    let spoilt = [spoilt(1), spoilt(2)];
    let (one, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let others: Vec<_> = (0..6).map(|_| FakeProxy::new(&scene.app)).collect();
    let records = scene.record().times(3);
    let others = join_all(others.iter().map(|proxy| proxy.apply(&epoch, 1, &records)));
    let (refused, applied) = tokio::join!(one.ship(&epoch, 1, &spoilt), others);
    refused.is(500);
    assert!(applied.iter().all(|applied| applied.watermark == 3));
    assert_eq!(scene.counted().await, 18);
    assert_eq!(scene.app.number("select count(*) from ledger_epochs").await, 6);
}

#[tokio::test]
async fn everything_that_is_derived_adds_up() {
    let scene = Scene::new().await;
    let (proxy, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp_millis();
    let bucket: KeyId = "key_firstOfTheLine".parse().unwrap();
    let one = scene.record();
    let with = |change: &dyn Fn(&mut UsageRecord)| one.with(change);
    let records = [
        with(&|r| r.at = at("2026-03-10T12:00:00.000Z")),
        with(&|r| r.at = at("2026-03-10T12:00:59.999Z")),
        with(&|r| r.at = at("2026-03-10T12:01:00.000Z")),
        with(&|r| (r.route, r.units) = ("GET /users/*".into(), 5)),
        with(&|r| r.status = 503),
        with(&|r| r.bucket = Some(bucket.clone())),
        with(&|r| r.user = Some("ann".into())),
        with(&|r| r.user = Some("ann".into())),
        with(&|r| r.user = Some("Bob 🦀".into())),
        with(&|r| (r.user, r.at) = (Some("ann".into()), at("2026-02-01T00:00:00Z"))),
    ];
    proxy.apply(&epoch, 1, &records[..4]).await;
    proxy.apply(&epoch, 5, &records[4..]).await;

    let mut tx = scene.app.read().await;
    let minutes: Vec<(DateTime<Utc>, String, i64, i64, i64, i64)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select minute, route, requests, units, errors, bytes_out from usage_minutes \
             order by minute, route"
        )
    )
    .unwrap();
    let minute = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    assert_eq!(
        minutes,
        [
            (minute("2026-02-01T00:00:00Z"), "*".into(), 1, 1, 0, 100),
            (minute("2026-03-10T12:00:00Z"), "*".into(), 7, 7, 1, 700),
            (minute("2026-03-10T12:00:00Z"), "GET /users/*".into(), 1, 5, 0, 100),
            (minute("2026-03-10T12:01:00Z"), "*".into(), 1, 1, 0, 100),
        ]
    );
    let total = async |tx: &mut _, subject: &str, period: &str| -> (i64, i64) {
        authsome_control_plane::metering::totals::of(tx, subject, period)
            .await
            .map(|total| (total.requests, total.units))
            .unwrap()
    };
    let workspace = text(&scene.application["workspaceId"]);
    let application = text(&scene.application["id"]);
    assert_eq!(total(&mut tx, &workspace, "2026-03").await, (9, 13));
    assert_eq!(total(&mut tx, &application, "2026-03").await, (9, 13));
    assert_eq!(total(&mut tx, &scene.key, "2026-03").await, (8, 12));
    assert_eq!(total(&mut tx, bucket.as_str(), "2026-03").await, (1, 1));
    assert_eq!(total(&mut tx, &workspace, "2026-02").await, (1, 1));
    let (users,): (i64,) =
        fetch_one!(tx, sqlx::query_as("select count(*) from usage_users where period = '2026-03'"))
            .unwrap();
    assert_eq!(users, 2);
    let (latencies,): (i64,) = fetch_one!(tx, sqlx::query_as(SERIES)).unwrap();
    assert_eq!(latencies, 30, "ten, in steps of three lengths");
    drop(tx);

    let keys = scene.owner.get(&format!("/control/v1/applications/{application}/keys")).await;
    let keys = keys.json(200);
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["id"] == scene.key).unwrap();
    assert_eq!(key["lastUsedAt"], "2026-03-10T12:01:00Z", "the latest, not the last to arrive");
}

#[tokio::test]
async fn usage_of_what_no_longer_exists_still_counts() {
    let scene = Scene::new().await;
    let proxy = FakeProxy::new(&scene.app);
    let record = scene.record().with(|r| {
        r.application = "app_purged".parse().unwrap();
        r.key = "key_purged".parse().unwrap();
    });
    proxy.apply(&EpochId::new(), 1, &[record]).await;
    assert_eq!(scene.counted().await, 1);
}

#[tokio::test]
async fn other_proxies_learn_the_new_totals() {
    let scene = Scene::new().await;
    let (one, two) = (FakeProxy::new(&scene.app), FakeProxy::new(&scene.app));
    for proxy in [&one, &two] {
        proxy.ack(scene.app.revision().await).await;
    }
    let mut stream = two.follow().await;
    one.apply(&EpochId::new(), 1, &scene.record().times(3)).await;
    let workspace = text(&scene.application["workspaceId"]);
    let expected = Total { subject: workspace, period: "2026-03".into(), used: 3, applied: 0 };
    loop {
        match stream.next_of_any().await {
            Some(Frame::Totals { totals }) if totals.contains(&expected) => break,
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    }
    // A proxy that comes later learns them at once.
    let mut stream = FakeProxy::new(&scene.app).follow().await;
    loop {
        match stream.next_of_any().await {
            Some(Frame::Totals { totals }) => {
                assert!(totals.contains(&expected), "{totals:?}");
                break;
            }
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    }
}

#[tokio::test]
async fn a_bad_batch_is_refused_whole() {
    let scene = Scene::new().await;
    let proxy = FakeProxy::new(&scene.app);
    let record = serde_json::to_value(scene.record().with(|_| {})).unwrap();
    let header = |first: u64, count: usize| {
        json!({ "node": proxy.id, "epoch": "epo_1", "first": first, "count": count }).to_string()
    };
    let broken = |field: &str, value: Value| {
        let mut record = record.clone();
        record[field] = value;
        format!("{}\n{record}", header(1, 1))
    };
    for body in [
        String::new(),
        "\n\n".into(),
        "nonsense".into(),
        "{}".into(),
        header(1, 0),
        header(1, 1),
        format!("{}\n{record}", header(0, 1)),
        format!("{}\n{record}", header(u64::MAX, 1)),
        format!("{}\n{record}", header(1 << 63, 1)),
        format!("{}\n{record}", header(i64::MAX as u64, 1)),
        format!("{}\n{record}", header(1, 2)),
        format!("{}\n{record}\n{record}", header(1, 1)),
        format!("{}\n{{}}", header(1, 1)),
        format!("{}\n{record}\nnonsense", header(1, 2)),
        format!(r#"{{"node":"\u0000","epoch":"epo_1","first":1,"count":1}}{}"#, "\n{record}"),
        broken("status", json!("fine")),
        broken("units", json!(-1)),
        broken("at", json!("yesterday")),
        broken("at", json!(i64::MAX)),
        broken("bytesIn", json!(u64::MAX)),
        broken("latencyUs", json!(-1)),
        broken("route", json!("\u{0}")),
        broken("key", json!("key_\u{0}")),
    ] {
        let answer = proxy
            .client
            .send_text(Method::POST, "/node/v1/usage", "application/x-ndjson", body.clone())
            .await;
        let error = answer.error(400, "invalid_request");
        assert!(error["details"]["field"].is_string(), "{body}");
    }
    assert_eq!(scene.counted().await, 0);
    assert_eq!(scene.app.number("select count(*) from ledger_epochs").await, 0);
}

#[tokio::test]
async fn any_name_of_an_end_user_is_counted_once() {
    let scene = Scene::new().await;
    let proxy = FakeProxy::new(&scene.app);
    let long = "x".repeat(16_000);
    let names = ["", "a\u{0}b", "a\u{0}c", "ünï 🦀", &long, &format!("{long}y")];
    let records: Vec<_> = names
        .iter()
        .flat_map(|name| vec![scene.record().with(|r| r.user = Some((*name).into())); 2])
        .collect();
    proxy.apply(&EpochId::new(), 1, &records).await;
    proxy.apply(&EpochId::new(), 1, &records).await;
    assert_eq!(scene.counted().await, 24);
    assert_eq!(scene.app.number("select count(*) from usage_users").await, 6);
}

#[tokio::test]
async fn a_batch_of_the_greatest_size_fits_and_a_greater_does_not() {
    let scene = Scene::new().await;
    let (proxy, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let line = serde_json::to_string(&scene.record().with(|_| {})).unwrap().len() + 1;
    let most = MAX_BATCH_BYTES / line;
    let records = scene.record().times(most.min(10_000));
    let applied = proxy.apply(&epoch, 1, &records).await;
    assert_eq!(applied.watermark, records.len() as u64);
    let huge = "x".repeat(MAX_BATCH_BYTES * 2 + 1);
    let answer =
        proxy.client.send_text(Method::POST, "/node/v1/usage", "application/x-ndjson", huge).await;
    answer.error(413, "payload_too_large");
}

#[tokio::test]
async fn a_time_of_another_year_is_kept() {
    let scene = Scene::new().await;
    let proxy = FakeProxy::new(&scene.app);
    let late = (scene.app.now() - TimeDelta::days(400)).timestamp_millis();
    proxy.apply(&EpochId::new(), 1, &[scene.record().with(|r| r.at = late)]).await;
    assert_eq!(
        scene.app.number("select count(*) from usage_totals where period = '2025-02'").await,
        3
    );
}
