//! What a restarted application begins anew with.

use authsome_shared::snapshot::{Application, Breaker, Change};

use crate::harness::Harness;
use crate::upstream::Upstream;

const USERS: &str = "/v1/app_1/users";

async fn get(harness: &Harness) -> u16 {
    harness.connect().await.get(USERS, &harness.world.secret).await.status
}

async fn change(harness: &Harness, change: impl FnOnce(&mut Application)) {
    let mut application = harness.world.application.clone();
    change(&mut application);
    harness.change(vec![Change::Application(Box::new(application))]).await;
}

#[tokio::test]
async fn an_open_breaker_is_closed_by_a_restart_and_by_no_other_change() {
    let gone = Upstream::start().await.url();
    let harness = Harness::with(|world| {
        let breaker = Breaker { failures: 2, open_ms: 600_000, ..Breaker::default() };
        let upstream = world.upstream();
        upstream.urls = vec![gone];
        upstream.retries = 0;
        upstream.breaker = Some(breaker);
    })
    .await;
    assert_eq!((get(&harness).await, get(&harness).await), (502, 502));
    assert_eq!(get(&harness).await, 503, "the breaker is open");
    change(&harness, |it| it.max_body_bytes = 1_000).await;
    assert_eq!(get(&harness).await, 503);
    change(&harness, |it| it.generation = 1).await;
    assert_eq!(get(&harness).await, 502, "it is asked again");
}

#[tokio::test]
async fn connections_kept_from_before_a_restart_are_used_no_more() {
    let harness = Harness::start().await;
    let connections = async || {
        assert_eq!((get(&harness).await, get(&harness).await), (200, 200));
        let seen = harness.upstream.seen();
        [seen[seen.len() - 2].connection, seen[seen.len() - 1].connection]
    };
    let first = connections().await;
    assert_eq!(first[0], first[1], "a connection is kept");
    change(&harness, |it| it.max_body_bytes = 1_000).await;
    assert_eq!(connections().await, first, "also over a change of something else");
    change(&harness, |it| it.generation = 1).await;
    let next = connections().await;
    assert!(next[0] != first[0] && next[0] == next[1], "{first:?}, then {next:?}");
}
