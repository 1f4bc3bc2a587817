//! Browsers: which pages may call the API.

use axum::body::Body;
use axum::http::Method;

use crate::support::{Response, TestApp};

async fn preflight(app: &TestApp, origin: &str) -> Response {
    let client = app.anonymous();
    let request = client
        .request(Method::OPTIONS, "/control/v1/workspaces")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key");
    client.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_others_may_not() {
    let app = TestApp::with(|config| {
        config.api.allowed_origins = vec!["https://app.example.com".into()];
        config.platform.dashboard_url = "https://dash.example.com/dashboard".into();
    })
    .await;
    for origin in ["https://app.example.com", "https://dash.example.com"] {
        let answer = preflight(&app, origin).await;
        answer.is(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(["PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("idempotency-key"), "{headers}");
    }
    for origin in
        ["https://evil.example", "http://app.example.com", "https://app.example.com:444", "null"]
    {
        let answer = preflight(&app, origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn an_allowed_page_can_read_errors_and_what_their_headers_say() {
    let app = TestApp::with(|config| {
        config.api.allowed_origins = vec!["https://app.example.com".into()];
    })
    .await;
    let client = app.anonymous();
    let request = client.request(Method::GET, "/control/v1/workspaces");
    let request = request.header("origin", "https://app.example.com");
    let answer = client.send(request.body(Body::empty()).unwrap()).await;
    answer.error(401, "unauthorized");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["x-authsome-request-id", "x-ratelimit-remaining", "retry-after"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    assert!(answer.header("vary").is_some_and(|vary| vary.contains("origin")), "caches must know");
}
