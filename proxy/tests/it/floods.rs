//! Callers that are refused and go on asking: they are slowed down, on connections that stay.

use authsome_shared::api_key::{KeyMode, KeyType, generate};
use authsome_shared::snapshot::RateLimit;
use http::Request;
use tokio::net::TcpStream;

use crate::harness::{Harness, eventually};
use crate::wire::Wire;

const USERS: &str = "/v1/app_1/users";
const HELD: &str = "authsome_proxy_refusals_held_total";

fn unknown() -> String {
    generate(KeyType::Secret, KeyMode::Live).into_inner()
}

/// Asks until an answer is held back.
async fn refused_until_held(harness: &Harness, wire: &mut Wire, path: &str, key: &str, told: u16) {
    let before = harness.metric(HELD).await;
    while harness.metric(HELD).await == before {
        for _ in 0..25 {
            assert_eq!(wire.get(path, key).await.status, told);
        }
    }
}

#[tokio::test]
async fn a_flood_is_slowed_on_a_connection_that_stays_until_a_request_is_good() {
    let harness = Harness::with(|world| world.config.connections.refusals_per_second = 20).await;
    let mut wire = harness.connect().await;
    let secret = harness.world.secret.clone();
    for (path, key, told) in [
        (USERS, unknown(), 401),
        ("/v1/app_2/users", secret.clone(), 404),
        (USERS, "sk_live_x".to_owned(), 401),
    ] {
        refused_until_held(&harness, &mut wire, path, &key, told).await;
        assert_eq!(wire.get(USERS, &secret).await.status, 200, "the same connection");
        let held = harness.metric(HELD).await;
        for _ in 0..20 {
            assert_eq!(wire.get(path, &key).await.status, told);
        }
        assert_eq!(harness.metric(HELD).await, held, "as if nothing had been");
    }
}

#[tokio::test]
async fn a_key_over_its_limit_is_a_flood_too() {
    let harness = Harness::with(|world| {
        world.config.connections.refusals_per_second = 20;
        world.key.rate_limit = Some(RateLimit::fast(1, 3_600_000, 1));
    })
    .await;
    let mut wire = harness.connect().await;
    let secret = harness.world.secret.clone();
    assert_eq!(wire.get(USERS, &secret).await.status, 200);
    refused_until_held(&harness, &mut wire, USERS, &secret, 429).await;
    let answer = wire.get(USERS, &secret).await;
    assert_eq!((answer.status, &*answer.code()), (429, "rate_limit_exceeded"));
    let others = harness.connect().await.get(USERS, &secret).await;
    assert_eq!(others.status, 429, "another connection is not held for it");
}

#[tokio::test]
async fn nobody_is_held_back_where_that_is_off_or_for_what_others_answer() {
    let mut harness = Harness::with(|world| world.config.connections.refusals_per_second = 0).await;
    let mut wire = harness.connect().await;
    for _ in 0..60 {
        assert_eq!(wire.get(USERS, &unknown()).await.status, 401);
    }
    harness.world.config.connections.refusals_per_second = 1;
    harness.stop().await;
    harness.restart().await;
    harness.ready().await;
    let mut wire = harness.connect().await;
    for _ in 0..60 {
        assert_eq!(wire.get("/v1/app_1/status/404", &harness.world.secret).await.status, 404);
    }
    assert_eq!(harness.metric(HELD).await, 0, "the upstream's own");
}

#[tokio::test]
async fn over_http2_good_requests_pass_those_that_wait_and_a_stop_answers_all() {
    let mut harness = Harness::with(|world| world.config.connections.refusals_per_second = 1).await;
    let stream = TcpStream::connect(harness.address()).await.expect("connected");
    let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("ready");
    let request = |key: &str| {
        let request = Request::get(format!("http://api.test{USERS}"));
        request.header("authorization", format!("Bearer {key}")).body(()).expect("a request")
    };
    // The last of them has a dozen seconds to wait, which nobody here does.
    let answers: Vec<_> =
        (0..31).map(|_| client.send_request(request(&unknown()), true).expect("sent").0).collect();
    eventually("held back", || async { harness.metric(HELD).await >= 5 }).await;
    let secret = harness.world.secret.clone();
    let (answer, _) = client.send_request(request(&secret), true).expect("sent");
    assert_eq!(answer.await.expect("answered").status(), 200);
    let waiting = async {
        for answer in answers {
            assert_eq!(answer.await.expect("answered").status(), 401);
        }
    };
    tokio::join!(harness.stop(), waiting);
}
