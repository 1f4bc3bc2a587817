//! The built-in upstream for applications without their own: a small server on a loopback port
//! that answers 200 with what it received, `{method, path, query, headers, body}`. It is for trying
//! the platform out; it sees what any upstream sees, so what it shows is what one would get.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Largest body that is read and shown.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// Runs until it is dropped.
pub struct Echo {
    pub address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Echo {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("can't bind a loopback port for the built-in echo")?;
        let address = listener.local_addr()?;
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener)));
        Ok(Self { address, _task: task })
    }
}

async fn accept(listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                connections.spawn(async move {
                    let mut server = http1::Builder::new();
                    server.timer(TokioTimer::new()).header_read_timeout(None);
                    let _ = server.serve_connection(TokioIo::new(stream), service_fn(echo)).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (status, answer) = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => (StatusCode::OK, show(&head, &body.to_bytes())),
        Err(_) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            json!({"error": {"code": "payload_too_large", "message": "The echo reads 10 MiB"}}),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}

fn show(head: &http::request::Parts, body: &[u8]) -> Value {
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
    };
    json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": query,
        "headers": headers,
        "body": body,
    })
}
