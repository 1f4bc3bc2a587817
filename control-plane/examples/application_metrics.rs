//! How long an application's metrics take over ten million minutes of usage, on PostgreSQL: the API
//! as it is served, answer and all, without the network.
//!
//! `cargo run --release -p authsome-control-plane --example application_metrics -- postgres://…`
//!
//! The URL is of a server that may be filled: it makes a database of its own there, and drops it at
//! the end. `MINUTES` and `QUERIES` (environment) change how many minutes and repetitions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use authsome_control_plane::app::App;
use authsome_control_plane::config::Config;
use authsome_control_plane::http;
use authsome_shared::clock::Clock;
use authsome_shared::secret::Secret;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use url::Url;

const DATABASE: &str = "authsome_application_metrics";

const DAYS: u64 = 31;

/// Of one application.
const MINUTES_EACH: u64 = DAYS * 24 * 60;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = std::env::args().nth(1).context("give the URL of a PostgreSQL server")?;
    let server: Url = url.parse().context("not a URL")?;
    let mut admin = PgConnection::connect(server.as_str()).await?;
    let drop = format!("drop database if exists {DATABASE} with (force)");
    sqlx::query(AssertSqlSafe(drop.clone())).execute(&mut admin).await?;
    sqlx::query(AssertSqlSafe(format!("create database {DATABASE}"))).execute(&mut admin).await?;
    let measured = measure(&server).await;
    sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
    measured
}

async fn measure(server: &Url) -> anyhow::Result<()> {
    let mut url = server.clone();
    url.set_path(DATABASE);
    let folder = tempfile::tempdir()?;
    let mut config = Config::default();
    config.server.data_dir = folder.path().to_owned();
    // Filling takes a while.
    config.identity.access_token_seconds = 86_400;
    config.database.url = Secret::new(url.to_string());
    let app = App::open(config, Clock::system()).await?;
    let mut api = Api { router: http::router(&app, &CancellationToken::new()), token: None };

    let user = json!({
        "email": "owner@example.com", "password": "correct horse battery", "name": "Owner",
    });
    let user = api.post("/control/v1/auth/register", &user).await?;
    api.token = user["token"].as_str().map(ToOwned::to_owned);
    let workspace = json!({ "name": "Acme", "plan": "pro" });
    let workspace = api.post("/control/v1/workspaces", &workspace).await?;
    let path = format!(
        "/control/v1/workspaces/{}/applications",
        workspace["id"].as_str().context("an id")?
    );
    let application = api.post(&path, &json!({ "name": "Busy" })).await?;
    let id = application["id"].as_str().context("an id")?.to_owned();

    let minutes = number("MINUTES", 10_000_000)?;
    let applications = minutes.div_ceil(MINUTES_EACH);
    let began = Instant::now();
    fill(&url, &id, applications).await?;
    println!(
        "{} minutes of {applications} applications, and their steps of 5 minutes and an hour: \
         filled in {:.0?}",
        applications * MINUTES_EACH,
        began.elapsed()
    );

    let queries = usize::try_from(number("QUERIES", 25)?)?;
    let own = format!("/control/v1/applications/{id}");
    for (what, path) in [
        ("30 days by the hour", format!("{own}/metrics?period=30d&interval=1h")),
        ("30 days by five minutes", format!("{own}/metrics?period=30d&interval=5m")),
        ("30 days by the minute", format!("{own}/metrics?period=30d&interval=1m")),
        ("24 hours by five minutes", format!("{own}/metrics")),
        ("the application with its month", own.clone()),
    ] {
        let mut took = Vec::with_capacity(queries);
        let mut bytes = 0;
        for _ in 0..queries {
            let began = Instant::now();
            bytes = api.get(&path).await?;
            took.push(began.elapsed());
        }
        report(what, &mut took, bytes);
    }
    Ok(())
}

fn report(what: &str, took: &mut [Duration], bytes: usize) {
    let first = took[0];
    took.sort();
    println!(
        "{what}: p50 {:.1?}, max {:.1?}, first {first:.1?} ({} queries, answers of {bytes} bytes)",
        took[took.len() / 2],
        took[took.len() - 1],
        took.len()
    );
}

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    #[expect(clippy::disallowed_methods, reason = "an example has no settings")]
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a number")),
        Err(_) => Ok(default),
    }
}

/// Up to now, with a histogram of twelve buckets to each step. In the order of time, as usage comes
/// in: an application's rows lie apart, between those of all others.
async fn fill(url: &Url, id: &str, applications: u64) -> anyhow::Result<()> {
    const STEPS: &str = "insert into usage_series (application_id, step_seconds, starts_at, requests, errors, \
         latency_us, latencies) \
         select case a when 0 then $1 else 'app_' || lpad(a::text, 22, '0') end, $2, \
         to_timestamp(floor(extract(epoch from now()) / $2) * $2 - n * $2), \
         1000 + n % 500, n % 7, (1000 + n % 500) * 12000, \
         (select string_agg((14 + b) || ':' || (80 + (n * 31 + b * 17 + a) % 90), ',') \
          from generate_series(0, 11) b) \
         from generate_series(cast($3 as bigint), cast($4 as bigint), -1) n, \
              generate_series(0, cast($5 as bigint) - 1) a \
         order by n desc, a";
    let mut connection = PgConnection::connect(url.as_str()).await?;
    for day in (0..i64::try_from(DAYS)?).rev() {
        for step in [60_i64, 300, 3_600] {
            let each = 86_400 / step;
            sqlx::query(STEPS)
                .bind(id)
                .bind(step)
                .bind((day + 1) * each - 1)
                .bind(day * each)
                .bind(i64::try_from(applications)?)
                .execute(&mut connection)
                .await?;
        }
    }
    sqlx::query("vacuum analyze usage_series").execute(&mut connection).await?;
    Ok(())
}

/// A caller of the API.
struct Api {
    router: Router,
    token: Option<String>,
}

impl Api {
    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let body = self.send(request, Body::from(body.to_string())).await?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// The size of the answer, in bytes.
    async fn get(&self, path: &str) -> anyhow::Result<usize> {
        Ok(self.send(Request::get(path), Body::empty()).await?.len())
    }

    async fn send(
        &self,
        mut request: axum::http::request::Builder,
        body: Body,
    ) -> anyhow::Result<Vec<u8>> {
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let mut request = request.body(body)?;
        let peer: SocketAddr = ([127, 0, 0, 1], 40_000).into();
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.router.clone().oneshot(request).await?;
        let status: StatusCode = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        Ok(body.to_vec())
    }
}
