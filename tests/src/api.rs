//! The control plane's API as its users call it.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use reqwest::Client;
use serde_json::{Value, json};

use crate::call::Caller;
use crate::urls::Urls;
use crate::wait;

pub const PASSWORD: &str = "correct horse battery staple 9!";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A client of one connection pool.
pub fn http_client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // The stand-in for Stripe may have installed the same one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_mins(1))
        .build()
        .expect("a client")
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `Null` when the body is not JSON.
    pub body: Value,
}

impl Answer {
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Self { status, headers, body })
    }

    /// Panics with the whole answer when it has another status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A string in the body, by JSON pointer.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> String {
        let found = self.body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no text at {pointer}: {self:?}")).to_owned()
    }

    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `error.code` of the envelope.
    #[track_caller]
    pub fn code(&self) -> String {
        self.text("/error/code")
    }
}

/// A signed-in user.
pub struct Api {
    http: Client,
    urls: Urls,
    email: String,
    token: Option<String>,
}

/// An active application and its first keys.
pub struct Application {
    pub id: String,
    pub workspace: String,
    pub public_key: String,
    pub secret_key: String,
}

pub struct Key {
    pub id: String,
    pub text: String,
}

impl Api {
    pub fn anonymous(urls: &Urls) -> Self {
        Self { http: http_client(), urls: urls.clone(), email: String::new(), token: None }
    }

    /// A new user.
    pub async fn register(urls: &Urls) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let email = format!("user{number}@example.com");
        let mut api = Self::anonymous(urls);
        let body = json!({ "email": email, "password": PASSWORD, "name": "A User" });
        let answer = api.post("/control/v1/auth/register", body).await.expect(201);
        api.token = Some(answer.text("/token"));
        api.email = email;
        api
    }

    pub fn email(&self) -> &str {
        &self.email
    }

    /// The access token of its session; empty of nobody's.
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Goes on as whoever a sign-in is of.
    pub fn be(&mut self, sign_in: &Answer) {
        self.token = Some(sign_in.text("/token"));
        self.email = sign_in.text("/user/email");
    }

    /// The same user in a new session.
    pub async fn sign_in_again(&self) -> Self {
        Self::login(&self.urls, &self.email, PASSWORD).await
    }

    pub async fn login(urls: &Urls, email: &str, password: &str) -> Self {
        let mut api = Self::anonymous(urls);
        email.clone_into(&mut api.email);
        let body = json!({ "email": email, "password": password });
        let answer = api.post("/control/v1/auth/login", body).await.expect(200);
        api.token = Some(answer.text("/token"));
        api
    }

    /// Whoever shows this token.
    pub fn with_token(urls: &Urls, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::anonymous(urls) }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body.to_string())).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Any body, also one that is not JSON.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        let mut request = self.http.request(method, self.urls.control() + path);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        Answer::read(response).await.expect("a whole answer")
    }

    /// A `POST` with an `Idempotency-Key`; `None` when no whole answer came.
    pub async fn try_post(&self, path: &str, key: &str, body: &Value) -> Option<Answer> {
        let request = self.http.post(self.urls.control() + path).header("idempotency-key", key);
        let request = request.bearer_auth(self.token.as_deref().unwrap_or_default()).json(body);
        Answer::read(request.send().await.ok()?).await.ok()
    }

    /// A new workspace's id.
    pub async fn workspace(&self, plan: &str) -> String {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let slug = format!("workspace-{number}");
        let body = json!({ "name": "A Workspace", "slug": slug, "plan": plan });
        self.post("/control/v1/workspaces", body).await.expect(201).text("/id")
    }

    /// A new application, once it is active.
    pub async fn application(&self, workspace: &str, config: Value) -> Application {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/control/v1/workspaces/{workspace}/applications");
        let body = json!({
            "name": "Production",
            "slug": format!("production-{number}"),
            "environment": "production",
            "region": "us-east-1",
            "config": config,
        });
        let created = self.post(&path, body).await.expect(202);
        let id = created.text("/id");
        self.active(&id).await;
        Application {
            id,
            workspace: workspace.to_owned(),
            public_key: created.text("/publicKey"),
            secret_key: created.text("/secretKey"),
        }
    }

    /// An application in a new pro workspace, with the given upstream and no limit in reach.
    pub async fn unlimited(&self, upstream: &str) -> Application {
        let workspace = self.workspace("pro").await;
        self.application(&workspace, unlimited_config(upstream)).await
    }

    /// Waits for the application to be active.
    pub async fn active(&self, application: &str) {
        let path = format!("/control/v1/applications/{application}");
        wait::gently("the application is active", Duration::from_secs(20), async || {
            let answer = self.get(&path).await.expect(200);
            let status = answer.text("/status");
            assert_ne!(status, "failed", "{answer:?}");
            (status == "active").then_some(())
        })
        .await;
    }

    /// A new secret key with all scopes, once the proxy knows it (at the cost of one call).
    pub async fn key(&self, application: &Application) -> Key {
        let path = format!("/control/v1/applications/{}/keys", application.id);
        let body = json!({ "name": "Backend", "type": "secret", "scopes": ["*"] });
        let created = self.post(&path, body).await.expect(201);
        let key = Key { id: created.text("/id"), text: created.text("/key") };
        self.known(application, &key.text).await;
        key
    }

    /// Waits for the proxy to know a new key. Costs exactly one admitted call.
    pub async fn known(&self, application: &Application, key: &str) {
        let caller = Caller::new(&self.urls, &application.id, key);
        wait::until("the proxy knows the key", Duration::from_secs(5), async || {
            (caller.get("/known").await.status != 401).then_some(())
        })
        .await;
    }

    pub fn key_path(application: &Application, key: &Key) -> String {
        format!("/control/v1/applications/{}/keys/{}", application.id, key.id)
    }

    /// The current month's count of API requests, as billed.
    pub async fn requests(&self, workspace: &str) -> u64 {
        let path = format!("/control/v1/workspaces/{workspace}/usage");
        let answer = self.get(&path).await.expect(200);
        let count = answer.body.pointer("/usage/apiRequests/count").and_then(Value::as_u64);
        count.unwrap_or_else(|| panic!("no count: {answer:?}"))
    }

    /// Waits for the count to be exactly this; panics at once when it is more.
    pub async fn requests_become(&self, workspace: &str, wanted: u64, deadline: Duration) {
        let began = Instant::now();
        let what = format!("usage becomes {wanted}");
        wait::gently(&what, deadline + Duration::from_secs(10), async || {
            let now = self.requests(workspace).await;
            assert!(now <= wanted, "usage is {now}, with {wanted} calls admitted");
            (now == wanted).then_some(())
        })
        .await;
        let took = began.elapsed();
        assert!(took <= deadline, "usage became {wanted} only after {took:?}");
    }
}

/// The config of an application with one upstream.
pub fn upstream_config(url: &str) -> Value {
    json!({ "upstream": { "urls": [url] } })
}

/// The same without a rate limit that a test could reach.
pub fn unlimited_config(url: &str) -> Value {
    let limit = json!({ "requests": 1_000_000, "windowMs": 1000, "burst": 1_000_000 });
    json!({ "upstream": { "urls": [url] }, "rateLimit": limit })
}
