use authsome_control_plane::db::Topic;
use authsome_control_plane::proxies;
use authsome_shared::id::PlatformId;
use authsome_shared::node::Frame;
use authsome_shared::snapshot::Change;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{FakeProxy, TestApp, within};

/// Six revisions and more.
async fn with_history(app: &TestApp) -> String {
    let owner = app.sign_up("owner").await;
    let workspace = owner.workspace("pro").await;
    owner.application(&workspace, json!({})).await;
    app.run_due().await;
    workspace
}

#[tokio::test]
async fn a_proxy_goes_on_from_its_revision_without_a_gap() {
    let app = TestApp::new().await;
    with_history(&app).await;
    let newest = app.revision().await;
    assert!(newest >= 6);
    let proxy = FakeProxy::new(&app);
    let header = proxy.snapshot().await.header;
    for from in [0, 1, newest - 1, newest] {
        let mut stream = proxy.stream(header.platform.as_str(), from).await;
        let hello = stream.next().await;
        let expected =
            Frame::Hello { platform: header.platform.clone(), revision: header.revision };
        assert_eq!(hello, Some(expected), "from {from}");
        for revision in from + 1..=newest {
            assert_eq!(stream.delta().await.0, revision);
        }
    }
}

#[tokio::test]
async fn each_change_arrives_once_and_in_order() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let mut streams = vec![];
    for _ in 0..3 {
        streams.push(FakeProxy::new(&app).follow().await);
    }
    let newest = app.revision().await;
    // In parallel, so that revisions are taken under contention.
    join_all((0..10).map(|_| owner.workspace("free"))).await;
    for stream in &mut streams {
        for revision in newest + 1..=newest + 10 {
            let (arrived, changes) = stream.delta().await;
            assert_eq!(arrived, revision);
            assert!(matches!(changes[..], [Change::Workspace(_)]), "{changes:?}");
        }
    }
}

#[tokio::test]
async fn a_replica_hears_of_anothers_changes() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let mut proxy = FakeProxy::new(&app);
    let header = proxy.snapshot().await.header;
    proxy.client = proxy.client.at(&app.reopen().await);
    let mut stream = proxy.follow().await;
    let workspace = owner.workspace("free").await;
    let (revision, changes) = stream.delta().await;
    assert_eq!(revision.cast_unsigned(), header.revision + 1);
    let [Change::Workspace(wire)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(wire.id.as_str(), workspace);
}

#[tokio::test]
async fn whoever_cannot_go_on_begins_anew() {
    let app = TestApp::new().await;
    with_history(&app).await;
    let proxy = FakeProxy::new(&app);
    let header = proxy.snapshot().await.header;
    let newest = header.revision.cast_signed();
    let reset = Some(Frame::Reset { platform: header.platform.clone(), revision: header.revision });
    let own = header.platform.to_string();
    let other = PlatformId::new().to_string();
    for (platform, revision, why) in [
        (&other, newest, "another platform's"),
        (&String::new(), 0, "none yet"),
        (&own, newest + 1, "ahead of the log"),
    ] {
        let mut stream = proxy.stream(platform, revision).await;
        assert_eq!(stream.next().await, reset, "{why}");
        assert_eq!(stream.next().await, None, "the stream ends");
    }

    app.advance(TimeDelta::hours(73));
    app.housekeeping().await;
    let mut stream = proxy.stream(&own, newest - 2).await;
    assert_eq!(stream.next().await, reset, "pruned");
    for revision in [newest - 1, newest] {
        let mut stream = proxy.stream(&own, revision).await;
        let hello = stream.next().await;
        assert!(matches!(hello, Some(Frame::Hello { .. })), "{revision}: {hello:?}");
    }
}

#[tokio::test]
async fn what_was_rolled_back_is_not_published() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    owner.post("/control/v1/workspaces", json!({ "name": "A", "slug": "taken" })).await.is(201);
    let mut stream = FakeProxy::new(&app).follow().await;
    let revision = app.revision().await;
    let mut tx = app.write().await;
    let remove = Change::RemoveWorkspace("ws_1".parse().unwrap());
    authsome_control_plane::revisions::append(&mut tx, vec![remove]).await.unwrap();
    drop(tx);
    owner.post("/control/v1/workspaces", json!({ "name": "A", "slug": "taken" })).await.is(409);
    let workspace = owner.workspace("free").await;
    let (arrived, changes) = stream.delta().await;
    assert_eq!(arrived, revision + 1, "no revision was spent");
    let [Change::Workspace(wire)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(wire.id.as_str(), workspace);
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives() {
    let app = TestApp::new().await;
    let mut stream = FakeProxy::new(&app).follow().await;
    loop {
        match stream.next_of_any().await {
            Some(Frame::Ping { revision }) => {
                assert_eq!(revision.cast_signed(), app.revision().await);
                break;
            }
            Some(Frame::Totals { .. } | Frame::Fleet { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_change_does_not_wait_for_the_next_ping() {
    let app = TestApp::new().await;
    let owner = app.sign_up("owner").await;
    let mut stream = FakeProxy::new(&app).follow().await;
    let mut at_once = 0;
    for _ in 0..6 {
        owner.workspace("free").await;
        loop {
            match stream.next_of_any().await {
                Some(Frame::Delta { .. }) => {
                    at_once += 1;
                    break;
                }
                Some(Frame::Ping { .. }) => {
                    // Now and then a ping falls between; only never a delta alone would be wrong.
                    stream.delta().await;
                    break;
                }
                Some(_) => {}
                None => panic!("the stream ended"),
            }
        }
    }
    assert!(at_once > 0, "every change came behind a ping only");
}

#[tokio::test]
async fn a_shutdown_ends_the_stream() {
    let app = TestApp::new().await;
    let mut stream = FakeProxy::new(&app).follow().await;
    app.shut_down();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_proxy_is_gone_with_its_stream() {
    let app = TestApp::new().await;
    let proxy = FakeProxy::new(&app);
    let stream = proxy.follow().await;
    proxy.ack(app.revision().await).await;
    let mut wake = app.app.db.subscribe(Topic::Proxies);
    drop(stream);
    let gone = async {
        while app.number("select count(*) from proxies where connected = true").await > 0 {
            wake.changed().await.unwrap();
        }
    };
    within(gone).await;
}

#[tokio::test]
async fn the_end_of_an_earlier_stream_disconnects_nobody() {
    let app = TestApp::new().await;
    let proxy = FakeProxy::new(&app);
    let connected = || app.number("select count(*) from proxies where connected = true");
    let mut tx = app.write().await;
    proxies::follow(&mut tx, &proxy.id, "first", 1).await.unwrap();
    tx.commit().await.unwrap();
    proxy.ack(1).await;
    let mut tx = app.write().await;
    proxies::follow(&mut tx, &proxy.id, "second", 1).await.unwrap();
    proxies::disconnect(&mut tx, &proxy.id, "first").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(connected().await, 1);
    let mut tx = app.write().await;
    proxies::disconnect(&mut tx, &proxy.id, "second").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(connected().await, 0);
}

#[tokio::test]
async fn refusals_name_the_parameter() {
    let app = TestApp::new().await;
    let node = app.node();
    for (query, field) in [
        ("revision=0", "node"),
        ("node=app_1&revision=0", "node"),
        ("node=node_1&revision=-1", "revision"),
        ("node=node_1&revision=18446744073709551615", "revision"),
    ] {
        node.get(&format!("/node/v1/stream?{query}")).await.assert_invalid(field);
    }
    let nonsense = json!({ "node": "node_1" });
    node.post("/node/v1/ack", nonsense).await.assert_invalid("version");
    let bad = json!({ "node": "node_\u{0}", "version": "1", "revision": 1 });
    node.post("/node/v1/ack", bad).await.assert_invalid("node");
    let bad = json!({ "node": "node_1", "version": "\u{0}", "revision": 1 });
    node.post("/node/v1/ack", bad).await.assert_invalid("version");
    assert_eq!(app.number("select count(*) from proxies").await, 0);
}
