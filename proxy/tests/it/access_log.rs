//! The access log: what is in a line, and which requests have one.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Harness, World, eventually};

struct Logged {
    harness: Harness,
    file: PathBuf,
    _folder: TempDir,
}

impl Logged {
    async fn with(change: impl FnOnce(&mut World)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("access.log");
        let harness = Harness::with(|world| {
            world.config.log.access_log = file.to_str().expect("UTF-8").into();
            change(world);
        })
        .await;
        Self { harness, file, _folder: folder }
    }

    /// The lines, once there are so many.
    async fn lines(&self, count: usize) -> Vec<Value> {
        let read = || std::fs::read_to_string(&self.file).expect("the log");
        eventually("the lines are written", || async { read().lines().count() >= count }).await;
        read().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    async fn metric(&self, name: &str) -> u64 {
        self.harness.metric(name).await
    }
}

#[tokio::test]
async fn a_line_tells_what_decided_and_nothing_secret() {
    let logged = Logged::with(|_| {}).await;
    let secret = &logged.harness.world.secret;
    let mut wire = logged.harness.connect().await;
    let headers = format!(
        "Authorization: Bearer {secret}\r\nUser-Agent: tester/1 {secret}\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    );
    let target = format!("/v1/app_1/users/{secret}?key={secret}");
    let admitted = wire.ask("POST", &target, &headers, "hello").await;
    assert_eq!(admitted.status, 200);
    let refused = logged.harness.connect().await.get("/v1/app_1/users", "sk_live_typo").await;
    assert_eq!(refused.status, 401);

    let lines = logged.lines(2).await;
    let line = &lines[0];
    let id = admitted.header("x-authsome-request-id").expect("an id");
    let revision = logged.harness.metric("authsome_proxy_snapshot_revision").await;
    let url = logged.harness.upstream.url();
    let mask = format!("{}***", &secret[..14]);
    let (path, agent) = (format!("/v1/app_1/users/{mask}"), format!("tester/1 {mask}"));
    for (field, wanted) in [
        ("/requestId", Value::from(id)),
        ("/traceId", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
        ("/workspace", "ws_1".into()),
        ("/application", "app_1".into()),
        ("/key", "key_1".into()),
        ("/method", "POST".into()),
        ("/path", path.into()),
        ("/protocol", "HTTP/1.1".into()),
        ("/userAgent", agent.into()),
        ("/client", "127.0.0.1".into()),
        ("/status", 200.into()),
        ("/bytesIn", 5.into()),
        ("/bytesOut", 2.into()),
        ("/revision", revision.into()),
        ("/route", "* /users/*".into()),
        ("/units", 1.into()),
        ("/rateLimit/level", "plan".into()),
        ("/rateLimit/mode", "fast".into()),
        ("/rateLimit/requests", 1_000.into()),
        ("/rateLimit/remaining", 999.into()),
        ("/upstream", url.into()),
        ("/attempts", 1.into()),
        ("/sample/rule", "success".into()),
        ("/sample/ratio", 1.0.into()),
    ] {
        assert_eq!(line.pointer(field), Some(&wanted), "{field} of {line}");
    }
    assert!(line["upstreamUs"].as_u64() <= line["latencyUs"].as_u64(), "{line}");
    assert_eq!(lines[1]["cause"], "key_malformed");
    assert_eq!(lines[1]["sample"]["rule"], "refused");
    let text = std::fs::read_to_string(&logged.file).expect("the log");
    assert!(!text.contains(&secret[..20]), "{text}");
}

#[tokio::test]
async fn a_part_of_the_good_is_logged_and_all_that_is_slow_or_failed() {
    let logged = Logged::with(|world| {
        world.config.log.sample_successes = 0.25;
        world.config.log.sample_refused = 0.0;
        world.config.log.slow_ms = 300;
    })
    .await;
    let secret = &logged.harness.world.secret;
    let mut wire = logged.harness.connect().await;
    for _ in 0..200 {
        assert_eq!(wire.get("/v1/app_1/users", secret).await.status, 200);
    }
    for _ in 0..20 {
        assert_eq!(wire.get("/v1/app_1/users", "sk_live_typo").await.status, 401);
    }
    assert_eq!(wire.get("/v1/app_1/late/350", secret).await.status, 200);
    assert_eq!(wire.get("/v1/app_1/status/503", secret).await.status, 503);

    let total = "authsome_proxy_access_log_lines_total";
    let failed = "authsome_proxy_requests_total{outcome=\"5xx\"}";
    eventually("all are counted", || async { logged.metric(failed).await == 1 }).await;
    let count = usize::try_from(logged.metric(total).await).expect("a few");
    let lines = logged.lines(count).await;
    let of = |rule: &str| lines.iter().filter(|line| line["sample"]["rule"] == rule).count();
    assert_eq!((of("refused"), of("slow"), of("failed")), (0, 1, 1), "{lines:?}");
    let successes = of("success");
    // Of 200 at one in four: outside of this once in a billion runs.
    assert!((15..=90).contains(&successes), "{successes}");
    assert_eq!(successes + 2, lines.len());
    assert!(
        lines
            .iter()
            .filter(|it| it["sample"]["rule"] == "success")
            .all(|it| { it["sample"]["ratio"] == 0.25 })
    );
}

#[tokio::test]
async fn requests_of_one_trace_are_logged_together_or_not_at_all() {
    let logged = Logged::with(|world| world.config.log.sample_successes = 0.5).await;
    let mut wire = logged.harness.connect().await;
    let ask = |low: &str| {
        format!(
            "Authorization: Bearer {}\r\ntraceparent: 00-4bf92f3577b34da6{low}-00f067aa0ba902b7-00\r\n",
            logged.harness.world.secret
        )
    };
    let (drawn, other) = (ask("0fffffffffffffff"), ask("f000000000000000"));
    for _ in 0..10 {
        assert_eq!(wire.ask("GET", "/v1/app_1/users", &other, "").await.status, 200);
        assert_eq!(wire.ask("GET", "/v1/app_1/users", &drawn, "").await.status, 200);
    }
    let lines = logged.lines(10).await;
    assert!(
        lines.iter().all(|it| it["traceId"] == "4bf92f3577b34da60fffffffffffffff"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 10);
}
