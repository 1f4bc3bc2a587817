use authsome_control_plane::actor::Role;
use authsome_control_plane::execute;
use authsome_shared::id::EpochId;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Scene;
use crate::support::{FakeProxy, Receiver, Record, TestApp, text};

/// A workspace of the free plan, whose months include 100,000 request units and 10,000 users.
struct Usage {
    scene: Scene,
    receiver: Receiver,
    proxy: FakeProxy,
    epoch: EpochId,
    sequence: u64,
    record: Record,
}

impl Usage {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let workspace = scene.owner.workspace("free").await;
        let application = scene.owner.application(&workspace, json!({})).await;
        let id = text(&application["id"]);
        let key = text(&scene.owner.key(&id).await["id"]);
        scene.app.run_due().await;
        scene.app.deliver().await;
        let path = format!("/control/v1/applications/{id}/webhooks");
        let receiver = Receiver::start().await;
        let body = json!({ "url": receiver.url(), "events": ["usage.threshold"] });
        scene.owner.post(&path, body).await.is(201);
        let record = Record::of(&scene.app, &application, &key);
        let proxy = FakeProxy::new(&scene.app);
        let scene = Scene { workspace, application, path, ..scene };
        Self { scene, receiver, proxy, epoch: EpochId::new(), sequence: 1, record }
    }

    fn app(&self) -> &TestApp {
        &self.scene.app
    }

    /// One record of that many units.
    async fn use_units(&mut self, units: u32) {
        let record = self.record.with(|record| record.units = units);
        self.proxy.apply(&self.epoch, self.sequence, &[record]).await;
        self.sequence += 1;
    }

    /// One record of each of the users.
    async fn use_as(&mut self, users: std::ops::Range<u32>) {
        let count = u64::from(users.end - users.start);
        let records: Vec<_> =
            users.map(|n| self.record.with(|it| it.user = Some(format!("user-{n}")))).collect();
        self.proxy.apply(&self.epoch, self.sequence, &records).await;
        self.sequence += count;
    }

    /// The `data` of the events that came since it was last asked.
    async fn told(&self) -> Vec<Value> {
        self.app().deliver().await;
        let received = self.receiver.received();
        self.receiver.forget();
        let mut data: Vec<Value> = received.iter().map(|it| it.json()["data"].clone()).collect();
        // No order is promised.
        data.sort_by_key(|data| (text(&data["threshold"]).len(), text(&data["threshold"])));
        data
    }

    async fn mails(&self) -> Vec<String> {
        let before = self.app().mails().len();
        self.app().run_due().await;
        self.app().mails().split_off(before)
    }
}

fn thresholds(told: &[Value]) -> Vec<String> {
    told.iter().map(|data| text(&data["threshold"])).collect()
}

#[tokio::test]
async fn each_threshold_of_requests_is_told_once_a_month() {
    let mut usage = Usage::new().await;
    usage.use_units(79_999).await;
    assert!(usage.told().await.is_empty());
    usage.use_units(1).await;
    let told = usage.told().await;
    assert_eq!(
        told,
        [json!({
            "workspaceId": usage.scene.workspace, "threshold": "requests_80_percent",
            "current": 80_000, "limit": 100_000, "period": "2026-03",
        })]
    );
    let mails = usage.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("has used 80 % of its requests"), "{}", mails[0]);
    assert!(mails[0].contains("To: owner@example.com"));
    usage.use_units(9_999).await;
    assert!(usage.told().await.is_empty());
    // Past two at once: both are told, the higher one by mail.
    usage.use_units(20_000).await;
    assert_eq!(thresholds(&usage.told().await), ["requests_90_percent", "requests_100_percent"]);
    let mails = usage.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("has used 100 % of its requests"), "{}", mails[0]);
    usage.use_units(200_000).await;
    assert!(usage.told().await.is_empty() && usage.mails().await.is_empty());

    usage.app().advance(TimeDelta::days(30));
    let record = usage.record.with(|record| record.at = usage.app().now().timestamp_millis());
    usage.record = Record::from(record);
    usage.use_units(80_000).await;
    let told = usage.told().await;
    assert_eq!(thresholds(&told), ["requests_80_percent"]);
    assert_eq!(told[0]["period"], "2026-04");
    usage.mails().await;
}

#[tokio::test]
async fn a_batch_that_comes_twice_tells_once() {
    let mut usage = Usage::new().await;
    for _ in 0..3 {
        usage.sequence = 1;
        usage.use_units(85_000).await;
    }
    assert_eq!(thresholds(&usage.told().await), ["requests_80_percent"]);
    assert_eq!(usage.mails().await.len(), 1);
}

#[tokio::test]
async fn active_users_count_once_in_the_workspace() {
    let mut usage = Usage::new().await;
    usage.use_as(0..5_000).await;
    // Of another application, half of them the same people.
    let other = usage.scene.owner.application(&usage.scene.workspace, json!({})).await;
    usage.app().run_due().await;
    let key = text(&usage.scene.owner.key(&text(&other["id"])).await["id"]);
    let first = std::mem::replace(&mut usage.record, Record::of(&usage.scene.app, &other, &key));
    usage.use_as(2_500..7_500).await;
    usage.use_as(7_500..7_999).await;
    assert!(usage.told().await.is_empty());
    usage.record = first;
    usage.use_as(7_998..8_000).await;
    let told = usage.told().await;
    assert_eq!(
        told,
        [json!({
            "workspaceId": usage.scene.workspace, "threshold": "mau_80_percent",
            "current": 8_000, "limit": 10_000, "period": "2026-03",
        })]
    );
    let counted = "select (select users from usage_active_users) - \
         (select count(distinct end_user) from usage_users)";
    assert_eq!(usage.app().number(counted).await, 0);
    assert!(usage.mails().await[0].contains("80 % of its monthly active users"));
}

#[tokio::test]
async fn owners_admins_and_billing_get_the_mail() {
    let mut usage = Usage::new().await;
    for (name, role) in [
        ("admin", Role::Admin),
        ("billing", Role::Billing),
        ("developer", Role::Developer),
        ("viewer", Role::Viewer),
    ] {
        let member = usage.app().sign_up(name).await;
        usage.app().add_member(&usage.scene.workspace, &member, role).await;
    }
    usage.use_units(100_000).await;
    usage.told().await;
    let mails = usage.mails().await;
    assert_eq!(mails.len(), 3);
    for name in ["owner", "admin", "billing"] {
        assert!(mails.iter().any(|mail| mail.contains(&format!("To: {name}@example.com"))));
    }
}

#[tokio::test]
async fn what_was_agreed_with_a_workspace_goes_before_its_plan() {
    let mut usage = Usage::new().await;
    let mut tx = usage.app().write().await;
    let overrides = sqlx::types::Json(json!({ "requestsPerMonth": 200_000 }));
    execute!(
        tx,
        sqlx::query("update workspaces set limits = $1 where id = $2")
            .bind(overrides)
            .bind(&usage.scene.workspace)
    )
    .unwrap();
    tx.commit().await.unwrap();
    usage.use_units(159_999).await;
    assert!(usage.told().await.is_empty());
    usage.use_units(1).await;
    assert_eq!(usage.told().await[0]["limit"], 200_000);
    usage.mails().await;
}

#[tokio::test]
async fn what_a_plan_does_not_bound_has_no_threshold() {
    let scene = Scene::new().await;
    let (receiver, _) = scene.receiver(json!(["*"])).await;
    let key = text(&scene.owner.key(&scene.application()).await["id"]);
    scene.app.deliver().await;
    receiver.forget();
    let record = Record::of(&scene.app, &scene.application, &key);
    let record = record.with(|record| record.units = 1_000_000_000);
    FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &[record]).await;
    assert_eq!(scene.app.deliver().await, 0);
}

#[tokio::test]
async fn usage_of_a_workspace_that_is_gone_is_applied_all_the_same() {
    let scene = Scene::new().await;
    let mut gone = scene.application.clone();
    gone["workspaceId"] = json!("ws_gone");
    let record = Record::of(&scene.app, &gone, "key_gone");
    let record = record.with(|it| (it.units, it.user) = (1_000_000, Some("somebody".into())));
    FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &[record]).await;
    assert_eq!(scene.app.number("select count(*) from usage_thresholds").await, 0);
}

#[tokio::test]
async fn storage_is_told_by_what_the_month_would_come_to() {
    let usage = Usage::new().await;
    let app = usage.app();
    let id = text(&usage.scene.application["id"]);
    // Of 5 GB-months.
    let report = async |at: &str, bytes: u64| {
        let report = json!({ "applicationId": id, "bytes": bytes, "at": at });
        let body = json!({ "reports": [report] });
        app.ingest().post("/control/v1/ingest/storage", body).await.is(200);
    };
    report("2026-03-01T00:00:00Z", (4 << 30) - 4_000).await;
    assert_eq!(usage.told().await, Vec::<Value>::new());
    report("2026-03-01T00:00:01Z", (4 << 30) - 2_000).await;
    assert_eq!(usage.told().await, Vec::<Value>::new());
    report("2026-03-09T00:00:00Z", 5 << 30).await;
    // 8 days of 4 and 23 of 5 of 31.
    let told = usage.told().await;
    assert_eq!(thresholds(&told), ["storage_80_percent", "storage_90_percent"]);
    assert_eq!((&told[0]["current"], &told[0]["limit"]), (&json!(4.741_935), &json!(5)));
    let mails = usage.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("has used 90 % of its GB-months of storage"), "{}", mails[0]);
    report("2026-03-09T00:00:00Z", 5 << 30).await;
    report("2026-03-10T00:00:00Z", 50 << 30).await;
    assert_eq!(thresholds(&usage.told().await), ["storage_100_percent"]);
    assert_eq!(usage.mails().await.len(), 1);
    // The next month again, at the first report in it.
    app.advance(TimeDelta::days(25));
    report("2026-04-02T00:00:00Z", 5 << 30).await;
    assert_eq!(usage.told().await.len(), 3);
    app.leave_jobs();
}

#[tokio::test]
async fn a_meter_is_told_by_what_the_plan_includes_of_it() {
    let usage = Usage::new().await;
    let app = usage.app();
    let admin = app.sign_up_admin("admin").await;
    let meter = json!({
        "name": "gpu_hours", "label": "GPU hours", "unit": "hour", "aggregation": "sum",
    });
    admin.post("/control/v1/admin/meters", meter).await.is(201);
    let send = async |id: &str, value: &str| {
        let event = json!({ "id": id, "workspaceId": usage.scene.workspace, "value": value });
        let path = "/control/v1/ingest/meters/gpu_hours/events";
        app.ingest().post(path, json!({ "events": [event] })).await.is(200);
    };
    send("a", "7").await;
    assert_eq!(usage.told().await, Vec::<Value>::new(), "no plan includes it yet");
    let path = "/control/v1/admin/plans/free";
    let mut plan = admin.get(path).await.json(200);
    for told in ["name", "version", "private", "note", "createdAt"] {
        plan.as_object_mut().unwrap().remove(told);
    }
    plan["meters"] = json!({ "gpu_hours": { "included": 10, "tiers": [] } });
    admin.put(&format!("{path}?existing=move_now"), plan).await.is(200);
    app.run_due().await;
    send("b", "0.999999").await;
    assert_eq!(usage.told().await, Vec::<Value>::new());
    send("c", "0.000001").await;
    let told = usage.told().await;
    assert_eq!(thresholds(&told), ["meter_gpu_hours_80_percent"]);
    assert_eq!((&told[0]["current"], &told[0]["limit"]), (&json!(8), &json!(10)));
    send("d", "5.5").await;
    let told = usage.told().await;
    assert_eq!(thresholds(&told), ["meter_gpu_hours_90_percent", "meter_gpu_hours_100_percent"]);
    assert_eq!(told[0]["current"], 13.5);
    let mails = usage.mails().await;
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(mails[1].contains("has used 13.5 of the 10 GPU hours"), "{}", mails[1]);
    app.leave_jobs();
}
