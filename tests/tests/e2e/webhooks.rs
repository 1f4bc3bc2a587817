//! Webhooks, from what happens to a verified delivery.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use authsome_e2e::api::{Api, Application, upstream_config};
use authsome_e2e::clients;
use authsome_e2e::platform::Platform;
use authsome_e2e::process::Process;
use authsome_e2e::receiver::{Received, Receiver};
use authsome_e2e::split::free_port;
use authsome_e2e::wait;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(15);

/// Seconds between attempts, instead of hours; and one for an endpoint to answer in.
const QUICK: &[(&str, &str)] = &[
    ("AUTHSOME_CONTROL__WEBHOOKS__RETRY_SECONDS", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"),
    ("AUTHSOME_CONTROL__WEBHOOKS__TIMEOUT_SECONDS", "1"),
];

fn hooks(application: &str) -> String {
    format!("/control/v1/applications/{application}/webhooks")
}

/// Makes a webhook; its path.
async fn webhook(api: &Api, application: &str, url: &str, events: Value) -> String {
    let body = json!({ "url": url, "events": events });
    let made = api.post(&hooks(application), body).await.expect(201);
    format!("{}/{}", hooks(application), made.text("/id"))
}

fn event<'a>(received: &'a [Received], name: &str) -> Option<&'a Received> {
    received.iter().find(|it| it.body["event"] == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_application_is_told_as_provisioned_then_deleted() {
    let platform = Platform::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    // Its upstream keeps the application waiting until the webhook is there.
    let (upstream, receiver) = (Receiver::start().await, Receiver::start().await);
    upstream.hang();
    let path = format!("/control/v1/workspaces/{workspace}/applications");
    let body = json!({ "name": "Production", "config": upstream_config(&upstream.url) });
    let created = api.post(&path, body).await.expect(202);
    let id = created.text("/id");
    webhook(&api, &id, &receiver.url, json!(["application.*"])).await;
    upstream.recover();
    let told = receiver
        .find("application.provisioned", SOON, |all| event(all, "application.provisioned").cloned())
        .await;
    assert_eq!(
        told.body["data"],
        json!({
            "applicationId": id, "workspaceId": workspace, "status": "active",
            "publicKey": created.text("/publicKey"), "apiUrl": created.text("/apiUrl"),
        })
    );
    api.delete(&format!("/control/v1/applications/{id}")).await.expect(204);
    receiver
        .find("application.deleted", SOON, |all| event(all, "application.deleted").cloned())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_kill_9_arrives_after_it_with_the_same_id() {
    let mut platform = Platform::start_with(QUICK).await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, json!({})).await;
    let (receiver, dead) = (Receiver::start().await, Receiver::start().await);
    dead.hang();
    webhook(&api, &application.id, &receiver.url, json!(["key.created"])).await;
    let hanging = webhook(&api, &application.id, &dead.url, json!(["usage.threshold"])).await;
    let test = api.post(&format!("{hanging}/test"), json!({})).await.expect(202);
    let under_way = dead.find("an attempt", SOON, |all| all.first().cloned()).await;
    assert_eq!(under_way.id(), test.text("/eventId"));
    receiver.hang();
    let mut keys = BTreeSet::new();
    for _ in 0..30 {
        let path = format!("/control/v1/applications/{}/keys", application.id);
        let body = json!({ "name": "Backend", "type": "secret" });
        keys.insert(api.post(&path, body).await.expect(201).text("/id"));
    }
    platform.process.kill_9();
    receiver.recover();
    dead.recover();
    platform.start_again().await;

    let all = receiver
        .find("every event", Duration::from_secs(40), |all| {
            let told: BTreeSet<String> = all
                .iter()
                .filter_map(|it| it.body["data"]["keyId"].as_str())
                .map(Into::into)
                .collect();
            (told == keys).then(|| all.to_vec())
        })
        .await;
    let mut ids: Vec<(String, String)> =
        all.iter().map(|it| (it.body["data"]["keyId"].to_string(), it.id())).collect();
    eprintln!("{} events in {} requests over a kill -9", keys.len(), ids.len());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30, "an event keeps its id");
    let again = dead
        .find("the attempt that was cut off", Duration::from_secs(40), |all| all.get(1).cloned())
        .await;
    assert_eq!(again.id(), under_way.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_was_down_gets_it_by_a_retry() {
    let platform = Platform::start_with(QUICK).await;
    let api = platform.user().await;
    let application = api.application(&api.workspace("pro").await, json!({})).await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let hook = webhook(&api, &application.id, &format!("http://{address}/"), json!(["*"])).await;
    let sent = api.post(&format!("{hook}/test"), json!({})).await.expect(202);
    let delivery = format!("{hook}/deliveries/{}", sent.text("/id"));
    wait::gently("a failed attempt", SOON, async || {
        let seen = api.get(&delivery).await.expect(200);
        seen.body["lastError"].is_string().then_some(())
    })
    .await;
    let receiver = Receiver::start_at(address).await;
    let received = receiver.find("a retry", SOON, |all| all.first().cloned()).await;
    assert_eq!(received.id(), sent.text("/eventId"));
    let seen = wait::gently("the delivery is delivered", SOON, async || {
        let seen = api.get(&delivery).await.expect(200);
        (seen.text("/status") == "delivered").then_some(seen)
    })
    .await;
    let history = seen.body["history"].as_array().expect("a list");
    assert!(history.len() >= 2, "{seen:?}");
    assert!(history[0]["error"].as_str().is_some_and(|it| it.contains("refused")), "{seen:?}");
    assert_eq!(history.last().expect("not empty")["status"], 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_an_endpoint_that_hangs() {
    let mut platform = Platform::start().await;
    let api = platform.user().await;
    let application = api.application(&api.workspace("pro").await, json!({})).await;
    let dead = Receiver::start().await;
    dead.hang();
    let hook = webhook(&api, &application.id, &dead.url, json!(["*"])).await;
    api.post(&format!("{hook}/test"), json!({})).await.expect(202);
    dead.find("an attempt", SOON, |all| all.first().cloned()).await;
    let began = std::time::Instant::now();
    assert!(platform.terminate().await.success());
    let took = began.elapsed();
    eprintln!("stopped after {took:?} with an endpoint that hangs");
    assert!(took < Duration::from_secs(10), "{took:?}");
    dead.recover();
    platform.start_again().await;
    dead.find("the attempt is made again", SOON, |all| all.get(1).cloned()).await;
}

/// Receivers by the public libraries: they answer 204 to what they verify and 401 to anything
/// else. `/tampered` adds a space to the body before it is verified.
const NODE: &str = "
const { Webhook } = require('standardwebhooks');
const webhook = new Webhook(process.argv[1]);
const server = require('http').createServer((request, response) => {
  const parts = [];
  request.on('data', part => parts.push(part)).on('end', () => {
    let body = Buffer.concat(parts).toString();
    if (request.url === '/tampered') body += ' ';
    try {
      webhook.verify(body, request.headers);
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(401).end(error.message);
    }
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

const PYTHON: &str = "
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from standardwebhooks import Webhook, WebhookVerificationError
webhook = Webhook(sys.argv[1])
class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        if self.path == '/tampered':
            body += b' '
        answer = b''
        try:
            webhook.verify(body, dict(self.headers))
            self.send_response(204)
        except WebhookVerificationError as error:
            self.send_response(401)
            answer = str(error).encode()
        self.send_header('content-length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
server = HTTPServer(('127.0.0.1', 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
";

/// A receiver that knows this secret; its address.
async fn library(program: &Path, folder: &Path, secret: &str) -> (Process, String) {
    let is_node = program.ends_with("node");
    let (flag, script) = if is_node { ("-e", NODE) } else { ("-c", PYTHON) };
    let mut command = Command::new(program);
    command.args([flag, script, secret]).current_dir(folder);
    let mut process = Process::spawn("a receiver", &mut command);
    let port = wait::until("the receiver listens", Duration::from_secs(30), async || {
        process.assert_running();
        process.stdout().trim().parse::<u16>().ok()
    })
    .await;
    (process, format!("http://127.0.0.1:{port}"))
}

/// Sends a test event to `url`; what the endpoint answered.
async fn answered(api: &Api, hook: &str, url: &str) -> u64 {
    api.patch(hook, json!({ "url": url })).await.expect(200);
    let sent = api.post(&format!("{hook}/test"), json!({})).await.expect(202);
    let delivery = format!("{hook}/deliveries/{}", sent.text("/id"));
    wait::gently("an answer", SOON, async || {
        let seen = api.get(&delivery).await.expect(200);
        seen.body.pointer("/history/0/status").and_then(Value::as_u64)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_libraries_of_two_languages_verify_deliveries_and_refuse_what_is_tampered_with()
{
    let Some(libraries) = clients::webhook_libraries() else { return };
    let platform = Platform::start().await;
    let api = platform.user().await;
    let Application { id, .. } = api.application(&api.workspace("pro").await, json!({})).await;
    for (program, folder) in &libraries {
        let body = json!({ "url": "http://127.0.0.1:1234/", "events": ["usage.threshold"] });
        let made = api.post(&hooks(&id), body).await.expect(201);
        let hook = format!("{}/{}", hooks(&id), made.text("/id"));
        let (_first, first) = library(program, folder, &made.text("/secret")).await;
        assert_eq!(answered(&api, &hook, &first).await, 204);
        assert_eq!(answered(&api, &hook, &format!("{first}/tampered")).await, 401);

        // Rotated: both verify until the overlap ends.
        let rotate = format!("{hook}/rotate-secret");
        let rotated = api.post(&rotate, json!({ "overlap": "1h" })).await.expect(200);
        let (_second, second) = library(program, folder, &rotated.text("/secret")).await;
        assert_eq!(answered(&api, &hook, &first).await, 204);
        assert_eq!(answered(&api, &hook, &second).await, 204);
        // Ended at once: the new one alone.
        let rotated = api.post(&rotate, json!({ "overlap": "0" })).await.expect(200);
        let (_third, third) = library(program, folder, &rotated.text("/secret")).await;
        assert_eq!(answered(&api, &hook, &third).await, 204);
        assert_eq!(answered(&api, &hook, &second).await, 401);
        assert_eq!(answered(&api, &hook, &first).await, 401);

        // A secret of one's own.
        let own = "whsec_b3VyLW93bi1zZWNyZXQtb2YtMjQtYnl0ZXM=";
        let body = json!({ "overlap": "0", "secret": own });
        api.post(&rotate, body).await.expect(200);
        let (_own, own) = library(program, folder, own).await;
        assert_eq!(answered(&api, &hook, &own).await, 204);
    }
}
