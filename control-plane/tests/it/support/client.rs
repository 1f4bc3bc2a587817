//! A caller, and what it is answered. Every answer is held to what all answers must be: a request
//! id, and the one envelope around errors.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// Somebody who calls the API.
#[derive(Clone)]
pub struct Client {
    router: Router,
    pub address: SocketAddr,
    /// Shown as the bearer.
    pub token: Option<String>,
    pub refresh_token: String,
    user: Value,
}

impl Client {
    pub fn new(router: Router, address: SocketAddr) -> Self {
        Self { router, address, token: None, refresh_token: String::new(), user: Value::Null }
    }

    /// Goes on as whoever a sign-in is of.
    pub fn be(&mut self, sign_in: &Value) {
        self.token = Some(text(&sign_in["token"]));
        self.refresh_token = text(&sign_in["refreshToken"]);
        self.user = sign_in["user"].clone();
    }

    /// The same person, signed in anew: for when the clock was turned far.
    pub async fn be_again(&self) -> Self {
        let mut client = Self { token: None, ..self.clone() };
        let login = serde_json::json!({ "email": self.email(), "password": super::PASSWORD });
        client.be(&client.post("/control/v1/auth/login", login).await.json(200));
        client
    }

    /// The same person elsewhere, such as at another replica.
    pub fn at(&self, other: &Self) -> Self {
        Self { router: other.router.clone(), ..self.clone() }
    }

    pub fn id(&self) -> String {
        text(&self.user["id"])
    }

    pub fn email(&self) -> String {
        text(&self.user["email"])
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::POST, path, &body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::PATCH, path, &body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Response {
        self.send_json(Method::PUT, path, &body).await
    }

    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Response {
        self.send_text(method, path, "application/json", body.to_string()).await
    }

    pub async fn send_text(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> Response {
        let request = self.request(method, path).header(header::CONTENT_TYPE, content_type);
        self.send(request.body(body.into()).unwrap()).await
    }

    /// A request with this caller's token and address.
    pub fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let request = Request::builder().method(method).uri(path);
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends, and answers the response with its body yet to be read.
    pub async fn open(&self, mut request: Request<Body>) -> axum::response::Response {
        request.extensions_mut().insert(ConnectInfo(self.address));
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Response {
        let what = format!("{} {}", request.method(), request.uri());
        let response = self.open(request).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let response =
            Response { what, status: parts.status.as_u16(), headers: parts.headers, body };
        response.check();
        response
    }

    /// A new workspace of the plan; its id.
    pub async fn workspace(&self, plan: &str) -> String {
        let body = serde_json::json!({ "name": "Acme Corporation", "plan": plan });
        text(&self.post("/control/v1/workspaces", body).await.json(201)["id"])
    }

    /// A new application by its configuration; the whole answer.
    pub async fn application(&self, workspace: &str, config: Value) -> Value {
        let path = format!("/control/v1/workspaces/{workspace}/applications");
        let body = serde_json::json!({ "name": "Production", "config": config });
        self.post(&path, body).await.json(202)
    }

    /// A new secret key; the whole answer.
    pub async fn key(&self, application: &str) -> Value {
        let path = format!("/control/v1/applications/{application}/keys");
        let body = serde_json::json!({ "name": "Backend", "type": "secret" });
        self.post(&path, body).await.json(201)
    }
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    what: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Response {
    /// Asserts the status; the body.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        self.is(status);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    #[track_caller]
    pub fn is(&self, status: u16) {
        assert_eq!(self.status, status, "{self}");
    }

    /// Asserts status and code; the `error` of the envelope.
    #[track_caller]
    pub fn error(&self, status: u16, code: &str) -> Value {
        let error = self.json(status)["error"].clone();
        assert_eq!(error["code"], code, "{self}");
        error
    }

    /// Asserts that the first violation is of `field`.
    #[track_caller]
    pub fn assert_error(&self, status: u16, code: &str, field: &str) {
        let error = self.error(status, code);
        assert_eq!(error["details"]["field"], field, "{self}");
        assert!(error["details"]["reason"].is_string(), "{self}");
    }

    #[track_caller]
    pub fn assert_invalid(&self, field: &str) {
        self.assert_error(400, "invalid_request", field);
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// What holds for every answer.
    fn check(&self) {
        let id = self.header("x-authsome-request-id").unwrap_or_default();
        assert!(id.starts_with("req_"), "no request id: {self}");
        if self.status < 400 {
            return;
        }
        assert_eq!(self.header("content-type"), Some("application/json"), "{self}");
        let body: Value = serde_json::from_slice(&self.body).expect("an error is JSON");
        let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["error"], "{self}");
        let error = body["error"].as_object().unwrap();
        assert_eq!(error["requestId"], id, "{self}");
        for name in ["code", "message"] {
            assert!(error[name].as_str().is_some_and(|text| !text.is_empty()), "{self}");
        }
        for name in error.keys() {
            let known = ["code", "message", "details", "requestId", "retryAfter"];
            assert!(known.contains(&name.as_str()), "{name}: {self}");
        }
    }
}

impl std::fmt::Display for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} answered {}: {body}", self.what, self.status)
    }
}

/// A JSON string's text.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}

/// The names of an object's fields, sorted.
#[track_caller]
pub fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
