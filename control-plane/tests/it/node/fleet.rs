//! How many proxies share the rate limits, as each is told.

use authsome_control_plane::proxies;
use chrono::TimeDelta;

use crate::support::{FakeProxy, TestApp};

#[tokio::test]
async fn every_proxy_is_told_as_others_come_and_leave() {
    let app = TestApp::new().await;
    let (one, two) = (FakeProxy::new(&app), FakeProxy::new(&app));
    let mut first = one.follow().await;
    assert_eq!(first.fleet().await, 1);
    one.ack(1).await;
    let mut second = two.follow().await;
    assert_eq!(second.fleet().await, 2, "before it has reported");
    assert_eq!(first.fleet().await, 2);
    two.ack(1).await;
    two.leave().await;
    assert_eq!(first.fleet().await, 1);
    let mut back = two.follow().await;
    assert_eq!((back.fleet().await, first.fleet().await), (2, 2));
}

#[tokio::test]
async fn a_stream_that_breaks_off_moves_no_share_until_its_proxy_counts_as_gone() {
    let app = TestApp::new().await;
    let (one, two) = (FakeProxy::new(&app), FakeProxy::new(&app));
    let mut first = one.follow().await;
    assert_eq!(first.fleet().await, 1);
    drop(two.follow().await);
    two.ack(1).await;
    assert_eq!(first.fleet().await, 2);
    app.advance(TimeDelta::seconds(5));
    one.ack(1).await;
    let count = async |app: &TestApp| {
        let mut tx = app.app.db.read().await.unwrap();
        // As long after the start as it takes for everybody to be back.
        let before = proxies::Before::read(&mut tx).await.unwrap();
        drop(tx);
        app.advance(TimeDelta::seconds(1));
        let mut tx = app.app.db.read().await.unwrap();
        proxies::fleet(&mut tx, before).await.unwrap()
    };
    assert_eq!(count(&app).await, 2);
    app.advance(TimeDelta::seconds(5));
    one.ack(1).await;
    assert_eq!(first.fleet().await, 1, "the ping looks");
}

#[tokio::test]
async fn who_is_first_back_after_a_restart_takes_no_more_than_it_had() {
    let app = TestApp::new().await;
    let fleet_of = [FakeProxy::new(&app), FakeProxy::new(&app), FakeProxy::new(&app)];
    for proxy in &fleet_of {
        proxy.ack(1).await;
    }
    // One that died long ago is nobody's to wait for.
    app.advance(TimeDelta::minutes(5));
    for proxy in &fleet_of[..2] {
        proxy.ack(1).await;
    }
    app.advance(TimeDelta::minutes(10));
    let mut tx = app.app.db.read().await.unwrap();
    let before = proxies::Before::read(&mut tx).await.unwrap();
    drop(tx);
    fleet_of[0].ack(1).await;
    let fleet = async || {
        let mut tx = app.app.db.read().await.unwrap();
        proxies::fleet(&mut tx, before).await.unwrap()
    };
    assert_eq!(fleet().await, 2);
    fleet_of[1].leave().await;
    assert_eq!(fleet().await, 1);
    fleet_of[1].ack(1).await;
    app.advance(TimeDelta::seconds(10));
    fleet_of[0].ack(1).await;
    assert_eq!(fleet().await, 1, "the other has not come back");
}
