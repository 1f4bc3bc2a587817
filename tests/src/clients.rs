//! Other people's software, run as it is: curl, Node's fetch, Python's httpx, json-server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::http_client;
use crate::env;
use crate::process::Process;
use crate::split::free_port;
use crate::wait;

/// The program, or `None` with a loud word when it is not installed (a failure where the script
/// has promised it).
fn find(what: &str, program: PathBuf, probe: &[&str]) -> Option<PathBuf> {
    if Command::new(&program).args(probe).output().is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    assert!(env::get(env::REQUIRE_CLIENTS).is_none(), "{what} is not installed");
    eprintln!("SKIPPED: {what} is not installed; scripts/test installs it");
    None
}

/// curl.
pub fn curl() -> Option<PathBuf> {
    find("curl", "curl".into(), &["--version"])
}

/// Node, with fetch.
pub fn node() -> Option<PathBuf> {
    find("node with fetch", "node".into(), &["-e", "fetch"])
}

/// A Python that has httpx.
pub fn python_with_httpx() -> Option<PathBuf> {
    find("Python's httpx", tools().join("python/bin/python3"), &["-c", "import httpx"])
}

/// A Python that has Stripe's official library.
pub fn python_with_stripe() -> Option<PathBuf> {
    let probe = ["-c", "import stripe"];
    find("Stripe's Python library", tools().join("python/bin/python3"), &probe)
}

/// A Python that reads PDF.
pub fn python_with_pypdf() -> Option<PathBuf> {
    find("Python's pypdf", tools().join("python/bin/python3"), &["-c", "import pypdf"])
}

/// A Node and a Python with the public Standard Webhooks library, each with where it is to be run.
pub fn webhook_libraries() -> Option<[(PathBuf, PathBuf); 2]> {
    let folder = tools().join("node");
    let node = find("node with fetch", "node".into(), &["-e", "fetch"])?;
    let module = folder.join("node_modules/standardwebhooks");
    find("npm's standardwebhooks", "test".into(), &["-d", module.to_str()?])?;
    let probe = ["-c", "import standardwebhooks"];
    let python = find("PyPI's standardwebhooks", tools().join("python/bin/python3"), &probe)?;
    Some([(node, folder.clone()), (python, folder)])
}

/// A Python that has schemathesis, and validators of descriptions.
pub fn python_with_schemathesis() -> Option<PathBuf> {
    let modules = "import schemathesis, openapi_spec_validator, jsonschema";
    find("schemathesis", tools().join("schemathesis/bin/python3"), &["-c", modules])
}

/// A program of an npm package.
pub fn node_tool(name: &str) -> Option<PathBuf> {
    let program = tools().join("node/node_modules/.bin").join(name);
    find(name, program, &["--version"])
}

/// A program of a Python package.
pub fn python_tool(name: &str) -> Option<PathBuf> {
    find(name, tools().join("python/bin").join(name), &["--help"])
}

fn tools() -> PathBuf {
    env::get(env::TOOLS).unwrap_or_default().into()
}

/// The npm package json-server: somebody else's REST API, with its data in a file.
pub struct JsonServer {
    pub url: String,
    _process: Process,
    _data: TempDir,
}

impl JsonServer {
    pub async fn start() -> Option<Self> {
        let program = tools().join("node/node_modules/.bin/json-server");
        let program = find("json-server", program, &["--version"])?;
        let data = TempDir::new().expect("a temporary folder");
        let file = data.path().join("db.json");
        let content = json!({ "health": { "ok": true }, "posts": [{ "id": 1, "title": "first" }] });
        std::fs::write(&file, content.to_string()).expect("written");
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--quiet", "--port", &port.to_string()]).arg(&file);
        let mut process = Process::spawn("json-server", &mut command);
        let http = http_client();
        wait::until("json-server answers", Duration::from_secs(30), async || {
            process.assert_running();
            http.get(format!("{url}/posts")).send().await.ok()
        })
        .await;
        Some(Self { url, _process: process, _data: data })
    }
}

/// The Python package localstripe: somebody else's stand-in for Stripe.
pub struct LocalStripe {
    pub url: String,
    _process: Process,
}

impl LocalStripe {
    pub async fn start() -> Option<Self> {
        let program = python_tool("localstripe")?;
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args(["--from-scratch", "--port", &port.to_string()]);
        let mut process = Process::spawn("localstripe", &mut command);
        let http = http_client();
        wait::until("localstripe answers", Duration::from_mins(1), async || {
            process.assert_running();
            http.get(&url).send().await.ok()
        })
        .await;
        Some(Self { url, _process: process })
    }

    /// A request with a form, as anybody who has the key; the answer.
    pub async fn post(&self, path: &str, form: &str) -> Value {
        let request = http_client()
            .post(format!("{}{path}", self.url))
            .bearer_auth("sk_test_local")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        let answer = request.send().await.expect("an answer");
        let text = answer.text().await.expect("whole");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

/// Runs a program to its end and reads the JSON it prints.
pub fn json_from(program: &PathBuf, args: &[&str]) -> Value {
    let output = Command::new(program).args(args).output().expect("the program runs");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stdout}{stderr}", program.display());
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
}
