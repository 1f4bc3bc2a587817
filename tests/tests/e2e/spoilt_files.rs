//! Spoilt files of the proxy: it carries on with a warning, and nothing is lost.

use std::fs;
use std::path::Path;
use std::time::Duration;

use authsome_e2e::api::{Api, http_client};
use authsome_e2e::load;
use authsome_e2e::split::Split;
use authsome_e2e::upstream::Upstream;
use authsome_e2e::wait;
use serde_json::json;

/// Overwrites the second half.
fn spoil(file: &Path) {
    let mut bytes = fs::read(file).expect("readable");
    let half = bytes.len() / 2;
    bytes[half..].fill(b'#');
    fs::write(file, bytes).expect("written");
}

/// A few changes after the application is active, so that there is a generation before the last.
async fn generations(split: &Split, api: &Api, application: &str) {
    let path = format!("/control/v1/applications/{application}");
    for requests in [500_000, 600_000] {
        let limit = json!({ "requests": requests, "windowMs": 1000, "burst": 500_000 });
        api.patch(&path, json!({ "config": { "rateLimit": limit } })).await.expect(200);
        split.snapshots_written().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_one_spoilt_file_of_the_snapshots_costs_no_service() {
    let upstream = Upstream::start().await;
    let mut split = Split::start().await;
    let api = Api::register(&split.urls).await;
    let application = api.unlimited(&upstream.url).await;
    let caller = split.caller(&application);
    generations(&split, &api, &application.id).await;
    split.control().terminate().await;
    split.proxy().kill_9();

    let whole: Vec<_> = split
        .proxy_files("snapshots")
        .into_iter()
        .map(|file| (fs::read(&file).expect("readable"), file))
        .filter(|(bytes, _)| !bytes.is_empty())
        .collect();
    assert!(whole.len() >= 2, "{:?}", split.proxy_files("snapshots"));
    for (_, spoilt) in &whole {
        for file in split.proxy_files("snapshots") {
            fs::remove_file(file).expect("removed");
        }
        for (bytes, file) in &whole {
            fs::write(file, bytes).expect("written");
        }
        spoil(spoilt);
        split.start_proxy().await;
        let answer = caller.get("/served").await;
        let said = split.proxy().stderr();
        assert_eq!(answer.status, 200, "{}: {answer:?}\n{said}", spoilt.display());
        split.proxy().kill_9();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_snapshot_spoilt_the_proxy_waits_for_the_control_plane_and_serves() {
    let upstream = Upstream::start().await;
    let mut split = Split::start().await;
    let api = Api::register(&split.urls).await;
    let application = api.unlimited(&upstream.url).await;
    generations(&split, &api, &application.id).await;

    split.control().terminate().await;
    split.proxy().kill_9();
    for file in split.proxy_files("snapshots") {
        spoil(&file);
    }
    let mut proxy = split.spawn_proxy();
    wait::until("it says so", Duration::from_secs(10), async || {
        let said = proxy.stderr() + &proxy.stdout();
        (said.contains("snapshot") && said.contains("WARN")).then_some(())
    })
    .await;
    let admin = split.urls.proxy_admin();
    let ready = http_client().get(format!("{admin}/ready")).send().await;
    assert!(!ready.is_ok_and(|answer| answer.status().is_success()), "ready with nothing to serve");
    proxy.assert_running();
    split.proxy = Some(proxy);

    split.start_control().await;
    let caller = split.caller(&application);
    wait::until("it serves again", Duration::from_secs(15), async || {
        caller.try_get("/served").await.ok().filter(|answer| answer.status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_journal_loses_no_record_that_was_written() {
    let upstream = Upstream::start().await;
    let mut split = Split::start().await;
    let api = Api::register(&split.urls).await;
    let application = api.unlimited(&upstream.url).await;
    let caller = split.caller(&application);

    split.control().terminate().await;
    assert_eq!(load::calls(&caller, "/before", 50, 8).await.of(200), 50);
    split.proxy().kill_9();
    // What a power cut leaves: half a record at the end.
    let journal = split
        .proxy_files("journal")
        .into_iter()
        .rfind(|file| file.metadata().is_ok_and(|meta| meta.len() > 0));
    let journal = journal.expect("a journal");
    let mut bytes = fs::read(&journal).expect("readable");
    let torn = bytes[bytes.len().saturating_sub(40)..].to_vec();
    bytes.extend_from_slice(&torn[..torn.len() / 2]);
    fs::write(&journal, bytes).expect("written");

    split.start_proxy().await;
    assert_eq!(load::calls(&caller, "/after", 50, 8).await.of(200), 50);
    split.start_control().await;
    api.requests_become(&application.workspace, 100, Duration::from_secs(15)).await;
}
