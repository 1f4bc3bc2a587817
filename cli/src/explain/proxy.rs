//! Asks proxies for a decision, all at once.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::{Answer, Told, Vain};

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Found {
    node: String,
    decision: Box<RawValue>,
}

#[derive(Deserialize)]
struct Unknown {
    error: Message,
    since: Option<Since>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Since {
    refused: String,
    others: String,
}

pub async fn ask_all(admins: &[Url], id: &str) -> anyhow::Result<Vec<Answer>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        Client::builder().timeout(LIMIT).no_proxy().build().context("can't make an HTTP client")?;
    let mut asking = tokio::task::JoinSet::new();
    for admin in admins {
        let (client, admin, id) = (client.clone(), admin.clone(), id.to_owned());
        asking.spawn(async move {
            let source = admin.as_str().trim_end_matches('/').to_owned();
            ask(&client, &source, &id)
                .await
                .unwrap_or_else(|error| Err(Vain { source, outcome: format!("{error:#}") }))
        });
    }
    Ok(asking.join_all().await)
}

async fn ask(client: &Client, source: &str, id: &str) -> anyhow::Result<Answer> {
    let response = client
        .get(format!("{source}/explain/{id}"))
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .context("the proxy's admin listener does not answer")?;
    let status = response.status();
    let body = response.bytes().await.context("the proxy's answer broke off")?;
    let source = source.to_owned();
    if status == StatusCode::OK {
        let found: Found = serde_json::from_slice(&body).context("this is no proxy's answer")?;
        let decision = found.decision.get().to_owned();
        return Ok(Ok(Told { source, node: Some(found.node), decision }));
    }
    let outcome = match serde_json::from_slice::<Unknown>(&body) {
        Ok(Unknown { error, since: Some(Since { refused, others }) }) => format!(
            "{}; it remembers refused and failed ones since {refused}, others since {others}",
            lower(&error.message)
        ),
        Ok(Unknown { error, since: None }) => lower(&error.message),
        Err(_) => format!("it answered {status}: is that the admin listener of a proxy?"),
    };
    Ok(Err(Vain { source, outcome }))
}

/// As part of a sentence.
fn lower(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
