//! Which totals proxies are told, and when.

use authsome_control_plane::keys::Settings;
use authsome_control_plane::{execute, revisions};
use authsome_shared::id::EpochId;
use authsome_shared::node::Frame;
use authsome_shared::snapshot::Change;
use authsome_shared::usage::{Total, UsageRecord};
use serde_json::{Value, json};
use sqlx::types::Json;

use crate::support::{Client, FakeProxy, Record, Stream, TestApp, text};

struct Scene {
    app: TestApp,
    owner: Client,
    application: Value,
}

impl Scene {
    async fn new() -> Self {
        let app = TestApp::new().await;
        let owner = app.sign_up("owner").await;
        let application = owner.application(&owner.workspace("pro").await, json!({})).await;
        app.run_due().await;
        Self { app, owner, application }
    }

    fn id(&self) -> String {
        text(&self.application["id"])
    }

    fn workspace(&self) -> String {
        text(&self.application["workspaceId"])
    }

    /// A new key's id.
    async fn key(&self, quota: Option<u64>) -> String {
        let path = format!("/control/v1/applications/{}/keys", self.id());
        let body = json!({ "name": "Backend", "type": "secret", "quota": quota });
        text(&self.owner.post(&path, body).await.json(201)["id"])
    }

    /// So many requests with each key.
    fn records(&self, keys: &[&str], each: usize) -> Vec<UsageRecord> {
        let of = |key| Record::of(&self.app, &self.application, key).times(each);
        keys.iter().copied().flat_map(of).collect()
    }
}

fn total(subject: &str, used: u64, applied: u64) -> Total {
    Total { subject: subject.into(), period: "2026-03".into(), used, applied }
}

fn sorted(mut totals: Vec<Total>) -> Vec<Total> {
    totals.sort_by(|a, b| a.subject.cmp(&b.subject));
    totals
}

/// The next totals that are told.
async fn told(stream: &mut Stream) -> Vec<Total> {
    loop {
        let frame = stream.next_of_any().await.expect("the stream goes on");
        if let Frame::Totals { totals } = frame {
            return sorted(totals);
        }
    }
}

#[tokio::test]
async fn of_keys_only_those_with_a_quota_are_told() {
    let scene = Scene::new().await;
    let (with, without) = (scene.key(Some(100)).await, scene.key(None).await);
    let (proxy, epoch) = (FakeProxy::new(&scene.app), EpochId::new());
    let records = scene.records(&[&with, &without], 3);
    let applied = proxy.apply(&epoch, 1, &records).await;
    let (workspace, application) = (scene.workspace(), scene.id());
    let expected = |applied| {
        let of = |subject: &str, used| total(subject, used, if applied { used } else { 0 });
        sorted(vec![of(&workspace, 6), of(&application, 6), of(&with, 3)])
    };
    assert_eq!(sorted(applied.totals.clone()), expected(true));
    assert_eq!(proxy.apply(&epoch, 1, &records).await, applied, "nor when it comes again");
    // Others learn the same: one that comes later …
    let other = FakeProxy::new(&scene.app);
    let mut stream = other.follow().await;
    assert_eq!(told(&mut stream).await, expected(false));
    // … and one that listens.
    for proxy in [&proxy, &other] {
        proxy.ack(scene.app.revision().await).await;
    }
    proxy.apply(&epoch, 7, &scene.records(&[&without], 1)).await;
    let news = [total(&workspace, 7, 0), total(&application, 7, 0), total(&with, 3, 0)];
    // What changed within the last seconds is told again.
    assert_eq!(told(&mut stream).await, sorted(news.to_vec()));
}

#[tokio::test]
async fn a_line_of_rotations_is_told_by_its_first_key() {
    let scene = Scene::new().await;
    let first = scene.key(Some(100)).await;
    let path = format!("/control/v1/applications/{}/keys/{first}/rotate", scene.id());
    let next = scene.owner.post(&path, json!({ "overlap": "0s" })).await.json(201);
    let next = text(&next["id"]);
    let mut records = scene.records(&[&next], 2);
    for record in &mut records {
        record.bucket = Some(first.parse().unwrap());
    }
    let applied = FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &records).await;
    assert!(applied.totals.contains(&total(&first, 2, 2)), "{applied:?}");
    // With the last key that carries it the quota goes.
    let path = format!("/control/v1/applications/{}/keys/{next}", scene.id());
    scene.owner.delete(&path).await.is(204);
    let applied = FakeProxy::new(&scene.app).apply(&EpochId::new(), 1, &records).await;
    assert_eq!(applied.totals.len(), 2, "{applied:?}");
}

#[tokio::test]
async fn the_answer_to_a_batch_does_not_grow_with_keys_that_have_no_quota() {
    let scene = Scene::new().await;
    let keys: Vec<String> = (0..1_000).map(|n| format!("key_{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let records = scene.records(&keys, 2);
    let answer = FakeProxy::new(&scene.app).ship(&EpochId::new(), 1, &records).await;
    answer.is(200);
    assert!(answer.body.len() < 300, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn a_quota_that_is_set_later_comes_with_what_was_used_before() {
    let scene = Scene::new().await;
    let key = scene.key(None).await;
    let one = FakeProxy::new(&scene.app);
    let epoch = EpochId::new();
    one.apply(&epoch, 1, &scene.records(&[&key], 70)).await;
    let mut streams = [one.follow().await, FakeProxy::new(&scene.app).follow().await];

    let changes = one.snapshot().await.changes;
    let mut wire = changes
        .into_iter()
        .find_map(|change| match change {
            Change::Key(wire) if wire.id.as_str() == key => Some(wire),
            _ => None,
        })
        .expect("it is there");
    wire.quota = Some(100);
    let settings =
        Settings { quota: wire.quota, scopes: wire.scopes.clone(), ..Settings::default() };
    let set = Change::Key(wire);
    let mut tx = scene.app.write().await;
    execute!(
        tx,
        sqlx::query("update keys set settings = $1 where id = $2").bind(Json(&settings)).bind(&key)
    )
    .unwrap();
    revisions::append(&mut tx, vec![set.clone()]).await.unwrap();
    tx.commit().await.unwrap();

    let used = Change::Used(total(&key, 70, 0));
    for stream in &mut streams {
        assert_eq!(stream.delta().await.1, [used.clone(), set.clone()]);
    }
    // A proxy that fetches all of it begins there, too …
    let changes = one.snapshot().await.changes;
    let place = |wanted: &Change| changes.iter().position(|change| change == wanted);
    assert!(place(&used).expect("told") < place(&set).expect("set"));
    // … as one that only comes back does, though nobody used the key since.
    let mut stream = FakeProxy::new(&scene.app).follow().await;
    assert!(told(&mut stream).await.contains(&total(&key, 70, 0)));
    let applied = one.apply(&epoch, 71, &scene.records(&[&key], 30)).await;
    assert!(applied.totals.contains(&total(&key, 100, 30)), "{applied:?}");
}

#[tokio::test]
async fn so_do_quotas_of_applications_and_workspaces() {
    let scene = Scene::new().await;
    let key = scene.key(None).await;
    let proxy = FakeProxy::new(&scene.app);
    let mut stream = proxy.follow().await;
    proxy.apply(&EpochId::new(), 1, &scene.records(&[&key], 70)).await;
    let path = format!("/control/v1/applications/{}", scene.id());
    let config = json!({ "config": { "quota": { "requests": 100 } } });
    scene.owner.patch(&path, config).await.is(200);
    let changes = stream.delta().await.1;
    assert_eq!(changes[0], Change::Used(total(&scene.id(), 70, 0)));
    assert!(matches!(&changes[1..], [Change::Application(_)]), "{changes:?}");

    let path = format!("/control/v1/workspaces/{}/plan", scene.workspace());
    scene.owner.post(&path, json!({ "plan": "free" })).await.is(200);
    let changes = stream.delta().await.1;
    assert_eq!(changes[0], Change::Used(total(&scene.workspace(), 70, 0)));
    assert!(matches!(&changes[1], Change::Workspace(_)), "{changes:?}");
    scene.app.leave_jobs();
}
