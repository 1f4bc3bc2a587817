use authsome_shared::id::EpochId;
use authsome_shared::usage::UsageRecord;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{Client, FakeProxy, Record, TestApp, Upstream, text};

struct Scene {
    app: TestApp,
    owner: Client,
    application: Value,
    record: Record,
    proxy: FakeProxy,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::with(|config| {
            config.identity.access_token_seconds = 90 * 86_400;
            config.egress.allow = Some(vec!["127.0.0.0/8".parse().unwrap()]);
        })
        .await;
        let owner = app.sign_up("owner").await;
        let application = owner.application(&owner.workspace("pro").await, json!({})).await;
        app.run_due().await;
        let key = text(&owner.key(&text(&application["id"])).await["id"]);
        let record = Record::of(&app, &application, &key);
        let proxy = FakeProxy::new(&app);
        Self { app, owner, application, record, proxy }
    }

    async fn apply(&self, records: &[UsageRecord]) {
        self.proxy.apply(&EpochId::new(), 1, records).await;
    }

    fn path(&self) -> String {
        format!("/control/v1/applications/{}", text(&self.application["id"]))
    }

    async fn metrics(&self, query: &str) -> Value {
        self.owner.get(&format!("{}/metrics{query}", self.path())).await.json(200)
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The values of the points that are not zero.
fn counts(points: &Value) -> Vec<(String, u64)> {
    let points = points.as_array().unwrap();
    let all = points.iter().map(|it| (text(&it["timestamp"]), it["value"].as_u64().unwrap()));
    all.filter(|(_, value)| *value > 0).collect()
}

#[tokio::test]
async fn requests_latencies_errors_and_users_are_those_of_the_ledger() {
    let scene = Scene::new().await;
    let with = |change: &dyn Fn(&mut UsageRecord)| scene.record.with(change);
    let millis = |text: &str| at(text).timestamp_millis();
    let mut records = vec![];
    for n in 0..100_u64 {
        records.push(with(&|r| {
            r.at = millis("2026-03-10T11:58:30Z");
            r.latency_us = if n < 98 { 10_000 } else { 1_000_000 };
            r.user = Some(format!("user {}", n % 7));
        }));
    }
    records.push(with(&|r| (r.at, r.status) = (millis("2026-03-10T12:00:00Z"), 503)));
    records.push(with(&|r| (r.at, r.status) = (millis("2026-03-10T12:00:00Z"), 404)));
    // Before the period, but in the month, and seen by one more.
    records.push(with(&|r| {
        r.at = millis("2026-03-02T00:00:00Z");
        r.user = Some("earlier".into());
    }));
    scene.apply(&records).await;

    let answer = scene.metrics("").await;
    assert_eq!((&answer["period"], &answer["interval"]), (&json!("24h"), &json!("5m")));
    let metrics = &answer["metrics"];
    let points = metrics["requests"]["dataPoints"].as_array().unwrap();
    assert_eq!(points.len(), 288);
    assert_eq!(points[0]["timestamp"], "2026-03-09T12:05:00Z");
    assert_eq!(points[287]["timestamp"], "2026-03-10T12:00:00Z");
    assert_eq!(points[0]["value"], 0, "an interval without requests has its point");
    assert_eq!(
        counts(&metrics["requests"]["dataPoints"]),
        [("2026-03-10T11:55:00Z".into(), 100), ("2026-03-10T12:00:00Z".into(), 2)]
    );
    assert_eq!(metrics["requests"]["total"], 102);
    assert_eq!(metrics["requests"]["avgPerMinute"], 0.1);
    assert_eq!(metrics["errors"]["total"], 1);
    assert_eq!(metrics["errors"]["rate"], 0.98);
    assert_eq!(counts(&metrics["errors"]["dataPoints"]), [("2026-03-10T12:00:00Z".into(), 1)]);
    let latency = metrics["latency"]["dataPoints"].as_array().unwrap();
    assert_eq!(latency.len(), 288);
    let empty = json!({
        "timestamp": "2026-03-09T12:05:00Z", "p50": null, "p95": null, "p99": null,
    });
    assert_eq!(latency[0], empty);
    let near = |value: &Value, ms: f64| {
        let value = value.as_f64().unwrap();
        assert!((ms..=ms * 1.2).contains(&value), "{value}, not {ms}");
    };
    near(&latency[286]["p50"], 10.0);
    near(&latency[286]["p95"], 10.0);
    near(&latency[286]["p99"], 1_000.0);
    assert!(metrics["latency"]["avgP95"].as_f64().unwrap() > 1.4, "{}", metrics["latency"]);
    assert_eq!(metrics["activeUsers"], json!({ "current": 7, "mau": 8 }));

    for (period, interval, count, total) in [
        ("1h", "1m", 60, 102),
        ("1h", "5m", 12, 102),
        ("1h", "1h", 1, 2),
        ("24h", "1m", 1_440, 102),
        ("24h", "1h", 24, 102),
        ("7d", "1h", 168, 102),
        ("7d", "5m", 2_016, 102),
        ("30d", "1h", 720, 103),
        ("30d", "1m", 43_200, 103),
    ] {
        let answer = scene.metrics(&format!("?period={period}&interval={interval}")).await;
        let requests = &answer["metrics"]["requests"];
        let points = requests["dataPoints"].as_array().unwrap().len();
        assert_eq!((points, &requests["total"]), (count, &json!(total)), "{period} {interval}");
        assert_eq!((&answer["period"], &answer["interval"]), (&json!(period), &json!(interval)));
    }
}

#[tokio::test]
async fn an_application_without_requests_has_zeros_and_no_latency() {
    let scene = Scene::new().await;
    let answer = scene.metrics("?period=1h&interval=1h").await;
    assert_eq!(
        answer["metrics"],
        json!({
            "requests": {
                "dataPoints": [{ "timestamp": "2026-03-10T12:00:00Z", "value": 0 }],
                "total": 0, "avgPerMinute": 0.0,
            },
            "latency": {
                "dataPoints": [{
                    "timestamp": "2026-03-10T12:00:00Z", "p50": null, "p95": null, "p99": null,
                }],
                "avgP95": null,
            },
            "errors": {
                "dataPoints": [{ "timestamp": "2026-03-10T12:00:00Z", "value": 0 }],
                "total": 0, "rate": 0.0,
            },
            "activeUsers": { "current": 0, "mau": 0 },
            "uptime": null,
        })
    );
    for (query, field) in [
        ("period=2h", "period"),
        ("period=", "period"),
        ("interval=1s", "interval"),
        ("interval=5M", "interval"),
    ] {
        let path = format!("{}/metrics?{query}", scene.path());
        scene.owner.get(&path).await.assert_invalid(field);
    }
}

#[tokio::test]
async fn batches_that_come_late_twice_or_at_once_add_up() {
    let scene = Scene::new().await;
    let late = scene.record.with(|r| r.at = at("2026-02-25T08:00:10Z").timestamp_millis());
    let records = vec![late; 3];
    let epoch = EpochId::new();
    for _ in 0..3 {
        scene.proxy.apply(&epoch, 1, &records).await;
    }
    let others: Vec<FakeProxy> = (0..6).map(|_| FakeProxy::new(&scene.app)).collect();
    let epochs: Vec<EpochId> = others.iter().map(|_| EpochId::new()).collect();
    let shipped = others.iter().zip(&epochs).map(|(other, epoch)| other.ship(epoch, 1, &records));
    for answer in futures_util::future::join_all(shipped).await {
        answer.is(200);
    }
    for interval in ["1m", "5m", "1h"] {
        let answer = scene.metrics(&format!("?period=30d&interval={interval}")).await;
        let metrics = &answer["metrics"];
        let expected = [("2026-02-25T08:00:00Z".to_owned(), 21)];
        assert_eq!(counts(&metrics["requests"]["dataPoints"]), expected, "{interval}");
        let latency = metrics["latency"]["dataPoints"].as_array().unwrap();
        let measured = latency.iter().filter(|point| !point["p50"].is_null()).count();
        assert_eq!(measured, 1);
    }
    assert_eq!(scene.metrics("").await["metrics"]["requests"]["total"], 0);
}

#[tokio::test]
async fn uptime_leaves_out_what_it_could_not_serve() {
    let scene = Scene::new().await;
    let uptime = async || scene.metrics("?period=1h").await["metrics"]["uptime"].clone();
    scene.app.advance(TimeDelta::minutes(50));
    assert_eq!(uptime().await, 100.0);
    // Every request of one minute failed, and one of several in another.
    let minute = |text: &str, status| {
        scene.record.with(|r| (r.at, r.status) = (at(text).timestamp_millis(), status))
    };
    scene
        .apply(&[
            minute("2026-03-10T12:10:00Z", 502),
            minute("2026-03-10T12:10:30Z", 502),
            minute("2026-03-10T12:20:00Z", 502),
            minute("2026-03-10T12:20:01Z", 200),
        ])
        .await;
    assert_eq!(uptime().await, 98.0);
    // The restart fails, and for ten minutes it is not served.
    let api = Upstream::start(500).await;
    let config = json!({ "upstream": { "urls": [api.url()], "healthCheck": {} } });
    scene.owner.patch(&scene.path(), json!({ "config": config })).await.is(200);
    scene.owner.post(&format!("{}/restart", scene.path()), json!({})).await.is(202);
    scene.app.run_due().await;
    scene.app.advance(TimeDelta::minutes(5));
    scene.app.run_due().await;
    scene.app.advance(TimeDelta::minutes(5));
    scene.app.run_due().await;
    assert_eq!(scene.owner.get(&scene.path()).await.json(200)["status"], "failed");
    assert_eq!(uptime().await, 98.18, "it is served while it restarts: 54 of 55 minutes");
    scene.app.advance(TimeDelta::minutes(40));
    let hundred = scene.metrics("?period=24h").await["metrics"]["uptime"].clone();
    assert_eq!(hundred, 59.0, "of a hundred minutes");
    // And by month, of the application itself.
    let seen = scene.owner.get(&scene.path()).await.json(200);
    assert_eq!(seen["metrics"]["uptime"], 59.0);
}

#[tokio::test]
async fn an_application_shows_its_month() {
    let scene = Scene::new().await;
    let seen = scene.owner.get(&scene.path()).await.json(200);
    let nothing = json!({ "mau": 0, "apiRequests": 0, "avgLatency": null, "uptime": null });
    assert_eq!(seen["metrics"], nothing);
    scene.app.advance(TimeDelta::minutes(1));
    let user = |name: &str| {
        scene.record.with(|r| {
            r.user = Some(name.into());
            r.latency_us = 45_000;
            r.units = 3;
        })
    };
    let before = scene.record.with(|r| r.at = at("2026-02-28T23:59:59Z").timestamp_millis());
    scene.apply(&[user("ann"), user("bob"), user("ann"), before]).await;
    let seen = scene.owner.get(&scene.path()).await.json(200);
    let month = json!({ "mau": 2, "apiRequests": 3, "avgLatency": 45.0, "uptime": 100.0 });
    assert_eq!(seen["metrics"], month);
}
