//! `kill -9` of everything, in the middle of everything.

use std::time::Duration;

use authsome_e2e::load::{Load, Tally};
use authsome_e2e::platform::Platform;
use authsome_e2e::upstream::Upstream;
use authsome_e2e::wait;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_no_answered_call_and_doubles_none() {
    let upstream = Upstream::start().await;
    let mut platform = Platform::start().await;
    let api = platform.user().await;
    let application = api.unlimited(&upstream.url).await;
    let caller = platform.caller(&application);

    let mut total = Tally::default();
    for _ in 0..2 {
        let load = Load::start(&caller, "/things", 32);
        load.more(500).await;
        platform.process.kill_9();
        total.add(&load.stop().await);
        platform.start_again().await;
    }
    let load = Load::start(&caller, "/things", 32);
    load.more(200).await;
    total.add(&load.stop().await);

    assert!(total.broken > 0, "the kills hit no call: {total:?}");
    let billed = settled_usage(&api, &application.workspace, total.of(200)).await;
    eprintln!("answered {}, billed {billed}, sent {}", total.of(200), total.sent());
    assert!(billed <= total.sent(), "{billed} billed, {total:?}");

    // Once more from a new start: nothing is applied a second time.
    platform.process.kill_9();
    platform.start_again().await;
    assert_eq!(settled_usage(&api, &application.workspace, billed).await, billed);
}

/// The month's count once it is at least `answered` and has stood still.
pub async fn settled_usage(api: &authsome_e2e::api::Api, workspace: &str, answered: u64) -> u64 {
    let deadline = Duration::from_secs(15);
    let what = format!("at least {answered} on the bill");
    wait::gently(&what, deadline, async || {
        (api.requests(workspace).await >= answered).then_some(())
    })
    .await;
    let still = Duration::from_secs(3);
    wait::settled("usage", still, deadline, async || api.requests(workspace).await).await
}
