//! `/control/v1/ingest/meters/{meter}/events`.

use std::collections::BTreeMap;

use authsome_control_plane::fetch_all;
use authsome_control_plane::metering::meter;
use authsome_control_plane::metering::usage::Period;
use authsome_shared::id::WorkspaceId;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, Response, TestApp, text, within};

struct Scene {
    app: TestApp,
    owner: Client,
    admin: Client,
    workspace: String,
    application: String,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::with(|config| {
            config.identity.access_token_seconds = 900 * 86_400;
            config.identity.refresh_token_days = 900;
        })
        .await;
        let admin = app.sign_up_admin("admin").await;
        let owner = app.sign_up("owner").await;
        let workspace = owner.workspace("pro").await;
        let application = text(&owner.application(&workspace, json!({})).await["id"]);
        app.run_due().await;
        for aggregation in ["sum", "max", "last", "unique"] {
            let meter = json!({
                "name": aggregation, "label": aggregation, "unit": "thing",
                "aggregation": aggregation,
            });
            admin.post("/control/v1/admin/meters", meter).await.is(201);
        }
        Self { app, owner, admin, workspace, application }
    }

    /// An event of the workspace, with more about it.
    fn event(&self, id: &str, more: Value) -> Value {
        let mut event = json!({ "id": id, "workspaceId": self.workspace });
        let Value::Object(more) = more else { panic!("{more} is no object") };
        event.as_object_mut().unwrap().extend(more);
        event
    }

    async fn send(&self, meter: &str, events: &[Value]) -> Response {
        let path = format!("/control/v1/ingest/meters/{meter}/events");
        self.app.ingest().post(&path, json!({ "events": events })).await
    }

    async fn of(&self, workspace: &str, period: &str) -> BTreeMap<String, i64> {
        let id: WorkspaceId = workspace.parse().unwrap();
        let mut tx = self.app.read().await;
        meter::of(&mut tx, &id, Period::parse(period).unwrap()).await.unwrap()
    }

    /// A meter's month of the workspace, in millionths.
    async fn total(&self, meter: &str, period: &str) -> i64 {
        let totals = self.of(&self.workspace, period).await;
        totals.get(&format!("meter:{meter}")).copied().unwrap_or_default()
    }
}

fn taken(accepted: u64, duplicates: u64) -> Value {
    json!({ "accepted": accepted, "duplicates": duplicates, "conflicts": [] })
}

#[tokio::test]
async fn each_aggregation_counts_what_it_says() {
    let scene = Scene::new().await;
    let times = ["2026-03-02T00:00:00Z", "2026-03-05T00:00:00Z", "2026-03-04T00:00:00Z"];
    let values = [json!(1.5), json!("40.000001"), json!(2)];
    for meter in ["sum", "max", "last"] {
        let events: Vec<Value> = (0..3)
            .map(|n| {
                let more = json!({ "at": times[n], "value": values[n] });
                scene.event(&format!("e{n}"), more)
            })
            .collect();
        assert_eq!(scene.send(meter, &events).await.json(200), taken(3, 0));
    }
    let keys = ["ann", "bob", "ann", "Ann"];
    let events: Vec<Value> =
        (0..4).map(|n| scene.event(&format!("e{n}"), json!({ "key": keys[n] }))).collect();
    assert_eq!(scene.send("unique", &events).await.json(200), taken(4, 0));
    let expected = [
        ("meter:last", 40_000_001),
        ("meter:max", 40_000_001),
        ("meter:sum", 43_500_001),
        ("meter:unique", 3_000_000),
    ];
    let expected: BTreeMap<String, i64> =
        expected.into_iter().map(|(item, total)| (item.to_owned(), total)).collect();
    assert_eq!(scene.of(&scene.workspace, "2026-03").await, expected);
    // A later one that says less is the last.
    let less = scene.event("e3", json!({ "at": "2026-03-05T00:00:00.000001Z", "value": 0 }));
    scene.send("last", &[less]).await.is(200);
    assert_eq!(scene.total("last", "2026-03").await, 0);
    // Without a value one is added.
    scene.send("sum", &[scene.event("e3", json!({}))]).await.is(200);
    assert_eq!(scene.total("sum", "2026-03").await, 44_500_001);
}

#[tokio::test]
async fn an_id_counts_once_for_good() {
    let scene = Scene::new().await;
    let event = scene.event("job-1", json!({ "at": "2026-03-10T12:00:00Z", "value": 5 }));
    let twice = [event.clone(), event.clone()];
    assert_eq!(scene.send("sum", &twice).await.json(200), taken(1, 1));
    scene.app.advance(TimeDelta::days(800));
    scene.app.housekeeping().await;
    for _ in 0..3 {
        assert_eq!(scene.send("sum", &twice).await.json(200), taken(0, 2));
    }
    assert_eq!(scene.total("sum", "2026-03").await, 5_000_000);
    assert_eq!(scene.app.number("select events from meter_totals").await, 1);
    assert_eq!(scene.app.number("select count(*) from late_usage").await, 0);
    // Of another meter the id is another.
    scene.send("max", &[event]).await.is(200);
    assert_eq!(scene.total("max", "2026-03").await, 5_000_000);
}

#[tokio::test]
async fn an_event_without_a_time_is_the_same_whenever_it_comes_again() {
    let scene = Scene::new().await;
    let event = scene.event("job-1", json!({ "value": "5.0" }));
    assert_eq!(scene.send("sum", &[event]).await.json(200), taken(1, 0));
    scene.app.advance(TimeDelta::days(30));
    let event = scene.event("job-1", json!({ "value": 5 }));
    assert_eq!(scene.send("sum", &[event]).await.json(200), taken(0, 1));
    assert_eq!(scene.of(&scene.workspace, "2026-04").await, BTreeMap::new());
}

#[tokio::test]
async fn an_id_with_another_content_is_told_and_not_counted() {
    let scene = Scene::new().await;
    let other = scene.owner.workspace("pro").await;
    let at = "2026-03-10T12:00:00Z";
    let first = scene.event("job-1", json!({ "at": at, "value": 5 }));
    scene.send("sum", std::slice::from_ref(&first)).await.is(200);
    let mut foreign = first.clone();
    foreign["workspaceId"] = json!(other);
    for event in [
        scene.event("job-1", json!({ "at": at, "value": 6 })),
        scene.event("job-1", json!({ "at": "2026-03-10T12:00:00.000001Z", "value": 5 })),
        scene.event("job-1", json!({ "at": at, "value": 5, "applicationId": scene.application })),
        foreign,
    ] {
        let fresh = scene.event(&format!("fresh {event}")[..50], json!({ "value": 0 }));
        let answer = scene.send("sum", &[fresh, event, first.clone()]).await.json(200);
        let conflicts = json!([{ "index": 1, "id": "job-1" }]);
        assert_eq!(answer["conflicts"], conflicts, "{answer}");
    }
    // Within a batch the first counts.
    let events = [
        scene.event("job-2", json!({ "at": at, "value": 1 })),
        scene.event("job-2", json!({ "at": at, "value": 2 })),
        scene.event("job-2", json!({ "at": at, "value": 1 })),
    ];
    let conflicts = json!([{ "index": 1, "id": "job-2" }]);
    let expected = json!({ "accepted": 1, "duplicates": 1, "conflicts": conflicts });
    assert_eq!(scene.send("sum", &events).await.json(200), expected);
    assert_eq!(scene.total("sum", "2026-03").await, 6_000_000);
    assert_eq!(scene.of(&other, "2026-03").await, BTreeMap::new());
}

#[tokio::test]
async fn of_a_thousand_copies_at_once_one_counts() {
    let scene = Scene::new().await;
    let more = json!({ "value": 3, "applicationId": scene.application });
    let event = scene.event("job-1", more);
    let key = scene.event("job-1", json!({ "key": "ann" }));
    let (mut accepted, mut duplicates) = (0, 0);
    for _ in 0..10 {
        let sends = (0..100).map(async |n| match n % 2 {
            0 => scene.send("sum", std::slice::from_ref(&event)).await.json(200),
            _ => scene.send("unique", std::slice::from_ref(&key)).await.json(200),
        });
        for answer in within(join_all(sends)).await {
            accepted += answer["accepted"].as_u64().unwrap();
            duplicates += answer["duplicates"].as_u64().unwrap();
            assert_eq!(answer["conflicts"], json!([]));
        }
    }
    assert_eq!((accepted, duplicates), (2, 998));
    assert_eq!(scene.total("sum", "2026-03").await, 3_000_000);
    assert_eq!(scene.total("unique", "2026-03").await, 1_000_000);
}

#[tokio::test]
async fn parallel_batches_that_overlap_count_each_event_once() {
    let scene = Scene::new().await;
    let batch = |from: usize, reverse: bool| -> Vec<Value> {
        let mut events: Vec<Value> = (from..from + 60)
            .map(|n| {
                let more = json!({ "value": n, "applicationId": scene.application });
                scene.event(&format!("job-{n}"), more)
            })
            .collect();
        if reverse {
            events.reverse();
        }
        events
    };
    let keys = |from: usize, reverse: bool| -> Vec<Value> {
        let mut events: Vec<Value> = (from..from + 60)
            .map(|n| scene.event(&format!("e-{from}-{n}"), json!({ "key": format!("user-{n}") })))
            .collect();
        if reverse {
            events.reverse();
        }
        events
    };
    let sends = (0..12).map(async |n: usize| {
        scene.send("sum", &batch(n * 20, n.is_multiple_of(2))).await.is(200);
        scene.send("unique", &keys(n * 20, !n.is_multiple_of(2))).await.is(200);
    });
    within(join_all(sends)).await;
    // From 0 to 279.
    assert_eq!(scene.total("sum", "2026-03").await, 279 * 280 / 2 * 1_000_000);
    assert_eq!(scene.total("unique", "2026-03").await, 280_000_000);
}

#[tokio::test]
async fn totals_are_what_the_events_add_up_to() {
    let scene = Scene::new().await;
    let second = text(&scene.owner.application(&scene.workspace, json!({})).await["id"]);
    scene.app.run_due().await;
    let events: Vec<Value> = (0..300)
        .map(|n| {
            let at = scene.app.now() - TimeDelta::hours(n * 5);
            let application = match n % 3 {
                0 => json!(scene.application),
                1 => json!(second),
                _ => json!(null),
            };
            let more =
                json!({ "at": at, "value": format!("{n}.{n:06}"), "applicationId": application });
            scene.event(&format!("e{n}"), more)
        })
        .collect();
    for chunk in events.chunks(70) {
        scene.send("sum", chunk).await.is(200);
    }
    let mut tx = scene.app.read().await;
    let totals: Vec<(String, String, i64, i64)> =
        fetch_all!(tx, sqlx::query_as("select subject, period, value, events from meter_totals"))
            .unwrap();
    for (subject, period, value, events) in totals {
        let column = if subject.starts_with("ws_") { "workspace_id" } else { "application_id" };
        let sql =
            format!("select at, value from meter_events where meter = 'sum' and {column} = $1");
        let rows: Vec<(chrono::DateTime<chrono::Utc>, i64)> =
            fetch_all!(tx, sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).bind(&subject))
                .unwrap();
        let of_month: Vec<i64> = rows
            .into_iter()
            .filter(|(at, _)| at.format("%Y-%m").to_string() == period)
            .map(|(_, value)| value)
            .collect();
        assert_eq!(
            (of_month.iter().sum(), i64::try_from(of_month.len()).unwrap()),
            (value, events),
            "{subject}"
        );
    }
}

#[tokio::test]
async fn events_land_in_the_month_of_their_time_and_late_ones_are_noted() {
    let scene = Scene::new().await;
    let events: Vec<Value> = [
        ("a", "2026-02-28T23:59:59.999999Z", 1),
        ("b", "2026-03-01T00:00:00Z", 10),
        ("c", "2026-03-01T01:00:00+02:00", 100),
    ]
    .into_iter()
    .map(|(id, at, value)| scene.event(id, json!({ "at": at, "value": value })))
    .collect();
    scene.send("sum", &events).await.is(200);
    assert_eq!(scene.total("sum", "2026-02").await, 101_000_000);
    assert_eq!(scene.total("sum", "2026-03").await, 10_000_000);
    let late = "select count(*) from late_usage where period = '2026-02'";
    assert_eq!(scene.app.number(late).await, 1);
    assert_eq!(scene.app.number("select count(*) from late_usage").await, 1);
    // What is a duplicate counts into nothing, and notes nothing.
    let mut tx = scene.app.write().await;
    authsome_control_plane::execute!(tx, sqlx::query("delete from late_usage")).unwrap();
    tx.commit().await.unwrap();
    scene.send("sum", &events).await.is(200);
    assert_eq!(scene.app.number("select count(*) from late_usage").await, 0);
}

#[tokio::test]
async fn a_bad_event_is_named_by_its_place_and_nothing_is_counted() {
    let scene = Scene::new().await;
    let foreign = scene.owner.workspace("pro").await;
    let other = text(&scene.owner.application(&foreign, json!({})).await["id"]);
    scene.app.run_due().await;
    let fine = scene.event("fine", json!({ "value": 1 }));
    let with = |more: Value| scene.event("bad", more);
    for (bad, field) in [
        (scene.event("", json!({ "value": 1 })), "id"),
        (scene.event("a\u{0}", json!({ "value": 1 })), "id"),
        (scene.event(&"a".repeat(101), json!({ "value": 1 })), "id"),
        (json!({ "id": "bad", "workspaceId": "ws_none", "value": 1 }), "workspaceId"),
        (json!({ "id": "bad", "workspaceId": "a\u{0}", "value": 1 }), "workspaceId"),
        (json!({ "id": "bad", "value": 1 }), "workspaceId"),
        (with(json!({ "applicationId": "app_none" })), "applicationId"),
        (with(json!({ "applicationId": other })), "applicationId"),
        (with(json!({ "at": "2026-03-10T12:05:00.000001Z" })), "at"),
        (with(json!({ "at": "1999-12-31T23:59:59Z" })), "at"),
        (with(json!({ "at": "soon" })), "at"),
        (with(json!({ "value": -1 })), "value"),
        (with(json!({ "value": "-0.5" })), "value"),
        (with(json!({ "value": "0.0000001" })), "value"),
        (with(json!({ "value": 1e13 })), "value"),
        (with(json!({ "value": "much" })), "value"),
        (with(json!({ "value": [1] })), "value"),
        (with(json!({ "value": true })), "value"),
        (with(json!({ "key": "ann" })), "key"),
        (with(json!({ "amount": 1 })), "amount"),
    ] {
        let field = format!("events[1].{field}");
        scene.send("sum", &[fine.clone(), bad]).await.assert_invalid(&field);
    }
    for (meter, bad, field) in [
        ("max", with(json!({})), "value"),
        ("last", with(json!({ "value": null })), "value"),
        ("unique", with(json!({})), "key"),
        ("unique", with(json!({ "key": "" })), "key"),
        ("unique", with(json!({ "key": "a\u{7}" })), "key"),
        ("unique", with(json!({ "key": "ann", "value": 1 })), "value"),
    ] {
        scene.send(meter, &[bad]).await.assert_invalid(&format!("events[0].{field}"));
    }
    scene.send("sum", &[]).await.assert_invalid("events");
    scene.send("sum", &vec![fine.clone(); 1_001]).await.assert_invalid("events");
    scene.send("none", std::slice::from_ref(&fine)).await.error(404, "not_found");
    for count in [
        "select count(*) from meter_events",
        "select count(*) from meter_totals",
        "select count(*) from meter_keys",
    ] {
        assert_eq!(scene.app.number(count).await, 0, "{count}");
    }
    assert_eq!(scene.send("sum", &vec![fine; 1_000]).await.json(200), taken(1, 999));
}

#[tokio::test]
async fn what_is_too_much_to_count_is_refused_and_loses_nothing() {
    let scene = Scene::new().await;
    let most = |n: i64| scene.event(&format!("e{n}"), json!({ "value": "1000000000000" }));
    let events: Vec<Value> = (0..9).map(most).collect();
    scene.send("sum", &events).await.is(200);
    scene
        .send("sum", &[scene.event("one", json!({})), most(9)])
        .await
        .assert_invalid("events[1].value");
    assert_eq!(scene.total("sum", "2026-03").await, 9_000_000_000_000_000_000);
    // What fits is still counted, exactly.
    let rest = scene.event("rest", json!({ "value": "223372036854.775807" }));
    assert_eq!(scene.send("sum", &[rest]).await.json(200), taken(1, 0));
    assert_eq!(scene.total("sum", "2026-03").await, i64::MAX);
    scene.send("sum", &[scene.event("one", json!({}))]).await.assert_invalid("events[0].value");
}

#[tokio::test]
async fn events_of_deleted_applications_and_workspaces_still_count() {
    let scene = Scene::new().await;
    scene.owner.delete(&format!("/control/v1/applications/{}", scene.application)).await.is(204);
    let event = |id: &str| scene.event(id, json!({ "applicationId": scene.application }));
    scene.send("sum", &[event("a")]).await.is(200);
    scene.owner.delete(&format!("/control/v1/workspaces/{}", scene.workspace)).await.is(204);
    scene.send("sum", &[event("b")]).await.is(200);
    assert_eq!(scene.total("sum", "2026-03").await, 2_000_000);
    assert_eq!(scene.admin.get("/control/v1/admin/meters").await.json(200)["total"], 4);
}
