//! The planes as two processes: each does without the other for a while.

use std::time::Duration;

use authsome_e2e::api::{Api, Application};
use authsome_e2e::call::Caller;
use authsome_e2e::load::{self, Load};
use authsome_e2e::split::Split;
use authsome_e2e::upstream::Upstream;

use crate::crash::settled_usage;

/// For usage to arrive after the control plane is back: the proxy's back-off included.
const CATCH_UP: Duration = Duration::from_secs(15);

async fn start() -> (Split, Upstream, Api, Application) {
    let upstream = Upstream::start().await;
    let split = Split::start().await;
    let api = Api::register(&split.urls).await;
    let application = api.unlimited(&upstream.url).await;
    (split, upstream, api, application)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_serves_and_bills_without_the_control_plane_even_after_a_restart() {
    let (mut split, upstream, api, application) = start().await;
    let caller = split.caller(&application);
    let revoked = api.key(&application).await;
    api.delete(&(Api::key_path(&application, &revoked) + "?wait=applied")).await.expect(200);
    let mut admitted = 1 + load::calls(&caller, "/with", 50, 8).await.of(200);
    split.snapshots_written().await;

    assert!(split.control().terminate().await.success());
    admitted += load::calls(&caller, "/without", 100, 8).await.of(200);
    assert_eq!(admitted, 151);

    split.proxy().kill_9();
    split.start_proxy().await;
    admitted += load::calls(&caller, "/restarted", 100, 8).await.of(200);
    assert_eq!(admitted, 251);
    assert_eq!(upstream.requests(), 251);
    // What was revoked stays revoked.
    let stale = Caller::new(&split.urls, &application.id, &revoked.text);
    stale.get("/refused").await.expect(401);

    split.start_control().await;
    api.requests_become(&application.workspace, 251, CATCH_UP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_proxy_under_load_loses_no_answered_call_and_doubles_none() {
    let (mut split, _upstream, api, application) = start().await;
    let load = Load::start(&split.caller(&application), "/things", 32);
    for _ in 0..2 {
        load.more(300).await;
        split.proxy().kill_9();
        split.start_proxy().await;
    }
    load.more(300).await;
    let total = load.stop().await;

    assert!(total.broken > 0, "the kills hit no call: {total:?}");
    let billed = settled_usage(&api, &application.workspace, total.of(200)).await;
    eprintln!("answered {}, billed {billed}, sent {}", total.of(200), total.sent());
    assert!(billed <= total.sent(), "{billed} billed, {total:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_control_plane_under_load_fails_no_call_and_miscounts_none() {
    let (mut split, upstream, api, application) = start().await;
    let load = Load::start(&split.caller(&application), "/things", 16);
    for _ in 0..2 {
        load.more(300).await;
        split.control().kill_9();
        load.more(100).await;
        split.start_control().await;
    }
    load.more(300).await;
    let total = load.stop().await;

    assert_eq!(total.of(200), total.sent(), "{total:?}");
    assert_eq!(total.of(200), upstream.requests());
    api.requests_become(&application.workspace, total.sent(), CATCH_UP).await;
    // And it stands.
    assert_eq!(settled_usage(&api, &application.workspace, total.sent()).await, total.sent());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_its_token_gets_nothing() {
    let (mut split, _upstream, _api, application) = start().await;
    split.proxy().kill_9();
    std::fs::remove_dir_all(split.proxy_dir()).expect("removed");
    std::fs::create_dir(split.proxy_dir()).expect("made");
    std::fs::write(split.proxy_dir().join("node.token"), "not-the-token").expect("written");
    let mut proxy = split.spawn_proxy();

    let caller = split.caller(&application);
    let http = authsome_e2e::api::http_client();
    let ready = format!("{}/ready", split.urls.proxy_admin());
    // Either it ends with a word, or it stays unready and serves nobody.
    authsome_e2e::wait::until("it says why", Duration::from_secs(20), async || {
        let written = proxy.stderr() + &proxy.stdout();
        written.to_lowercase().contains("token").then_some(())
    })
    .await;
    assert!(!http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()));
    assert!(!caller.try_get("/x").await.is_ok_and(|answer| answer.status == 200));
    proxy.kill_9();
}
