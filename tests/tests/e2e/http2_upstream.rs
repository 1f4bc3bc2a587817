//! An upstream in HTTP/2, from the check before its application is active to a call.

use authsome_e2e::platform::Platform;
use authsome_e2e::upstream::Upstream;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_spoken_to_in_the_protocol_that_it_asks_for() {
    let platform = Platform::start().await;
    let upstream = Upstream::start().await;
    let api = platform.user().await;
    let workspace = api.workspace("pro").await;
    for (protocol, version) in [("http1", "HTTP/1.1"), ("http2", "HTTP/2.0")] {
        let config = json!({ "upstream": { "urls": [upstream.url], "protocol": protocol } });
        let application = api.application(&workspace, config).await;
        let answer = platform.caller(&application).get("/things").await.expect(200);
        assert_eq!(answer.text("/version"), version);
    }
}
