//! Sessions kept in cookies, for pages in a browser.

use axum::http::{Method, header};
use serde_json::{Value, json};

use crate::support::{Client, PASSWORD, Response, TestApp};

const LOGIN: &str = "/control/v1/auth/login";
const WORKSPACES: &str = "/control/v1/workspaces";

async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut request =
        client.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.send(request.body(body.to_string().into()).unwrap()).await
}

fn credentials() -> Value {
    json!({ "email": "ada@example.com", "password": PASSWORD })
}

/// What a browser would send back.
fn jar(response: &Response) -> String {
    let pairs: Vec<&str> =
        cookies(response).iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
    pairs.join("; ")
}

fn cookies(response: &Response) -> Vec<&str> {
    response.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
}

async fn sign_in(app: &TestApp) -> (Client, Response) {
    app.sign_up("ada").await;
    let browser = app.anonymous();
    let response = post(&browser, LOGIN, &[("x-authsome-session", "cookie")], &credentials()).await;
    response.is(200);
    (browser, response)
}

#[tokio::test]
async fn a_browsers_tokens_are_where_no_script_can_read_them() {
    let app = TestApp::new().await;
    let (browser, signed_in) = sign_in(&app).await;
    let body = signed_in.json(200);
    assert_eq!(body["user"]["email"], "ada@example.com");
    assert!(body.get("token").is_none() && body.get("refreshToken").is_none(), "{body}");
    let set = cookies(&signed_in);
    assert_eq!(set.len(), 2);
    for cookie in &set {
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    }
    assert!(set[0].contains("Path=/control/v1; Max-Age=900;"), "{}", set[0]);
    assert!(set[1].contains("Path=/control/v1/auth; Max-Age=2592000;"), "{}", set[1]);

    let request = browser.request(Method::GET, "/control/v1/auth/me");
    let request = request.header("cookie", format!("theme=dark; {}", jar(&signed_in)));
    let me = browser.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(me.json(200)["email"], "ada@example.com");
}

#[tokio::test]
async fn behind_https_cookies_travel_by_https_only() {
    let app = TestApp::with(|config| {
        config.platform.dashboard_url = "https://dash.example.com".into();
    })
    .await;
    let (_, signed_in) = sign_in(&app).await;
    for cookie in cookies(&signed_in) {
        assert!(
            cookie.starts_with("__Secure-authsome_") && cookie.ends_with("; Secure"),
            "{cookie}"
        );
    }
}

#[tokio::test]
async fn another_sites_page_changes_nothing_by_a_cookie() {
    let app = TestApp::with(|config| {
        config.api.allowed_origins = vec!["https://app.example.com".into()];
    })
    .await;
    let (browser, signed_in) = sign_in(&app).await;
    let jar = jar(&signed_in);
    let cookie = ("cookie", jar.as_str());
    let body = json!({ "name": "Acme" });
    for headers in [
        &[cookie][..],
        &[cookie, ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        &[cookie, ("origin", "https://evil.example")],
        &[cookie, ("sec-fetch-site", "same-site")],
    ] {
        post(&browser, WORKSPACES, headers, &body).await.error(403, "forbidden");
        let keyed = [headers, &[("idempotency-key", "one")]].concat();
        post(&browser, WORKSPACES, &keyed, &body).await.error(403, "forbidden");
    }
    let refresh = [cookie, ("sec-fetch-site", "cross-site")];
    post(&browser, "/control/v1/auth/refresh", &refresh, &json!({})).await.error(403, "forbidden");
    for headers in [
        &[cookie, ("sec-fetch-site", "same-origin")][..],
        &[cookie, ("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")],
    ] {
        post(&browser, WORKSPACES, headers, &body).await.json(201);
    }
}

#[tokio::test]
async fn a_cookie_session_is_refreshed_and_ended_like_any_other() {
    let app = TestApp::new().await;
    let (browser, signed_in) = sign_in(&app).await;
    let first = jar(&signed_in);
    let same_origin = ("sec-fetch-site", "same-origin");
    let path = "/control/v1/auth/refresh";
    let keyed = [("cookie", first.as_str()), same_origin, ("idempotency-key", "refresh-1")];
    let refreshed = post(&browser, path, &keyed, &json!({})).await;
    assert!(refreshed.json(200).get("refreshToken").is_none());
    let second = jar(&refreshed);
    assert_ne!(first, second);
    let again = post(&browser, path, &keyed, &json!({})).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(jar(&again), second, "a retried refresh sets the same cookies");

    let headers = [("cookie", second.as_str()), same_origin];
    let out = post(&browser, "/control/v1/auth/logout", &headers, &json!({})).await;
    out.is(204);
    assert!(cookies(&out).iter().all(|cookie| cookie.contains("Max-Age=0")));
    post(&browser, WORKSPACES, &headers, &json!({ "name": "A" })).await.error(401, "unauthorized");
    // The refresh token is of no more use either.
    post(&browser, path, &headers, &json!({})).await.error(401, "unauthorized");
    post(&browser, path, &[same_origin], &json!({})).await.assert_invalid("refreshToken");
}

#[tokio::test]
async fn an_authorization_header_counts_for_more_than_a_cookie() {
    let app = TestApp::new().await;
    let (browser, signed_in) = sign_in(&app).await;
    let jar = jar(&signed_in);
    let headers = [("cookie", jar.as_str()), ("authorization", "Bearer wrong")];
    post(&browser, WORKSPACES, &headers, &json!({ "name": "A" })).await.error(401, "unauthorized");
    let wrong = [("x-authsome-session", "jar")];
    post(&browser, LOGIN, &wrong, &credentials()).await.assert_invalid("X-AuthSome-Session");
}
