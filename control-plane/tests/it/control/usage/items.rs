//! What each item of a month comes to and costs: storage, bandwidth, requests and meters.

use authsome_shared::id::EpochId;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::breakdown::Scene;
use crate::support::{FakeProxy, Record, text};

impl Scene {
    /// Reports what an application stores.
    async fn stores(&self, application: usize, at: &str, gb: u64) {
        let id = &self.applications[application]["id"];
        let report = json!({ "applicationId": id, "bytes": gb << 30, "at": at });
        let path = "/control/v1/ingest/storage";
        self.app.ingest().post(path, json!({ "reports": [report] })).await.is(200);
    }

    async fn whole(&self, period: &str) -> Value {
        let path = format!("/control/v1/workspaces/{}/usage?period={period}", self.workspace);
        self.owner.get(&path).await.json(200)
    }

    /// A plan like pro that prices more, for the workspace.
    async fn priced(&self, more: Value) {
        let admin = self.app.sign_up_admin("admin").await;
        let path = "/control/v1/admin/plans/pro";
        let mut plan = admin.get(path).await.json(200);
        for told in ["name", "version", "private", "note", "createdAt"] {
            plan.as_object_mut().unwrap().remove(told);
        }
        plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        admin.put(&format!("{path}?existing=move_now"), plan).await.is(200);
        self.app.run_due().await;
    }
}

#[tokio::test]
async fn storage_is_charged_by_its_average_over_all_applications() {
    let scene = Scene::new().await;
    // 31 days: 20 GB from the 1st on, and 62 more for the ten days from the 1st to the 11th.
    scene.app.advance(TimeDelta::days(2));
    scene.stores(0, "2026-03-01T00:00:00Z", 20).await;
    scene.stores(1, "2026-03-01T00:00:00Z", 62).await;
    scene.stores(1, "2026-03-11T00:00:00Z", 0).await;
    let march = scene.whole("2026-03").await;
    // 20 + 20 GB-months, 10 of them included, at $0.10.
    assert_eq!(
        march["usage"]["storage"],
        json!({
            "bytes": 20_u64 << 30, "gb": 20.0, "gbMonths": 40.0, "included": 10, "overage": 30.0,
            "cost": 3.0,
        })
    );
    assert_eq!(march["estimatedCost"], 28.0);
    assert_eq!((&march["costs"]["fee"], &march["costs"]["usage"]), (&json!(25.0), &json!(3.0)));
    // A month later the same, though the level has changed since.
    scene.app.advance(TimeDelta::days(30));
    scene.stores(0, "2026-04-10T00:00:00Z", 5).await;
    let again = scene.whole("2026-03").await;
    assert_eq!(again["usage"]["storage"], march["usage"]["storage"]);
    assert_eq!(again["estimatedCost"], march["estimatedCost"]);
    // 9 days of 20 and 21 of 5 of 30: 9.5, all included.
    let april = scene.whole("2026-04").await;
    assert_eq!(april["usage"]["storage"]["gbMonths"], 9.5);
    assert_eq!(
        (&april["usage"]["storage"]["overage"], &april["usage"]["storage"]["cost"]),
        (&json!(0.0), &json!(0.0))
    );
    assert_eq!(april["usage"]["storage"]["gb"], 5.0);
    scene.app.leave_jobs();
}

#[tokio::test]
async fn requests_bandwidth_and_meters_cost_what_the_plan_says() {
    let scene = Scene::new().await;
    let admin = scene.app.sign_up_admin("operator").await;
    for (name, label) in [("gpu_hours", "GPU time"), ("free_of_charge", "Mails")] {
        let meter = json!({ "name": name, "label": label, "unit": "hour", "aggregation": "sum" });
        admin.post("/control/v1/admin/meters", meter).await.is(201);
    }
    assert_eq!(scene.whole("2026-03").await["usage"]["meters"], json!([]));
    scene
        .priced(json!({
            "requests": { "included": 10, "tiers": [{ "upTo": null, "unitMicros": 10_000 }] },
            "bandwidthGb": { "included": 1, "tiers": [{ "upTo": null, "unitMicros": 90_000 }] },
            "meters": { "gpu_hours": {
                "included": 1, "tiers": [
                    { "upTo": 3, "unitMicros": 2_000_000 },
                    { "upTo": null, "unitMicros": 1_500_000 },
                ],
            } },
        }))
        .await;
    let record = Record::of(&scene.app, &scene.applications[0], &scene.keys[0]);
    let half = 1_u64 << 29;
    let records = [
        record.with(|r| (r.units, r.bytes_in, r.bytes_out) = (25, half, 2 * half)),
        record.with(|r| (r.units, r.bytes_in, r.bytes_out) = (1, 2 * half, 0)),
    ];
    FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &records).await;
    let send = async |meter: &str, id: &str, value: &str| {
        let event = json!({ "id": id, "workspaceId": scene.workspace, "value": value });
        let path = format!("/control/v1/ingest/meters/{meter}/events");
        scene.app.ingest().post(&path, json!({ "events": [event] })).await.is(200);
    };
    send("gpu_hours", "a", "2.25").await;
    send("gpu_hours", "b", "2.5").await;
    send("free_of_charge", "a", "1000").await;
    let usage = scene.whole("2026-03").await;
    let requests = json!({ "count": 26, "included": 10, "overage": 16, "cost": 0.16, "errors": 0 });
    assert_eq!(usage["usage"]["apiRequests"], requests);
    assert_eq!(
        usage["usage"]["bandwidth"],
        json!({
            "bytesIn": 3 * half, "bytesOut": 2 * half, "gb": 2.5, "included": 1, "overage": 1.5,
            // 13.5 cents.
            "cost": 0.14,
        })
    );
    assert_eq!(
        usage["usage"]["meters"],
        json!([
            {
                "name": "free_of_charge", "label": "Mails", "unit": "hour", "aggregation": "sum",
                "quantity": 1000.0, "events": 1, "included": null, "overage": 0.0, "cost": 0.0,
            },
            {
                "name": "gpu_hours", "label": "GPU time", "unit": "hour", "aggregation": "sum",
                "quantity": 4.75, "events": 2, "included": 1, "overage": 3.75,
                // 2 at $2, 1.75 at $1.50.
                "cost": 6.63,
            },
        ])
    );
    assert_eq!(usage["costs"]["usage"], 6.93);
    assert_eq!(usage["estimatedCost"], 31.93);
    // As a table, line by line.
    let answer = scene.owner.get(&scene.path("export?by=item")).await;
    answer.is(200);
    let table = String::from_utf8(answer.body.to_vec()).unwrap();
    let amounts: Vec<(String, String)> = table
        .split_terminator("\r\n")
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('"').split("\",\"").collect();
            assert_eq!((cells.len(), cells[0], cells[8]), (9, "2026-03", "USD"), "{line}");
            (format!("{} {} x {}", cells[1], cells[5], cells[6]), cells[7].to_owned())
        })
        .collect();
    let of = |what: &str| {
        amounts.iter().find(|(line, _)| line == what).map(|(_, amount)| amount.as_str())
    };
    assert_eq!(of("bandwidth 1.5 x 0.09"), Some("0.14"), "{amounts:?}");
    assert_eq!(of("meter:gpu_hours 1.75 x 1.5"), Some("2.63"), "{amounts:?}");
    assert_eq!(of("requests 16 x 0.01"), Some("0.16"), "{amounts:?}");
    let cents = |text: &str| {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        format!("{whole}{part:0<2}").parse::<i64>().unwrap()
    };
    assert_eq!(amounts.iter().map(|(_, amount)| cents(amount)).sum::<i64>(), 3193);
    scene.app.leave_jobs();
}

#[tokio::test]
async fn an_archived_meter_is_shown_where_it_has_counted() {
    let scene = Scene::new().await;
    let admin = scene.app.sign_up_admin("operator").await;
    let meter = json!({ "name": "mails", "label": "Mails", "unit": "mail", "aggregation": "sum" });
    admin.post("/control/v1/admin/meters", meter).await.is(201);
    let event = json!({ "id": "a", "workspaceId": scene.workspace });
    let path = "/control/v1/ingest/meters/mails/events";
    scene.app.ingest().post(path, json!({ "events": [event] })).await.is(200);
    admin.delete("/control/v1/admin/meters/mails").await.is(204);
    let march = scene.whole("2026-03").await;
    assert_eq!(text(&march["usage"]["meters"][0]["name"]), "mails");
    assert_eq!(scene.whole("2026-02").await["usage"]["meters"], json!([]));
    let other = scene.owner.workspace("pro").await;
    let path = format!("/control/v1/workspaces/{other}/usage");
    assert_eq!(scene.owner.get(&path).await.json(200)["usage"]["meters"], json!([]));
}
