//! `/control/v1/admin/meters`.

use serde_json::{Value, json};

use crate::support::{Client, TestApp};

const PATH: &str = "/control/v1/admin/meters";

fn meter(name: &str, aggregation: &str) -> Value {
    json!({ "name": name, "label": "GPU time", "unit": "GPU hour", "aggregation": aggregation })
}

async fn scene() -> (TestApp, Client) {
    let app = TestApp::new().await;
    let admin = app.sign_up_admin("admin").await;
    (app, admin)
}

#[tokio::test]
async fn a_meter_is_defined_listed_and_read() {
    let (_app, admin) = scene().await;
    assert_eq!(admin.get(PATH).await.json(200)["data"], json!([]));
    let made = admin.post(PATH, meter("gpu_hours", "sum")).await.json(201);
    assert_eq!(
        made,
        json!({
            "name": "gpu_hours", "label": "GPU time", "unit": "GPU hour", "aggregation": "sum",
            "archivedAt": null, "createdAt": "2026-03-10T12:00:00Z",
            "updatedAt": "2026-03-10T12:00:00Z",
        })
    );
    assert_eq!(admin.get(&format!("{PATH}/gpu_hours")).await.json(200), made);
    for (name, aggregation) in [("peak", "max"), ("seats", "last"), ("devices", "unique")] {
        admin.post(PATH, meter(name, aggregation)).await.is(201);
    }
    let second = admin.get(&format!("{PATH}?page=2&pageSize=3")).await.json(200);
    assert_eq!((&second["total"], &second["data"][0]["name"]), (&json!(4), &json!("seats")));
    admin.get(&format!("{PATH}/none")).await.error(404, "not_found");
}

#[tokio::test]
async fn a_name_is_taken_once_and_what_is_none_is_refused() {
    let (app, admin) = scene().await;
    admin.post(PATH, meter("gpu_hours", "sum")).await.is(201);
    admin.post(PATH, meter("gpu_hours", "max")).await.error(409, "already_exists");
    for name in ["", "GPU", "gpu-hours", "gpu hours", "gpu\u{0}", "gpü", &"g".repeat(64)] {
        admin.post(PATH, meter(name, "sum")).await.assert_invalid("name");
    }
    admin.post(PATH, meter("other", "mean")).await.assert_invalid("aggregation");
    for field in ["label", "unit"] {
        let mut body = meter("other", "sum");
        body[field] = json!(" ");
        admin.post(PATH, body).await.assert_invalid(field);
    }
    assert_eq!(app.number("select count(*) from meters").await, 1);
}

#[tokio::test]
async fn what_past_months_rest_on_does_not_change() {
    let (app, admin) = scene().await;
    admin.post(PATH, meter("gpu_hours", "sum")).await.is(201);
    let path = format!("{PATH}/gpu_hours");
    let changed = admin.patch(&path, json!({ "label": " GPUs ", "unit": "hour" })).await.json(200);
    assert_eq!((&changed["label"], &changed["unit"]), (&json!("GPUs"), &json!("hour")));
    for (field, value) in [("aggregation", "max"), ("name", "other")] {
        admin.patch(&path, json!({ field: value })).await.assert_invalid(field);
    }
    admin.patch(&path, json!({ "label": "" })).await.assert_invalid("label");
    admin.patch(&format!("{PATH}/none"), json!({})).await.error(404, "not_found");
    let logged = "select count(*) from audit_entries where resource_type = 'meter'";
    assert_eq!(app.number(logged).await, 2);
}

#[tokio::test]
async fn an_archived_meter_takes_no_events_until_it_is_taken_up_again() {
    let (app, admin) = scene().await;
    let workspace = admin.workspace("pro").await;
    admin.post(PATH, meter("gpu_hours", "sum")).await.is(201);
    let path = format!("{PATH}/gpu_hours");
    let events = "/control/v1/ingest/meters/gpu_hours/events";
    let event = |id: &str| json!({ "events": [{ "id": id, "workspaceId": workspace }] });
    app.ingest().post(events, event("a")).await.is(200);
    for _ in 0..2 {
        admin.delete(&path).await.is(204);
        let archived = admin.get(&path).await.json(200)["archivedAt"].clone();
        assert_eq!(archived, "2026-03-10T12:00:00Z");
    }
    app.ingest().post(events, event("b")).await.error(409, "invalid_state");
    admin.patch(&path, json!({ "archived": false })).await.is(200);
    app.ingest().post(events, event("b")).await.is(200);
    assert_eq!(app.number("select value from meter_totals").await, 2_000_000);
    admin.delete(&format!("{PATH}/none")).await.error(404, "not_found");
}
