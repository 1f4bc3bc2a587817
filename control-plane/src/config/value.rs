//! How settings that are more than a number or a text are read, in a file or in the environment. What
//! can't be read is an error that quotes it.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::identity::user::normalise_email;

/// A list of texts, or, as in an environment variable, one text with commas.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        List(Vec<String>),
        Text(String),
    }
    let texts = match Given::deserialize(deserializer)? {
        Given::List(texts) => texts,
        Given::Text(text) => text.split(',').map(ToOwned::to_owned).collect(),
    };
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    Ok(texts.map(ToOwned::to_owned).collect())
}

/// E-mail addresses, as they are compared.
pub fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(texts(deserializer)?.iter().map(|text| normalise_email(text)).collect())
}

/// Origins as a browser sends them: scheme, host and port, and nothing after.
pub fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let origins = texts(deserializer)?;
    for text in &origins {
        let origin = Url::parse(text).map(|url| url.origin().ascii_serialization());
        if origin.as_ref() != Ok(text) {
            let message = format!("{text:?} is not an origin such as https://app.example.com");
            return Err(D::Error::custom(message));
        }
    }
    Ok(origins)
}

/// Networks such as 10.0.0.0/8; an address is a network of one.
pub fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    texts(deserializer)?
        .iter()
        .map(|text| {
            let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            net.map_err(|_| {
                D::Error::custom(format!("{text:?} is not a network such as 10.0.0.0/8"))
            })
        })
        .collect()
}

/// Networks that may also be left unsaid.
pub fn some_networks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<IpNet>>, D::Error> {
    networks(deserializer).map(Some)
}

/// Refuses what is no URL of HTTP, by the setting's name.
pub fn check_http_url(key: &str, text: &str) -> anyhow::Result<()> {
    let url = Url::parse(text).with_context(|| format!("{key} is not a URL: {text:?}"))?;
    ensure!(
        matches!(url.scheme(), "http" | "https") && url.has_host(),
        "{key} must begin with http:// or https://, not {text:?}"
    );
    Ok(())
}
