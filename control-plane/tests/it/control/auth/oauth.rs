//! What needs no provider to answer; the rest is driven through real ones, end to end.

use authsome_control_plane::config::{Provider, ProviderKind};
use axum::body::Body;
use axum::http::Method;
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{Client, Response, TestApp, text};

const START: &str = "/control/v1/auth/oauth/github/start";
const CALLBACK: &str = "/control/v1/auth/oauth/github/callback";

/// GitHub, where nobody listens.
fn github() -> Provider {
    Provider {
        id: "github".into(),
        kind: ProviderKind::Github,
        client_id: "client".into(),
        client_secret: authsome_shared::secret::Secret::new("secret".into()),
        label: String::new(),
        issuer: String::new(),
        scopes: vec![],
        authorization_endpoint: String::new(),
        token_endpoint: "http://127.0.0.1:9/token".into(),
        userinfo_endpoint: "http://127.0.0.1:9/user".into(),
        jwks_uri: String::new(),
    }
}

async fn app_with(public_url: &str) -> TestApp {
    let public_url = public_url.to_owned();
    TestApp::with(move |config| {
        config.identity.providers = vec![github()];
        config.server.public_url = public_url;
        config.platform.dashboard_url = "https://dashboard.example.com/app".into();
    })
    .await
}

/// A browser's way: the state, and the cookie that it keeps.
async fn depart(client: &Client) -> (String, String) {
    let answer = client.get(START).await;
    answer.is(302);
    let url = url::Url::parse(answer.header("location").unwrap()).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    (state, cookie)
}

async fn come_back(client: &Client, query: &str, cookie: &str) -> Response {
    let request = client.request(Method::GET, &format!("{CALLBACK}?{query}"));
    client.send(request.header("cookie", cookie).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_browser_is_sent_with_a_state_a_challenge_and_a_cookie_of_its_own() {
    let app = app_with("https://api.example.com/").await;
    let browser = app.anonymous();
    let answer = browser.get(START).await;
    answer.is(302);
    let url = url::Url::parse(answer.header("location").unwrap()).unwrap();
    assert!(url.as_str().starts_with("https://github.com/login/oauth/authorize?"));
    let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!(value("redirect_uri"), format!("https://api.example.com{CALLBACK}"));
    assert_eq!(value("scope"), "read:user user:email");
    assert_eq!(value("code_challenge_method"), "S256");
    assert_eq!((value("state").len(), value("code_challenge").len()), (43, 43));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-authsome_oauth_"), "{cookie}");
    for word in ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age=600", "Secure"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!app.dump().await.contains(&value("state")), "stored as a digest");
    let listed = browser.get("/control/v1/auth/providers").await.json(200);
    assert_eq!(
        listed,
        json!({ "total": 1, "data": [{
            "id": "github", "kind": "github", "label": "GitHub",
            "startUrl": format!("https://api.example.com{START}"),
        }] })
    );
}

#[tokio::test]
async fn a_state_is_used_once_by_its_browser_and_expires() {
    let app = app_with("").await;
    let browser = app.anonymous();
    let (state, cookie) = depart(&browser).await;
    assert!(cookie.starts_with("authsome_oauth_"), "no https, no prefix: {cookie}");
    let query = format!("state={state}&code=x");
    for wrong in ["", "authsome_oauth_x=y", "state=only"] {
        let (other, _) = depart(&browser).await;
        let query = format!("state={other}&code=x");
        come_back(&browser, &query, wrong).await.assert_invalid("state");
    }
    // Two tabs don't disturb each other.
    let (_, second) = depart(&browser).await;
    let both = format!("{second}; {cookie}; other=1");
    let answer = come_back(&browser, &query, &both).await;
    answer.is(302);
    let there = "https://dashboard.example.com/app/signed-in?error=provider_unavailable";
    assert_eq!(answer.header("location"), Some(there));
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    come_back(&browser, &query, &cookie).await.assert_invalid("state");

    let (state, cookie) = depart(&browser).await;
    app.advance(TimeDelta::minutes(10));
    come_back(&browser, &format!("state={state}&code=x"), &cookie).await.assert_invalid("state");
    depart(&browser).await;
    app.advance(TimeDelta::minutes(10));
    app.housekeeping().await;
    assert_eq!(app.number("select count(*) from oauth_states").await, 0);
}

#[tokio::test]
async fn what_a_provider_says_of_an_error_is_passed_on_by_its_kind() {
    let app = app_with("").await;
    let browser = app.anonymous();
    for (said, passed_on) in [
        ("access_denied", "access_denied"),
        ("server_error", "provider_error"),
        ("%3Cscript%3E", "provider_error"),
    ] {
        let (state, cookie) = depart(&browser).await;
        let answer = come_back(&browser, &format!("state={state}&error={said}"), &cookie).await;
        let there = answer.header("location").unwrap().to_owned();
        assert!(there.ends_with(&format!("/signed-in?error={passed_on}")), "{there}");
    }
    browser.get(CALLBACK).await.assert_invalid("state");
    browser.get(&format!("{START}?redirect=https://evil.example")).await.assert_invalid("redirect");
    browser.get(&format!("{START}?challenge=short")).await.assert_invalid("challenge");
    browser.get(&format!("{START}?link=none")).await.assert_invalid("link");
    browser.get("/control/v1/auth/oauth/nobody/start").await.error(404, "not_found");
}

#[tokio::test]
async fn linking_begins_with_a_ticket_that_works_once_and_expires() {
    let app = app_with("").await;
    let ada = app.sign_up("ada").await;
    let path = "/control/v1/auth/identities";
    let begin = async || {
        let answer = ada.post(path, json!({ "provider": "github" })).await.json(200);
        let url = url::Url::parse(&text(&answer["url"])).unwrap();
        format!("{}?{}", url.path(), url.query().unwrap())
    };
    let browser = app.anonymous();
    let url = begin().await;
    browser.get(&url).await.is(302);
    browser.get(&url).await.assert_invalid("link");
    let url = begin().await;
    app.advance(TimeDelta::minutes(5));
    browser.get(&url).await.assert_invalid("link");
    ada.post(path, json!({ "provider": "nobody" })).await.error(404, "not_found");
    let elsewhere = json!({ "provider": "github", "redirect": "https://evil.example" });
    ada.post(path, elsewhere).await.assert_invalid("redirect");
    let listed = ada.get(path).await.json(200);
    assert_eq!(listed, json!({ "data": [], "total": 0, "hasPassword": true }));
}
