use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Response, TestApp, fields};

const PATH: &str = "/control/v1/auth/login";

fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

#[tokio::test]
async fn the_right_password_signs_in() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let answer =
        app.anonymous().post(PATH, credentials(" ADA@example.com", PASSWORD)).await.json(200);
    assert_eq!(fields(&answer), ["expiresIn", "refreshToken", "token", "user"]);
    assert_eq!(answer["user"]["id"], ada.id());
}

#[tokio::test]
async fn unknown_account_and_wrong_password_look_alike() {
    let app = TestApp::new().await;
    app.sign_up("ada").await;
    let body = |response: Response| {
        let mut error = response.error(401, "unauthorized");
        error.as_object_mut().unwrap().remove("requestId");
        error
    };
    let anybody = app.anonymous();
    let wrong = body(anybody.post(PATH, credentials("ada@example.com", "wrong password")).await);
    for email in ["bob@example.com", "", "no address", "a\u{0}b@example.com", &"x".repeat(5_000)] {
        assert_eq!(
            body(anybody.post(PATH, credentials(email, PASSWORD)).await),
            wrong,
            "{email:?}"
        );
    }
}

/// A thousand parallel wrong passwords for Ada's account; how many were looked at, and refused.
async fn thousand_guesses(app: &TestApp) -> (usize, usize) {
    let guesses = (0..1_000).map(|n| {
        // From a thousand addresses: no limit on one of them helps.
        let eve = app.anonymous();
        let body = credentials("ada@example.com", &format!("guess {n:03}"));
        async move { eve.post(PATH, body).await.status }
    });
    let statuses = join_all(guesses).await;
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    (count(401), count(429))
}

#[tokio::test]
async fn of_a_thousand_parallel_guesses_ten_are_looked_at() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    assert_eq!(thousand_guesses(&app).await, (10, 990));
    // From an address that the account never signed in from the right one is not looked at either,
    // until the window ends.
    let anybody = app.anonymous();
    let right = credentials("ada@example.com", PASSWORD);
    let refused = anybody.post(PATH, right.clone()).await;
    refused.error(429, "rate_limit_exceeded");
    assert_eq!(refused.header("retry-after"), Some("900"));
    // The owner is not locked out by it, at home.
    ada.post(PATH, right.clone()).await.is(200);
    anybody.post(PATH, right.clone()).await.is(429);
    app.advance(TimeDelta::seconds(899));
    anybody.post(PATH, right.clone()).await.is(429);
    app.advance(TimeDelta::seconds(1));
    anybody.post(PATH, right).await.is(200);
}

#[tokio::test]
async fn an_address_that_the_account_knows_has_guesses_of_its_own_and_no_more() {
    let app = TestApp::with(|config| {
        config.identity.logins_per_minute = 10_000;
        config.identity.anonymous_requests_per_minute = 10_000;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let guesses = (0..100).map(|n| {
        let ada = ada.clone();
        let body = credentials("ada@example.com", &format!("guess {n}"));
        async move { ada.post(PATH, body).await.status }
    });
    let statuses = join_all(guesses).await;
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(401), count(429)), (10, 90));
    ada.post(PATH, credentials("ada@example.com", PASSWORD)).await.is(429);
    // After three months it is a stranger's.
    app.advance(TimeDelta::days(91));
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from known_addresses").await, 0);
}

#[tokio::test]
async fn guesses_of_an_unknown_account_are_counted_alike() {
    let app = TestApp::new().await;
    let (mut wrong, mut refused) = (0, 0);
    for _ in 0..15 {
        match app.anonymous().post(PATH, credentials("nobody@example.com", "x")).await.status {
            401 => wrong += 1,
            429 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert_eq!((wrong, refused), (10, 5));
}

#[tokio::test]
async fn a_flood_of_guesses_holds_up_nobody_for_long() {
    let app = TestApp::new().await;
    app.leave_jobs();
    let (ada, bob) = (app.sign_up("ada").await, app.sign_up("bob").await);
    let flood = (0..2_000).map(|n| {
        let eve = app.anonymous();
        let body = credentials(&format!("user{n}@example.com"), "guess");
        async move { eve.post(PATH, body).await.status }
    });
    let (statuses, others) = futures_util::join!(
        join_all(flood),
        // What needs no hash goes on meanwhile.
        join_all((0..50).map(|_| ada.get("/control/v1/auth/me")))
    );
    assert!(others.iter().all(|answer| answer.status == 200));
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!(count(401) + count(503), 2_000);
    assert!(count(503) > 0, "a bounded number waits");
    bob.post(PATH, credentials("bob@example.com", PASSWORD)).await.is(200);
}

#[tokio::test]
async fn a_sign_in_clears_the_count() {
    let app = TestApp::with(|config| config.identity.max_failed_logins = 2).await;
    app.sign_up("ada").await;
    let anybody = app.anonymous();
    for _ in 0..2 {
        anybody.post(PATH, credentials("ada@example.com", "wrong password")).await.is(401);
        anybody.post(PATH, credentials("ada@example.com", PASSWORD)).await.is(200);
    }
}

#[tokio::test]
async fn an_address_tries_only_so_often() {
    let app = TestApp::with(|config| config.identity.logins_per_minute = 2).await;
    let eve = app.anonymous();
    for _ in 0..2 {
        eve.post(PATH, credentials("a@example.com", "x")).await.is(401);
    }
    let refused = eve.post(PATH, credentials("b@example.com", "x")).await;
    refused.error(429, "rate_limit_exceeded");
    assert!(refused.header("retry-after").is_some());
    app.anonymous().post(PATH, credentials("b@example.com", "x")).await.is(401);
}
