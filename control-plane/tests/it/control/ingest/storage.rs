//! `/control/v1/ingest/storage`.

use authsome_control_plane::fetch_all;
use authsome_control_plane::metering::storage::{self, Stored};
use authsome_control_plane::metering::usage::Period;
use authsome_shared::id::WorkspaceId;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, Response, TestApp, text, within};

const GB: i64 = 1 << 30;

const PATH: &str = "/control/v1/ingest/storage";

struct Scene {
    app: TestApp,
    owner: Client,
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
        let owner = app.sign_up("owner").await;
        let workspace = owner.workspace("pro").await;
        let application = text(&owner.application(&workspace, json!({})).await["id"]);
        app.run_due().await;
        // Of the mails about thresholds.
        app.leave_jobs();
        Self { app, owner, workspace, application }
    }

    async fn send(&self, reports: Value) -> Response {
        self.app.ingest().post(PATH, json!({ "reports": reports })).await
    }

    async fn report(&self, at: &str, bytes: i64) -> Value {
        let report = json!({ "applicationId": self.application, "bytes": bytes, "at": at });
        self.send(json!([report])).await.json(200)
    }

    async fn stored(&self, period: &str) -> Stored {
        stored(&self.app, &self.workspace, period).await
    }

    async fn late(&self) -> Vec<String> {
        let mut tx = self.app.read().await;
        let rows: Vec<(String,)> = fetch_all!(
            tx,
            sqlx::query_as("select period from late_usage where workspace_id = $1 order by period")
                .bind(&self.workspace)
        )
        .unwrap();
        rows.into_iter().map(|(period,)| period).collect()
    }
}

async fn stored(app: &TestApp, workspace: &str, period: &str) -> Stored {
    let mut tx = app.read().await;
    let id: WorkspaceId = workspace.parse().unwrap();
    storage::of(&mut tx, &id, Period::parse(period).unwrap()).await.unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

const ACCEPTED: fn(u64, u64, u64) -> Value = |accepted, unchanged, ignored| json!({ "accepted": accepted, "unchanged": unchanged, "ignored": ignored });

#[tokio::test]
async fn a_month_is_its_average_over_time_as_if_the_last_level_held() {
    let scene = Scene::new().await;
    // March has 31 days: 10 GB from the 1st, 41 GB from the 11th on.
    scene.app.advance(TimeDelta::days(2));
    scene.report("2026-03-01T00:00:00Z", 10 * GB).await;
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 10 * GB, gb_months: 10_000_000 });
    scene.report("2026-03-11T00:00:00Z", 41 * GB).await;
    // (10 days of 10 and 21 of 41) / 31.
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 41 * GB, gb_months: 31_000_000 });
    assert_eq!(scene.stored("2026-02").await, Stored::default());
    // A month that has not begun has nothing yet; when it has, the level holds.
    assert_eq!(scene.stored("2026-04").await, Stored::default());
    scene.app.advance(TimeDelta::days(40));
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 41 * GB, gb_months: 31_000_000 });
    assert_eq!(scene.stored("2026-04").await, Stored { bytes: 41 * GB, gb_months: 41_000_000 });
    assert_eq!(scene.late().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_report_sent_again_changes_nothing_and_another_figure_is_a_conflict() {
    let scene = Scene::new().await;
    assert_eq!(scene.report("2026-03-01T00:00:00Z", GB).await, ACCEPTED(1, 0, 0));
    assert_eq!(scene.report("2026-03-05T00:00:00Z", 2 * GB).await, ACCEPTED(1, 0, 0));
    let before = scene.stored("2026-03").await;
    for (time, bytes) in [("2026-03-01T00:00:00Z", GB), ("2026-03-05T00:00:00Z", 2 * GB)] {
        assert_eq!(scene.report(time, bytes).await, ACCEPTED(0, 1, 0));
        let other = json!({ "applicationId": scene.application, "bytes": 9, "at": time });
        let fine = json!({ "applicationId": scene.application, "bytes": 1 });
        let error = scene.send(json!([fine, other])).await.error(409, "conflict");
        let message = text(&error["message"]);
        assert!(
            message.contains("reports[1]") && message.contains(&bytes.to_string()),
            "{message}"
        );
    }
    assert_eq!(scene.stored("2026-03").await, before, "a batch with a conflict was taken in part");
}

#[tokio::test]
async fn a_wrong_report_is_replaced_on_purpose_and_that_is_logged() {
    let scene = Scene::new().await;
    scene.report("2026-03-01T00:00:00Z", 100 * GB).await;
    scene.report("2026-03-05T00:00:00Z", 10 * GB).await;
    for (time, bytes) in [("2026-03-01T00:00:00Z", 10 * GB), ("2026-03-05T00:00:00Z", 20 * GB)] {
        let report = json!({ "applicationId": scene.application, "bytes": bytes, "at": time });
        let body = json!({ "reports": [report], "replace": true });
        assert_eq!(scene.app.ingest().post(PATH, body).await.json(200), ACCEPTED(1, 0, 0));
    }
    // (4 days of 10 and 27 of 20) / 31 = 580 / 31.
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 20 * GB, gb_months: 18_709_677 });
    let corrections = "select count(*) from audit_entries where action = 'storage.corrected'";
    assert_eq!(scene.app.number(corrections).await, 2);
}

#[tokio::test]
async fn a_bad_report_is_named_by_its_place_and_nothing_is_taken() {
    let scene = Scene::new().await;
    let id = &scene.application;
    let fine = json!({ "applicationId": id, "bytes": 5 });
    for (bad, field) in [
        (json!({ "applicationId": "app_none", "bytes": 1 }), "reports[1].applicationId"),
        (json!({ "applicationId": "a\u{0}b", "bytes": 1 }), "reports[1].applicationId"),
        (json!({ "applicationId": id, "bytes": -1 }), "reports[1].bytes"),
        (json!({ "applicationId": id, "bytes": 1.5 }), "reports[1].bytes"),
        (json!({ "applicationId": id, "bytes": 1_u64 << 53 }), "reports[1].bytes"),
        (json!({ "applicationId": id }), "reports[1].bytes"),
        (json!({ "bytes": 1 }), "reports[1].applicationId"),
        (json!({ "applicationId": id, "bytes": 1, "gb": 1 }), "reports[1].gb"),
        (
            json!({ "applicationId": id, "bytes": 1, "at": "2026-03-10T12:05:00.000001Z" }),
            "reports[1].at",
        ),
        (
            json!({ "applicationId": id, "bytes": 1, "at": "2026-02-03T11:59:59.999999Z" }),
            "reports[1].at",
        ),
        (json!({ "applicationId": id, "bytes": 1, "at": "yesterday" }), "reports[1].at"),
        (
            json!({ "applicationId": id, "bytes": 1, "at": "+99999-01-01T00:00:00Z" }),
            "reports[1].at",
        ),
    ] {
        scene.send(json!([fine, bad])).await.assert_invalid(field);
    }
    scene.send(json!([])).await.assert_invalid("reports");
    scene.send(json!(vec![fine.clone(); 1_001])).await.assert_invalid("reports");
    scene.app.ingest().post(PATH, json!({})).await.assert_invalid("reports");
    assert_eq!(scene.app.number("select count(*) from storage_reports").await, 0);
    // All that is wrong at once.
    let bad = json!({ "applicationId": "app_none", "bytes": 1 });
    let error = scene.send(json!([bad, fine, bad])).await.error(400, "invalid_request");
    assert_eq!(error["details"]["errors"][1]["field"], "reports[2].applicationId");
    // The borders themselves are fine, and so is a whole batch.
    let edge = |at: &str| json!({ "applicationId": id, "bytes": 1, "at": at });
    let edges = json!([edge("2026-03-10T12:05:00Z"), edge("2026-02-03T12:00:00Z")]);
    scene.send(edges).await.is(200);
    assert_eq!(scene.send(json!(vec![fine; 1_000])).await.json(200), ACCEPTED(1, 999, 0));
}

/// An independent count: the levels in the order of time, and every one held to the next.
fn expected(reports: &[(i64, i64)], from: i64, to: i64) -> i128 {
    let mut reports = reports.to_vec();
    reports.sort_unstable();
    let mut sum = 0;
    for (n, (at, bytes)) in reports.iter().enumerate() {
        let until = reports.get(n + 1).map_or(to, |next| next.0).min(to);
        sum += i128::from(*bytes) * i128::from((until - at.max(&from)).max(0));
    }
    sum
}

/// A sequence that is the same at each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[tokio::test]
async fn gb_months_are_exact_in_whatever_order_reports_come() {
    let scene = Scene::new().await;
    let mut dice = Dice(20_260_310);
    let now = scene.app.now().timestamp_micros();
    let february = (
        at("2026-02-01T00:00:00Z").timestamp_micros(),
        at("2026-03-01T00:00:00Z").timestamp_micros(),
    );
    let march = (february.1, at("2026-04-01T00:00:00Z").timestamp_micros());
    let day = 86_400_000_000_u64;
    for case in 0..40 {
        let workspace = scene.owner.workspace("pro").await;
        let mut sums = [0_i128; 2];
        for _ in 0..=case % 3 {
            let application = text(&scene.owner.application(&workspace, json!({})).await["id"]);
            let count = 1 + dice.below(30);
            let mut reports: Vec<(i64, i64)> = (0..count)
                .map(|_| {
                    // Levels are often the same as others, times often at a month's turn.
                    let back = match dice.below(5) {
                        0 => (now - february.1).cast_unsigned() - dice.below(3) + 1,
                        _ => dice.below(35 * day),
                    };
                    let bytes = match dice.below(3) {
                        0 => 0,
                        1 => 5 * GB,
                        _ => dice.below(1 << 31).cast_signed() * dice.below(1 << 20).cast_signed(),
                    };
                    (now - back.cast_signed(), bytes)
                })
                .collect();
            reports.sort_unstable();
            reports.dedup_by_key(|report| report.0);
            for (sum, month) in sums.iter_mut().zip([february, march]) {
                *sum += expected(&reports, month.0, month.1);
            }
            // Shuffled, in batches of any size, some sent twice.
            for n in (1..reports.len()).rev() {
                let other = usize::try_from(dice.below(n as u64 + 1)).unwrap();
                reports.swap(n, other);
            }
            while !reports.is_empty() {
                let size = 1 + usize::try_from(dice.below(reports.len() as u64)).unwrap();
                let batch: Vec<Value> = reports
                    .drain(..size)
                    .map(|(at, bytes)| {
                        let at = DateTime::from_timestamp_micros(at).unwrap();
                        json!({ "applicationId": application, "bytes": bytes, "at": at })
                    })
                    .collect();
                for _ in 0..=dice.below(2) {
                    scene.send(json!(batch)).await.is(200);
                }
            }
        }
        for (sum, (period, month)) in
            sums.into_iter().zip([("2026-02", february), ("2026-03", march)])
        {
            let micros = i128::from(stored(&scene.app, &workspace, period).await.gb_months);
            let whole = i128::from(GB) * i128::from(month.1 - month.0);
            // Within half a millionth of the exact figure, and of two as near the greater.
            let off = 2 * (micros * whole - sum * 1_000_000);
            assert!(
                -whole < off && off <= whole,
                "case {case}, {period}: {micros} of {sum}/{whole}"
            );
        }
    }
}

#[tokio::test]
async fn parallel_reports_count_as_if_one_came_after_the_other() {
    let scene = Scene::new().await;
    let reports: Vec<Value> = (0..24)
        .map(|n| {
            let at = scene.app.now() - TimeDelta::hours(n * 7 % 24);
            json!({ "applicationId": scene.application, "bytes": (n * 7 % 24) * GB, "at": at })
        })
        .collect();
    let sends = reports.iter().map(|report| scene.send(json!([report])));
    for answer in within(join_all(sends)).await {
        assert_eq!(answer.json(200), ACCEPTED(1, 0, 0));
    }
    let list: Vec<(i64, i64)> = (0..24)
        .map(|n| ((scene.app.now() - TimeDelta::hours(n)).timestamp_micros(), n * GB))
        .collect();
    let (from, to) = (at("2026-03-01T00:00:00Z"), at("2026-04-01T00:00:00Z"));
    let sum = expected(&list, from.timestamp_micros(), to.timestamp_micros());
    let whole = i128::from(GB) * i128::from((to - from).num_microseconds().unwrap());
    let micros = i128::from(scene.stored("2026-03").await.gb_months);
    let off = 2 * (micros * whole - sum * 1_000_000);
    assert!(-whole < off && off <= whole, "{micros} of {sum}/{whole}");
}

#[tokio::test]
async fn what_counts_into_a_month_that_has_ended_is_noted() {
    let scene = Scene::new().await;
    scene.report("2026-03-10T00:00:00Z", GB).await;
    assert_eq!(scene.late().await, Vec::<String>::new());
    // The same level changes no month.
    scene.report("2026-03-02T00:00:00Z", 0).await;
    assert_eq!(scene.late().await, Vec::<String>::new());
    scene.report("2026-02-27T00:00:00Z", 28 * GB).await;
    assert_eq!(scene.late().await, ["2026-02"]);
    assert_eq!(scene.stored("2026-02").await, Stored { bytes: 28 * GB, gb_months: 2_000_000 });
}

#[tokio::test]
async fn a_deleted_application_stores_nothing_until_it_is_restored() {
    let scene = Scene::new().await;
    let path = format!("/control/v1/applications/{}", scene.application);
    scene.report("2026-03-01T00:00:00Z", 31 * GB).await;
    scene.report("2026-03-10T12:04:00Z", 93 * GB).await;
    // The clock says noon of the 10th: what was said to be ahead of it has not come.
    scene.owner.delete(&path).await.is(204);
    // 9.5 of 31 days.
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 0, gb_months: 9_500_000 });
    scene.app.advance(TimeDelta::days(2));
    assert_eq!(scene.report("2026-03-11T00:00:00Z", 50 * GB).await, ACCEPTED(0, 0, 1));
    assert_eq!(scene.report("2026-03-12T12:00:00Z", 50 * GB).await, ACCEPTED(0, 0, 1));
    // Late, of the time before.
    assert_eq!(scene.report("2026-03-10T00:00:00Z", 62 * GB).await, ACCEPTED(1, 0, 0));
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 0, gb_months: 10_000_000 });
    scene.owner.post(&format!("{path}/restore"), json!({})).await.is(200);
    scene.app.run_due().await;
    // Noon of the 12th to the end: 19.5 days of 62.
    let whole = Stored { bytes: 62 * GB, gb_months: 49_000_000 };
    assert_eq!(scene.stored("2026-03").await, whole);
    assert_eq!(scene.report("2026-03-11T00:00:00Z", 50 * GB).await, ACCEPTED(0, 0, 1));
    assert_eq!(scene.stored("2026-03").await, whole);
}

#[tokio::test]
async fn a_deleted_workspace_stores_nothing_and_its_deleted_applications_stay_so() {
    let scene = Scene::new().await;
    let gone = text(&scene.owner.application(&scene.workspace, json!({})).await["id"]);
    scene.app.run_due().await;
    for id in [&scene.application, &gone] {
        let report = json!({ "applicationId": id, "bytes": 31 * GB, "at": "2026-03-01T00:00:00Z" });
        scene.send(json!([report])).await.is(200);
    }
    scene.owner.delete(&format!("/control/v1/applications/{gone}")).await.is(204);
    scene.app.advance(TimeDelta::hours(12));
    let workspace = format!("/control/v1/workspaces/{}", scene.workspace);
    scene.owner.delete(&workspace).await.is(204);
    // 9.5 days of the one, 10 of the other.
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 0, gb_months: 19_500_000 });
    scene.app.advance(TimeDelta::days(1));
    assert_eq!(scene.report("2026-03-11T12:00:00Z", 50 * GB).await, ACCEPTED(0, 0, 1));
    scene.owner.post(&format!("{workspace}/restore"), json!({})).await.is(200);
    // The 12th to the end: 20 days of the one that stands.
    assert_eq!(scene.stored("2026-03").await, Stored { bytes: 31 * GB, gb_months: 39_500_000 });
    // Purged, it is known still: a sender that goes on is not stopped by it.
    scene.app.advance(TimeDelta::days(10));
    scene.app.housekeeping().await;
    assert_eq!(scene.app.number("select count(*) from applications").await, 1);
    let reports = json!([
        { "applicationId": gone, "bytes": GB }, { "applicationId": scene.application, "bytes": GB },
    ]);
    assert_eq!(scene.send(reports).await.json(200), ACCEPTED(1, 0, 1));
}

#[tokio::test]
async fn a_year_of_reports_stays_small_and_every_month_exact() {
    let scene = Scene::new().await;
    let mut list = vec![];
    let start = scene.app.now();
    for day in 0..400_i64 {
        // Three a day that differ, and three that don't.
        let reports: Vec<Value> = (0..6)
            .map(|n| {
                let time =
                    start + TimeDelta::days(day) + TimeDelta::hours(n * 4) - TimeDelta::days(1);
                let bytes = (day * 1_000 + n.min(3)) * 1_000_003;
                list.push((time.timestamp_micros(), bytes));
                json!({ "applicationId": scene.application, "bytes": bytes, "at": time })
            })
            .collect();
        scene.send(json!(reports)).await.is(200);
        scene.app.advance(TimeDelta::days(1));
        if day % 50 == 49 {
            scene.app.housekeeping().await;
        }
    }
    let kept = scene.app.number("select count(*) from storage_reports").await;
    assert!(kept <= 37 * 6 + 1, "{kept} reports of 2400 are kept");
    let mut period = Period::containing(start);
    for _ in 0..13 {
        let (from, to) = (period.start().timestamp_micros(), period.end().timestamp_micros());
        let sum = expected(&list, from, to);
        let whole = i128::from(GB) * i128::from(to - from);
        let micros = i128::from(scene.stored(&period.to_string()).await.gb_months);
        let off = 2 * (micros * whole - sum * 1_000_000);
        assert!(-whole < off && off <= whole, "{period}: {micros} of {sum}/{whole}");
        period = Period::containing(period.end());
    }
}

#[tokio::test]
async fn a_level_that_nobody_touches_is_kept_for_good() {
    let scene = Scene::new().await;
    scene.report("2026-03-01T00:00:00Z", GB).await;
    scene.app.advance(TimeDelta::days(800));
    scene.app.housekeeping().await;
    assert_eq!(scene.app.number("select count(*) from storage_reports").await, 1);
    assert_eq!(scene.stored("2028-04").await, Stored { bytes: GB, gb_months: 1_000_000 });
    assert_eq!(scene.stored("2027-07").await, Stored { bytes: GB, gb_months: 1_000_000 });
    let now = scene.app.now().to_rfc3339();
    scene.report(&now, 2 * GB).await;
    assert_eq!(scene.stored("2027-07").await, Stored { bytes: GB, gb_months: 1_000_000 });
}

#[tokio::test]
async fn another_workspace_has_none_of_it() {
    let scene = Scene::new().await;
    scene.report("2026-03-01T00:00:00Z", GB).await;
    let other = scene.owner.workspace("pro").await;
    assert_eq!(stored(&scene.app, &other, "2026-03").await, Stored::default());
}
