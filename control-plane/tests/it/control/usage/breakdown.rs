//! `/control/v1/workspaces/{workspaceId}/usage/breakdown`.

use authsome_shared::id::EpochId;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::{Client, FakeProxy, Record, TestApp, text};

/// A workspace with two applications, three keys and a month of requests.
pub struct Scene {
    pub app: TestApp,
    pub owner: Client,
    pub workspace: String,
    pub applications: Vec<Value>,
    pub keys: Vec<String>,
}

impl Scene {
    pub async fn new() -> Self {
        let app = TestApp::with(|config| {
            config.identity.access_token_seconds = 900 * 86_400;
            config.identity.refresh_token_days = 900;
        })
        .await;
        let owner = app.sign_up("owner").await;
        let workspace = owner.workspace("pro").await;
        let (mut applications, mut keys) = (vec![], vec![]);
        for name in ["Production", "=cmd|' /C calc'!A0"] {
            let path = format!("/control/v1/workspaces/{workspace}/applications");
            applications.push(owner.post(&path, json!({ "name": name })).await.json(202));
        }
        app.run_due().await;
        for (n, application) in applications.iter().enumerate() {
            for _ in 0..=n {
                keys.push(text(&owner.key(&text(&application["id"])).await["id"]));
            }
        }
        Self { app, owner, workspace, applications, keys }
    }

    /// Some requests of each key: 6 of the first, 5 of the second, 4 of the third.
    pub async fn used(&self) {
        let mut records = vec![];
        for (n, key) in self.keys.iter().enumerate() {
            let application = &self.applications[n.min(1)];
            for i in 0..6 - n {
                records.push(Record::of(&self.app, application, key).with(|r| {
                    r.units = 1 + u32::try_from(i).unwrap();
                    r.route = ["GET /users/*", "POST /users", "*"][i % 3].into();
                    r.status = if i == 2 { 503 } else { 200 };
                    r.user = Some(format!("user-{}", i % 2 + n));
                    r.at -= i64::try_from(i).unwrap() * 3_600_000;
                }));
            }
        }
        FakeProxy::new(&self.app).apply(&EpochId::new(), 1, &records).await;
    }

    pub fn path(&self, what: &str) -> String {
        format!("/control/v1/workspaces/{}/usage/{what}", self.workspace)
    }

    async fn get(&self, query: &str) -> Value {
        self.owner.get(&self.path(&format!("breakdown?{query}"))).await.json(200)
    }

    /// The whole month, as usage says.
    async fn month(&self, period: &str) -> Value {
        let path = format!("/control/v1/workspaces/{}/usage?period={period}", self.workspace);
        self.owner.get(&path).await.json(200)["usage"].clone()
    }
}

/// What the parts on all pages come to.
async fn added(scene: &Scene, query: &str) -> Value {
    let mut sums = [0_i64; 5];
    let mut page = 1;
    loop {
        let answer = scene.get(&format!("{query}&page={page}&pageSize=2")).await;
        let parts = answer["data"].as_array().unwrap();
        for part in parts {
            for (sum, field) in
                sums.iter_mut().zip(["requests", "units", "errors", "bytesIn", "bytesOut"])
            {
                *sum += part[field].as_i64().unwrap();
            }
        }
        if parts.is_empty() {
            break;
        }
        page += 1;
    }
    let [requests, units, errors, bytes_in, bytes_out] = sums;
    json!({
        "requests": requests, "units": units, "errors": errors, "bytesIn": bytes_in,
        "bytesOut": bytes_out,
    })
}

#[tokio::test]
async fn the_parts_of_each_way_add_up_to_the_month() {
    let scene = Scene::new().await;
    scene.used().await;
    let month = scene.month("2026-03").await;
    let expected = json!({
        "requests": 15, "units": 21 + 15 + 10, "errors": 3, "bytesIn": 15 * 10,
        "bytesOut": 15 * 100,
    });
    for by in ["application", "key", "route"] {
        let answer = scene.get(&format!("by={by}")).await;
        assert_eq!(answer["sum"], expected, "{by}");
        assert_eq!(added(&scene, &format!("by={by}")).await, expected, "{by}");
    }
    assert_eq!(month["apiRequests"]["count"], expected["units"]);
    assert_eq!(month["apiRequests"]["errors"], expected["errors"]);
    assert_eq!(month["bandwidth"]["bytesIn"], expected["bytesIn"]);
    assert_eq!(month["bandwidth"]["bytesOut"], expected["bytesOut"]);
}

#[tokio::test]
async fn applications_are_named_with_their_users_and_storage() {
    let scene = Scene::new().await;
    scene.used().await;
    let second = text(&scene.applications[1]["id"]);
    let report =
        json!({ "applicationId": second, "bytes": 3_u64 << 30, "at": "2026-03-01T00:00:00Z" });
    let body = json!({ "reports": [report] });
    scene.app.ingest().post("/control/v1/ingest/storage", body).await.is(200);
    let answer = scene.get("").await;
    assert_eq!(answer["by"], "application");
    assert_eq!((&answer["period"], &answer["total"]), (&json!("2026-03"), &json!(2)));
    assert_eq!(
        answer["data"],
        json!([
            {
                "applicationId": second, "applicationName": "=cmd|' /C calc'!A0",
                "requests": 9, "units": 25, "errors": 2, "bytesIn": 90, "bytesOut": 900,
                "activeUsers": 3, "storageBytes": 3_u64 << 30, "storageGbMonths": 3.0,
            },
            {
                "applicationId": scene.applications[0]["id"], "applicationName": "Production",
                "requests": 6, "units": 21, "errors": 1, "bytesIn": 60, "bytesOut": 600,
                "activeUsers": 2, "storageBytes": 0, "storageGbMonths": 0.0,
            },
        ])
    );
    assert_eq!(scene.month("2026-03").await["mau"]["current"], 4);
    let one = scene.get(&format!("applicationId={second}")).await;
    assert_eq!((&one["total"], &one["sum"]["requests"]), (&json!(1), &json!(9)));
}

#[tokio::test]
async fn what_only_stores_something_is_an_application_too() {
    let scene = Scene::new().await;
    let id = text(&scene.applications[0]["id"]);
    let report = json!({ "applicationId": id, "bytes": 1_u64 << 30, "at": "2026-03-01T00:00:00Z" });
    let body = json!({ "reports": [report] });
    scene.app.ingest().post("/control/v1/ingest/storage", body).await.is(200);
    let answer = scene.get("by=application").await;
    assert_eq!(answer["data"][0]["storageGbMonths"], 1.0);
    assert_eq!((&answer["total"], &answer["data"][0]["requests"]), (&json!(1), &json!(0)));
    for period in ["2026-02", "2026-04"] {
        assert_eq!(scene.get(&format!("period={period}")).await["data"], json!([]), "{period}");
    }
}

#[tokio::test]
async fn a_rotated_key_counts_with_its_successor() {
    let scene = Scene::new().await;
    let path = format!(
        "/control/v1/applications/{}/keys/{}/rotate",
        text(&scene.applications[0]["id"]),
        scene.keys[0]
    );
    let next = text(&scene.owner.post(&path, json!({ "overlap": "1h" })).await.json(201)["id"]);
    scene.used().await;
    let line = scene.keys[0].parse().unwrap();
    let record =
        Record::of(&scene.app, &scene.applications[0], &next).with(|r| r.bucket = Some(line));
    FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &[record]).await;
    let answer = scene.get("by=key").await;
    assert_eq!(answer["total"], 3);
    assert_eq!(
        answer["data"][0],
        json!({
            "applicationId": scene.applications[0]["id"], "applicationName": "Production",
            "keyId": scene.keys[0], "keyName": "Backend",
            "requests": 7, "units": 22, "errors": 1, "bytesIn": 70, "bytesOut": 700,
        })
    );
    let other = text(&scene.applications[1]["id"]);
    let of_one = scene.get(&format!("by=key&applicationId={other}")).await;
    assert_eq!((&of_one["total"], &of_one["sum"]["requests"]), (&json!(2), &json!(9)));
}

#[tokio::test]
async fn routes_are_told_apart_by_application_and_survive_compaction() {
    let scene = Scene::new().await;
    scene.used().await;
    let before = scene.get("by=route").await;
    assert_eq!(before["total"], 6);
    assert_eq!(
        before["data"][0],
        json!({
            "applicationId": scene.applications[1]["id"],
            "applicationName": "=cmd|' /C calc'!A0", "route": "GET /users/*",
            "requests": 4, "units": 10, "errors": 0, "bytesIn": 40, "bytesOut": 400,
        })
    );
    assert_eq!(before.get("knownFrom"), None);
    scene.app.advance(TimeDelta::days(4));
    scene.app.housekeeping().await;
    assert_eq!(scene.app.number("select count(*) from usage_minutes").await, 0);
    assert_eq!(scene.get("by=route").await, before);
}

#[tokio::test]
async fn routes_say_from_when_on_they_are_known_and_totals_stay() {
    let scene = Scene::new().await;
    scene.used().await;
    scene.app.advance(TimeDelta::days(4));
    scene.app.housekeeping().await;
    scene.app.advance(TimeDelta::days(406));
    scene.app.housekeeping().await;
    let routes = scene.get("by=route&period=2026-03").await;
    let known = text(&routes["knownFrom"]).parse::<DateTime<Utc>>().unwrap();
    assert_eq!(known, scene.app.now() - TimeDelta::days(400));
    assert_eq!((&routes["data"], &routes["sum"]["requests"]), (&json!([]), &json!(0)));
    // Of a month that is gone as a whole, from its end.
    let routes = scene.get("by=route&period=2026-01").await;
    assert_eq!(routes["knownFrom"], "2026-02-01T00:00:00Z");
    for by in ["application", "key"] {
        let answer = scene.get(&format!("by={by}&period=2026-03")).await;
        assert_eq!(answer["sum"]["requests"], 15, "{by}");
        assert_eq!(answer.get("knownFrom"), None, "{by}");
    }
}

#[tokio::test]
async fn what_is_deleted_and_purged_is_named_still() {
    let scene = Scene::new().await;
    scene.used().await;
    let id = text(&scene.applications[0]["id"]);
    let names = async || {
        let mut names = vec![];
        for by in ["application", "key", "route"] {
            let path = format!("by={by}&applicationId={id}&period=2026-03");
            let part = scene.get(&path).await["data"][0].clone();
            names.push((part["applicationName"].clone(), part["keyName"].clone()));
        }
        names
    };
    let before = names().await;
    assert_eq!(before[1], (json!("Production"), json!("Backend")));
    scene.owner.delete(&format!("/control/v1/applications/{id}")).await.is(204);
    assert_eq!(names().await, before);
    scene.app.advance(TimeDelta::days(8));
    scene.app.housekeeping().await;
    assert_eq!(scene.app.number("select count(*) from applications").await, 1);
    assert_eq!(names().await, before);
}

#[tokio::test]
async fn what_left_no_trace_is_counted_without_a_name() {
    let scene = Scene::new().await;
    let record = Record::of(&scene.app, &scene.applications[0], &scene.keys[0]).with(|r| {
        r.application = "app_purged".parse().unwrap();
        r.key = "key_purged".parse().unwrap();
    });
    FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &[record]).await;
    let answer = scene.get("by=application").await;
    assert_eq!(answer["data"][0]["applicationId"], "app_purged");
    assert_eq!(answer["data"][0].get("applicationName"), None);
    let answer = scene.get("by=key").await;
    assert_eq!(
        (&answer["data"][0]["keyId"], &answer["sum"]["requests"]),
        (&json!("key_purged"), &json!(1))
    );
}

#[tokio::test]
async fn another_workspaces_usage_is_not_in_it() {
    let scene = Scene::new().await;
    scene.used().await;
    let other = scene.owner.workspace("pro").await;
    for by in ["application", "key", "route"] {
        let id = text(&scene.applications[0]["id"]);
        for query in [format!("by={by}"), format!("by={by}&applicationId={id}")] {
            let path = format!("/control/v1/workspaces/{other}/usage/breakdown?{query}");
            let answer = scene.owner.get(&path).await.json(200);
            assert_eq!((&answer["data"], &answer["total"]), (&json!([]), &json!(0)), "{query}");
        }
    }
}

#[tokio::test]
async fn what_can_not_be_asked_is_refused() {
    let scene = Scene::new().await;
    for (query, field) in [
        ("period=2026-13", "period"),
        ("by=colour", "by"),
        ("applicationId=app", "applicationId"),
        ("applicationId=%00", "applicationId"),
        ("page=-1", "page"),
    ] {
        scene.owner.get(&scene.path(&format!("breakdown?{query}"))).await.assert_invalid(field);
    }
    assert_eq!(scene.get("page=9&pageSize=1000").await["pageSize"], 100);
}
