//! Identity providers that we did not write: `emulate` (Google and GitHub, npm) and
//! oidc-provider-mock (any issuer, `PyPI`); and a browser that goes to them and back, with its cookies.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use http::{Method, StatusCode};
use reqwest::Client;
use tempfile::TempDir;

use crate::api::http_client;
use crate::clients;
use crate::process::Process;
use crate::split::free_port;
use crate::wait;

/// The client that the providers know.
pub const CLIENT_ID: &str = "authsome-e2e";
pub const CLIENT_SECRET: &str = "a secret of the client";

/// A provider as a process of its own.
pub struct IdentityProvider {
    pub url: String,
    pub process: Process,
    _data: TempDir,
}

/// People at the providers.
pub const ADA: &str = "ada@example.com";
pub const BOB: &str = "bob@example.com";

impl IdentityProvider {
    /// `service`: `google` or `github`. `None` when it is not installed.
    pub async fn emulated(service: &str, callback: &str) -> Option<Self> {
        let program = clients::node_tool("emulate")?;
        let data = TempDir::new().expect("a temporary folder");
        let seed = match service {
            "google" => format!(
                "google:\n  users:\n    - {{ email: {ADA}, name: Ada Lovelace }}\n    \
                 - {{ email: {BOB}, name: Bob }}\n  oauth_clients:\n    \
                 - {{ client_id: {CLIENT_ID}, client_secret: {CLIENT_SECRET}, \
                 redirect_uris: [\"{callback}\"] }}\n"
            ),
            _ => format!(
                "github:\n  users:\n    - {{ login: ada, email: {ADA}, name: Ada Lovelace }}\n  \
                 oauth_apps:\n    - {{ client_id: {CLIENT_ID}, client_secret: {CLIENT_SECRET}, \
                 name: AuthSome, redirect_uris: [\"{callback}\"] }}\n"
            ),
        };
        let file = data.path().join("seed.yaml");
        std::fs::write(&file, seed).expect("written");
        let port = free_port().to_string();
        let mut command = Command::new(program);
        command.args(["start", "--service", service, "--port", &port, "--seed"]).arg(&file);
        Some(Self::spawned("emulate", &mut command, format!("http://localhost:{port}"), data).await)
    }

    /// Any issuer. `None` when it is not installed.
    pub async fn oidc() -> Option<Self> {
        let program = clients::python_tool("oidc-provider-mock")?;
        let port = free_port().to_string();
        let mut command = Command::new(program);
        command.args(["--port", &port, "--host", "127.0.0.1", "--require-nonce", "true"]);
        for (sub, verified) in [("ada", true), ("eve", false)] {
            let claims = format!(
                r#"{{"sub":"{sub}","email":"{ADA}","email_verified":{verified},"name":"{sub}"}}"#
            );
            command.args(["--user-claims", &claims]);
        }
        let data = TempDir::new().expect("a temporary folder");
        let url = format!("http://127.0.0.1:{port}");
        Some(Self::spawned("oidc-provider-mock", &mut command, url, data).await)
    }

    async fn spawned(name: &str, command: &mut Command, url: String, data: TempDir) -> Self {
        let mut process = Process::spawn(name, command);
        let http = http_client();
        wait::until(&format!("{name} answers"), Duration::from_mins(1), async || {
            process.assert_running();
            http.get(&url).send().await.ok()
        })
        .await;
        Self { url, process, _data: data }
    }
}

/// A page, or a redirect that the browser did not follow.
#[derive(Debug)]
pub struct Page {
    pub url: String,
    pub status: StatusCode,
    /// Where it leads, if it is a redirect.
    pub location: Option<String>,
    pub body: String,
}

impl Page {
    /// The redirect's target.
    #[track_caller]
    pub fn leads_to(&self) -> String {
        self.location.clone().unwrap_or_else(|| panic!("no redirect: {self:?}"))
    }

    /// A query parameter of the redirect's target.
    #[track_caller]
    pub fn carries(&self, name: &str) -> Option<String> {
        let target = reqwest::Url::parse(&self.leads_to()).expect("a URL");
        target.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// A browser: keeps cookies by host and port, follows redirects only when told.
pub struct Browser {
    http: Client,
    /// Name and value, by origin.
    pub cookies: BTreeMap<(String, String), String>,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    pub fn new() -> Self {
        // For the TLS provider.
        drop(http_client());
        let http = Client::builder()
            .timeout(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Self { http, cookies: BTreeMap::new() }
    }

    pub async fn open(&mut self, url: &str) -> Page {
        self.send(Method::GET, url, None).await
    }

    /// Sends the form of a page that holds `text`, with more fields.
    pub async fn submit(&mut self, page: &Page, text: &str, more: &[(&str, &str)]) -> Page {
        let form = page.body.split("<form").skip(1).find(|form| form.contains(text));
        let form = form.unwrap_or_else(|| panic!("no form with {text}: {page:?}"));
        let form = form.split("</form").next().unwrap_or_default();
        let base = reqwest::Url::parse(&page.url).expect("a URL");
        let head = form.split('>').next().unwrap_or_default();
        let action = attribute(head, "action").unwrap_or_default();
        let target = if action.is_empty() { base } else { base.join(&action).expect("a URL") };
        let mut fields: Vec<(String, String)> = form
            .split("<input")
            .skip(1)
            .filter_map(|input| {
                let tag = input.split('>').next().unwrap_or_default();
                Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
            })
            .filter(|(name, _)| !more.iter().any(|(other, _)| other == name))
            .collect();
        fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.send(Method::POST, target.as_str(), Some(&fields)).await
    }

    async fn send(&mut self, method: Method, url: &str, form: Option<&[(String, String)]>) -> Page {
        let parsed = reqwest::Url::parse(url).expect("a URL");
        let origin = parsed.origin().ascii_serialization();
        let mut request = self.http.request(method, url);
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|((of, _), _)| *of == origin)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(fields) = form {
            let mut body = reqwest::Url::parse("http://form").expect("a URL");
            body.query_pairs_mut().extend_pairs(fields);
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.query().unwrap_or_default().to_owned());
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        for cookie in response.headers().get_all("set-cookie") {
            let text = cookie.to_str().expect("ASCII");
            let (pair, rest) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').expect("a cookie");
            let key = (origin.clone(), name.trim().to_owned());
            if rest.contains("Max-Age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        let location = response.headers().get("location");
        let location = location
            .map(|value| parsed.join(value.to_str().expect("ASCII")).expect("a URL").to_string());
        let status = response.status();
        let body = response.text().await.expect("a whole page");
        Page { url: url.to_owned(), status, location, body }
    }
}

/// An attribute's value in a tag, with the entities that the providers write undone.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
    Some(value.replace("&amp;", "&").replace("&#39;", "'").replace("&quot;", "\""))
}

/// A URL with another value of a query parameter; `None` leaves it out.
pub fn with_parameter(url: &str, name: &str, value: Option<&str>) -> String {
    let mut url = reqwest::Url::parse(url).expect("a URL");
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| key != name)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    if let Some(value) = value {
        url.query_pairs_mut().append_pair(name, value);
    }
    url.into()
}
