//! A proxy replaced again and again by a new process under constant load of every kind: no request
//! fails, and every one is on the bill once. A short run with every test; a long one by hand:
//!
//! ```sh
//! cargo build --workspace --all-targets
//! UPGRADES=10 cargo test --workspace --test e2e -- --ignored --nocapture --test-threads=1 upgrade
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use authsome_e2e::api::{Api, Application};
use authsome_e2e::call::Caller;
use authsome_e2e::env;
use authsome_e2e::mix::{Mix, Target};
use authsome_e2e::platform::Platform;
use authsome_e2e::process;
use authsome_e2e::split::{Split, free_port};
use authsome_e2e::upstream::Upstream;
use authsome_e2e::urls::Urls;
use authsome_e2e::wait;

use crate::crash::settled_usage;

/// Answers before the first upgrade, between two, and after the last.
const SHORT_STRETCH: u64 = 1_500;
const LONG_STRETCH: u64 = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_fails_no_request_and_bills_each_once() {
    run(2, SHORT_STRETCH, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; see the head of this file"]
async fn upgrades_all_day_fail_no_request_and_bill_each_once() {
    run(env::number(env::UPGRADES).unwrap_or(10), LONG_STRETCH, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_planes_in_one_process_are_not_killed_by_the_wish_to_upgrade() {
    let mut platform = Platform::start().await;
    for wish in ["upgrade", "reload"] {
        let mut command = process::command("authsome-proxy");
        command.arg(wish).arg("--data-dir").arg(platform.data_dir());
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("no proxy"), "{said}");
        platform.process.assert_running();
    }
    platform.user().await;
}

/// Admitted while a key lives.
const CALLS_A_KEY: u64 = 2;

/// Makes keys and revokes them, one after the other, while processes come and go: what every proxy
/// is said to have applied holds on a connection that was there before, and on a new one. Tells how
/// many.
async fn revoke(api: &Api, urls: &Urls, application: &Application, stop: &AtomicBool) -> u64 {
    let mut revoked = 0;
    let mut api = api.sign_in_again().await;
    while !stop.load(Ordering::Relaxed) {
        let key = api.key(application).await;
        let call = || Caller::new(urls, &application.id, &key.text);
        let kept = call();
        kept.get("/works").await.expect(200);
        let path = Api::key_path(application, &key) + "?wait=applied";
        api.delete(&path).await.expect(200);
        call().get("/refused").await.expect(401);
        kept.get("/refused").await.expect(401);
        revoked += 1;
        // Sessions outlive a long run, access tokens don't.
        if revoked % 500 == 0 {
            api = api.sign_in_again().await;
        }
        // The control plane's API has a limit, too.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    revoked
}

async fn run(upgrades: u64, stretch: u64, clients: usize) {
    let upstream = Upstream::start().await;
    let mut split = Split::start().await;
    let api = Api::register(&split.urls).await;
    let application = api.unlimited(&upstream.url).await;

    // The same proxy, now with TLS.
    assert!(split.proxy().terminate().await.success());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let (cert, key) = (split.proxy_dir().join("a.crt"), split.proxy_dir().join("a.key"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let tls = format!("127.0.0.1:{}", free_port());
    split.settings = vec![
        ("AUTHSOME_PROXY__TLS__LISTEN", tls.clone()),
        ("AUTHSOME_PROXY__TLS__CERT_FILE", cert.display().to_string()),
        ("AUTHSOME_PROXY__TLS__KEY_FILE", key.display().to_string()),
        ("AUTHSOME_PROXY__LOG__ACCESS_LOG", "off".to_owned()),
    ];
    split.start_proxy().await;
    let before = upstream.requests();

    let proxy = split.urls.proxy();
    let address = proxy.strip_prefix("http://").expect("plain").parse().expect("an address");
    let target = Target {
        address,
        h2: address,
        tls: Some((tls.parse().expect("an address"), made.cert.der().clone())),
        prefix: format!("/v1/{}", application.id),
        authorization: format!("Bearer {}", application.secret_key),
        clients,
    };
    let began = Instant::now();
    let mix = Mix::start(&target);
    let (urls, stop) = (split.urls.clone(), AtomicBool::new(false));
    let upgrading = async {
        mix.more(stretch).await;
        let mut slowest = Duration::ZERO;
        for _ in 0..upgrades {
            let asked = Instant::now();
            split.upgrade().await;
            slowest = slowest.max(asked.elapsed());
            mix.more(stretch).await;
        }
        stop.store(true, Ordering::Relaxed);
        slowest
    };
    let (slowest, revoked) = tokio::join!(upgrading, revoke(&api, &urls, &application, &stop));
    let total = mix.stop().await;
    let took = began.elapsed();
    let admitted = total.answers() + revoked * CALLS_A_KEY;

    split.shipped(Duration::from_secs(30)).await;
    let api = api.sign_in_again().await;
    let billed = settled_usage(&api, &application.workspace, admitted).await;
    eprintln!(
        "{upgrades} upgrades in {took:?}, the slowest took {slowest:?}: failed {}, answered {}, \
         billed {billed} with {CALLS_A_KEY} calls for each of {revoked} keys revoked, {total:?}",
        total.failures(),
        total.answers(),
    );
    assert_eq!(total.failures(), 0, "{total:?}");
    for kind in ["keep-alive", "close", "post", "h2", "h2-tls"] {
        assert!(total.answered.contains_key(kind), "{total:?}");
    }
    assert_eq!(upstream.requests() - before, admitted, "asked more often than answered");
    assert_eq!(billed, admitted);
    assert!(revoked > upgrades, "{revoked} keys revoked");
    let gaps = split.ask_database("select count(*) from ledger_gaps");
    assert_eq!(gaps, "0", "a record that was written never came");
    // Every process but the last has ended, and left nothing behind.
    wait::until("one segment is left", Duration::from_secs(10), async || {
        (split
            .proxy_files("journal")
            .iter()
            .filter(|it| it.extension() == Some("seg".as_ref()))
            .count()
            == 1)
            .then_some(())
    })
    .await;
}
