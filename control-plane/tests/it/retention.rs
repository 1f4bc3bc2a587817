//! What housekeeping does to logs and usage as they grow old.

use authsome_shared::id::{EpochId, LogId};
use authsome_shared::log::{Level, LogBatch, LogLine};
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::support::{Client, FakeProxy, Record, TestApp, text};

struct Scene {
    app: TestApp,
    owner: Client,
    application: Value,
    record: Record,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::with(|config| {
            config.identity.access_token_seconds = 900 * 86_400;
            config.identity.refresh_token_days = 900;
            config.logs.max_lines = 10;
        })
        .await;
        let owner = app.sign_up("owner").await;
        let application = owner.application(&owner.workspace("pro").await, json!({})).await;
        app.run_due().await;
        let key = text(&owner.key(&text(&application["id"])).await["id"]);
        let record = Record::of(&app, &application, &key);
        Self { app, owner, application, record }
    }

    async fn reconciled(&self, period: &str) -> Value {
        let workspace = text(&self.application["workspaceId"]);
        let path =
            format!("/control/v1/workspaces/{workspace}/usage/reconciliation?period={period}");
        self.owner.get(&path).await.json(200)
    }

    async fn requests(&self, query: &str) -> Value {
        let id = text(&self.application["id"]);
        let path = format!("/control/v1/applications/{id}/metrics?{query}");
        self.owner.get(&path).await.json(200)["metrics"]["requests"]["total"].clone()
    }

    async fn messages(&self, query: &str) -> Vec<String> {
        let id = text(&self.application["id"]);
        let logs = self.owner.get(&format!("/control/v1/applications/{id}/logs?{query}")).await;
        let logs = logs.json(200);
        logs["logs"].as_array().unwrap().iter().map(|line| text(&line["message"])).collect()
    }
}

#[tokio::test]
async fn minutes_become_hours_and_no_sum_changes_however_often_and_late() {
    let scene = Scene::new().await;
    let proxy = FakeProxy::new(&scene.app);
    let now = scene.app.now().timestamp_millis();
    let records: Vec<_> =
        (0..90).map(|n| scene.record.with(|r| (r.at, r.units) = (now + n * 60_000, 2))).collect();
    let epoch = EpochId::new();
    proxy.apply(&epoch, 1, &records).await;
    let rows = async |table| match table {
        "minutes" => scene.app.number("select count(*) from usage_minutes").await,
        _ => scene.app.number("select count(*) from usage_hours").await,
    };
    let whole = json!({ "total": 180, "byApplication": 180, "byKey": 180, "byMinute": 180 });
    assert_eq!((rows("minutes").await, rows("hours").await), (90, 0));

    // Only the first hour and a half hour are older than three days.
    scene.app.advance(TimeDelta::days(3) + TimeDelta::minutes(80));
    for _ in 0..3 {
        scene.app.housekeeping().await;
        assert_eq!((rows("minutes").await, rows("hours").await), (10, 2));
        let reconciled = scene.reconciled("2026-03").await;
        assert_eq!((&reconciled["apiRequests"], &reconciled["consistent"]), (&whole, &json!(true)));
    }
    // What comes late is moved too, and what comes twice is not counted.
    proxy.apply(&epoch, 1, &records).await;
    proxy.apply(&epoch, 91, &records[..1]).await;
    assert_eq!((rows("minutes").await, rows("hours").await), (11, 2));
    scene.app.housekeeping().await;
    assert_eq!((rows("minutes").await, rows("hours").await), (10, 2));
    let reconciled = scene.reconciled("2026-03").await;
    let whole = json!({ "total": 182, "byApplication": 182, "byKey": 182, "byMinute": 182 });
    assert_eq!((&reconciled["apiRequests"], &reconciled["consistent"]), (&whole, &json!(true)));
    let hours = "select cast(sum(requests) as bigint) from usage_hours";
    assert_eq!(scene.app.number(hours).await, 81);
    assert_eq!(scene.requests("period=7d&interval=1m").await, 91);
}

#[tokio::test]
async fn replicas_that_keep_house_at_once_move_each_row_once() {
    let scene = Scene::new().await;
    let now = scene.app.now().timestamp_millis();
    let records: Vec<_> =
        (0..300).map(|n| scene.record.with(|r| r.at = now + n * 60_000)).collect();
    FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &records).await;
    scene.app.advance(TimeDelta::days(5));
    let (one, other, third) =
        tokio::join!(scene.app.housekeeping(), scene.app.housekeeping(), scene.app.housekeeping());
    let _: ((), (), ()) = (one, other, third);
    assert_eq!(scene.app.number("select count(*) from usage_minutes").await, 0);
    let reconciled = scene.reconciled("2026-03").await;
    assert_eq!(reconciled["apiRequests"]["byMinute"], 300);
    assert_eq!(reconciled["consistent"], true);
}

#[tokio::test]
async fn series_are_kept_by_the_minute_for_a_month_and_by_the_hour_for_a_year_and_totals_for_ever()
{
    let scene = Scene::new().await;
    FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &scene.record.times(5)).await;
    let steps = async || scene.app.number("select count(*) from usage_series").await;
    assert_eq!(steps().await, 3);
    scene.app.advance(TimeDelta::days(29));
    scene.app.housekeeping().await;
    assert_eq!(scene.requests("period=30d&interval=1m").await, 5);
    scene.app.advance(TimeDelta::days(7));
    scene.app.housekeeping().await;
    assert_eq!(steps().await, 1);
    scene.app.advance(TimeDelta::days(365));
    scene.app.housekeeping().await;
    assert_eq!(steps().await, 0);
    assert_eq!(scene.app.number("select count(*) from usage_hours").await, 0);
    scene.app.bill().await;
    scene.app.leave_jobs();
    // What is billed is still known, and what can't be checked any more is said.
    let reconciled = scene.reconciled("2026-03").await;
    let sums = json!({ "total": 5, "byApplication": 5, "byKey": 5, "byMinute": null });
    assert_eq!((&reconciled["apiRequests"], &reconciled["consistent"]), (&sums, &json!(true)));
}

#[tokio::test]
async fn a_log_is_bounded_by_age_and_by_number_of_each_level() {
    let scene = Scene::new().await;
    let proxy = FakeProxy::new(&scene.app);
    let lines = |level, count: i64| (0..count).map(move |n| (level, n)).collect::<Vec<_>>();
    let mut all = lines(Level::Error, 15);
    all.extend(lines(Level::Debug, 3));
    let lines = all.into_iter().map(|(level, n)| LogLine {
        application: text(&scene.application["id"]).parse().unwrap(),
        at: scene.app.now().timestamp_micros() + n,
        level,
        message: format!("line {n}"),
        fields: Map::new(),
    });
    let batch = LogBatch { id: LogId::new(), node: proxy.id.clone(), lines: lines.collect() };
    proxy.log(&batch).await.is(204);
    scene.app.housekeeping().await;
    let errors = scene.messages("level=error").await;
    assert_eq!((errors.len(), errors[0].as_str(), errors[9].as_str()), (10, "line 5", "line 14"));
    assert_eq!(scene.messages("level=debug").await.len(), 3, "one level displaces no other");
    assert_eq!(scene.messages("level=info").await.len(), 5);

    scene.app.advance(TimeDelta::days(7) - TimeDelta::seconds(1));
    scene.app.housekeeping().await;
    assert_eq!(scene.messages("level=info").await.len(), 5);
    scene.app.advance(TimeDelta::seconds(2));
    scene.app.housekeeping().await;
    assert_eq!(scene.messages("").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_purged_application_leaves_no_log() {
    let scene = Scene::new().await;
    let path = format!("/control/v1/applications/{}", text(&scene.application["id"]));
    scene.app.advance(TimeDelta::days(1));
    scene.owner.delete(&path).await.is(204);
    scene.app.advance(TimeDelta::days(7));
    scene.app.housekeeping().await;
    assert_eq!(scene.app.number("select count(*) from application_logs").await, 0);
    assert_eq!(scene.app.number("select count(*) from application_states").await, 0);
}
