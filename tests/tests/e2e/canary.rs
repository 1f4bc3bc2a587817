//! A secret key is shown once, to its owner, and is nowhere else.

use std::fs;

use authsome_e2e::api::unlimited_config;
use authsome_e2e::call::Caller;
use authsome_e2e::files::{all, secret_keys};
use authsome_e2e::platform::Platform;
use authsome_e2e::upstream::Upstream;
use http::Method;
use serde_json::json;

const CERTIFICATE: &str = include_str!("../../tls/client.pem");
const PRIVATE_KEY: &str = include_str!("../../tls/client.key");

#[tokio::test(flavor = "multi_thread")]
async fn no_private_key_of_a_client_certificate_lies_in_the_data_folder_or_the_logs() {
    let upstream = Upstream::start().await;
    let mut platform = Platform::start().await;
    let api = platform.user().await;
    let mut config = unlimited_config(&upstream.url);
    config["upstream"]["tls"] =
        json!({ "clientCertPem": CERTIFICATE, "clientKeyPem": PRIVATE_KEY });
    let workspace = api.workspace("pro").await;
    let application = api.application(&workspace, config).await;
    platform.caller(&application).get("/things").await.expect(200);
    let path = format!("/control/v1/applications/{}", application.id);
    let shown = api.get(&path).await.expect(200);
    assert_eq!(shown.body.pointer("/config/upstream/tls/clientKeySet"), Some(&json!(true)));
    // Refused, and in places where it does not belong.
    for tls in [
        json!({ "caPem": PRIVATE_KEY }),
        json!({ "clientCertPem": PRIVATE_KEY }),
        json!({ "clientKeyPem": PRIVATE_KEY, "clientCertPem": "x" }),
        json!({ "sni": PRIVATE_KEY }),
    ] {
        api.patch(&path, json!({ "config": { "upstream": { "tls": tls } } })).await.expect(400);
    }
    let answers = format!("{shown:?}");
    platform.process.kill_9();
    platform.start_again().await;
    platform.caller(&application).get("/things").await.expect(200);
    platform.terminate().await;

    let lines: Vec<&str> = PRIVATE_KEY.lines().filter(|line| !line.contains("-----")).collect();
    let holds = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        lines.iter().any(|line| text.contains(line))
    };
    assert!(lines.len() > 1 && holds(PRIVATE_KEY.as_bytes()) && !holds(answers.as_bytes()));
    for file in all(platform.data_dir()) {
        let bytes = fs::read(&file).expect("readable");
        assert!(!holds(&bytes), "{}", file.display());
    }
    assert!(!holds(platform.process.stderr().as_bytes()));
    assert!(!holds(platform.process.stdout().as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_key_lies_in_the_data_folder_the_logs_or_an_upstreams_request() {
    let upstream = Upstream::start().await;
    let mut platform = Platform::start().await;
    let api = platform.user().await;
    let application = api.unlimited(&upstream.url).await;
    let key = api.key(&application).await;
    let caller = platform.caller(&application);

    // Traffic that is admitted, refused, and careless.
    for _ in 0..20 {
        caller.get("/things").await.expect(200);
    }
    let rotate = format!("/control/v1/applications/{}/keys/{}/rotate", application.id, key.id);
    api.post(&rotate, json!({ "overlap": "1h" })).await.expect(201);
    let other = Caller::new(&platform.urls, platform.quick("applicationId"), &key.text);
    other.get("/wrong-application").await.expect(401);
    caller.get(&format!("/things?key={}", key.text)).await;
    let nobody = Caller::new(&platform.urls, &application.id, "");
    nobody.get(&format!("/things?key={}", key.text)).await.expect(401);
    let header = nobody.request(Method::GET, "/things").header("x-api-key", &key.text);
    assert_eq!(header.send().await.expect("an answer").status(), 401);
    // In bodies and paths of the control plane's API.
    let path = format!("/control/v1/applications/{}", application.id);
    api.patch(&path, json!({ "name": 5, key.text.clone(): 1 })).await.expect(400);
    api.get(&format!("{path}/keys/{}", key.text)).await;
    api.get(&format!("{path}/keys")).await.expect(200);

    platform.terminate().await;

    for file in all(platform.data_dir()) {
        if file == platform.quickstart_file() {
            continue;
        }
        let found = secret_keys(&fs::read(&file).expect("readable"));
        assert!(found.is_empty(), "{}: {found:?}", file.display());
    }
    let stderr = platform.process.stderr();
    assert_eq!(secret_keys(stderr.as_bytes()), Vec::<String>::new(), "{stderr}");
    // The printed lines show the demo application's own key, and no other.
    let own = platform.quick("secretKey");
    let mut printed = secret_keys(platform.process.stdout().as_bytes());
    printed.retain(|key| key != own);
    assert_eq!(printed, Vec::<String>::new());

    let mut leaked = upstream.leaked();
    // What a caller puts into its query or its own headers is the caller's; `Authorization` is ours.
    leaked.retain(|value| value.contains("Bearer"));
    assert_eq!(leaked, Vec::<String>::new());
}
