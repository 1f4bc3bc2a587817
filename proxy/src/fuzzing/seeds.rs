//! Writes the seeds under `fuzz/corpus/`, from what the code itself makes and from the table of
//! HTTP/1 cases:
//!
//! `cargo test --workspace --lib write_the_seeds -- --ignored`

use std::fs;
use std::path::Path;

use authsome_shared::api_key::{KeyDigest, KeyMode, KeyType, generate};
use authsome_shared::id::PlatformId;
use authsome_shared::node::Frame;
use authsome_shared::snapshot::encoding::{Header, encode};
use authsome_shared::snapshot::{
    Breaker, Change, DefaultUpstream, HealthCheck, KeySource, RateLimit, Route, Settings,
};

#[path = "../../tests/it/corpus/mod.rs"]
#[allow(dead_code, reason = "only the cases are wanted")]
mod corpus;

use crate::admit::route::defaults;
use crate::ledger::frame::Header as SegmentHeader;
use crate::snapshot::store::log::{self, Entry};
use crate::testing;

fn write(target: &str, seeds: impl IntoIterator<Item = Vec<u8>>) {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus")).join(target);
    fs::create_dir_all(&dir).expect("a folder");
    for (i, seed) in seeds.into_iter().enumerate() {
        fs::write(dir.join(format!("seed-{i:03}")), seed).expect("written");
    }
}

/// Every kind of change, with every field used somewhere.
fn changes() -> Vec<Change> {
    let limit = RateLimit::fast(10, 1_000, 20);
    let mut workspace = testing::workspace("ws_1");
    workspace.quota = Some(100_000);
    let mut application = testing::application("app_1", "ws_1");
    let upstream = application.upstream.as_mut().expect("set");
    upstream.urls = vec!["https://api.example.com/base".into(), "http://[::1]:8080".into()];
    upstream.weights = vec![1, 3];
    upstream.health_check = Some(HealthCheck::default());
    upstream.breaker = Some(Breaker::default());
    upstream.tls.sni = Some("other.example.com".into());
    application.rate_limit = Some(limit);
    application.quota = Some(5);
    application.accept = vec![KeySource::Bearer, KeySource::XApiKey, KeySource::Query];
    application.routes = vec![Route {
        pattern: "GET /users/*".parse().expect("a pattern"),
        scope: Some("users:read".into()),
        public: true,
        cost: 3,
    }];
    let mut key = testing::key("key_1", "app_1");
    key.key_type = KeyType::Public;
    key.expires_at = Some("2027-01-01T00:00:00.123456Z".parse().expect("a time"));
    key.allowed_ips = vec!["10.0.0.0/8".parse().expect("a net"), "::/0".parse().expect("a net")];
    key.rate_limit = Some(limit);
    key.quota = Some(7);
    let mut rotated = testing::key("key_2", "app_1");
    rotated.bucket = key.id.clone();
    vec![
        Change::Settings(Settings {
            default_upstream: Some(DefaultUpstream::Url("http://127.0.0.1:1/x".into())),
            egress_allow: vec!["127.0.0.0/8".parse().expect("a net")],
        }),
        Change::Workspace(workspace),
        Change::Application(Box::new(application)),
        Change::Application(Box::new(testing::application("app_2", "ws_2"))),
        Change::Key(Box::new(key)),
        Change::Key(Box::new(rotated)),
        Change::Key(Box::new(testing::key("key_3", "app_2"))),
        Change::RemoveKey("key_3".parse().expect("an id")),
        Change::RemoveApplication("app_2".parse().expect("an id")),
        Change::RemoveWorkspace("ws_2".parse().expect("an id")),
    ]
}

fn lines(changes: &[Change]) -> Vec<u8> {
    let text = |change| serde_json::to_string(change).expect("a change is JSON");
    changes.iter().map(text).collect::<Vec<_>>().join("\n").into_bytes()
}

#[test]
#[ignore = "writes the seeds; see the module's text"]
fn write_the_seeds() {
    let changes = changes();
    let platform: PlatformId = "plt_1".parse().expect("an id");
    let header = |changes: usize| Header { platform: platform.clone(), revision: 7, changes };

    let mut snapshots: Vec<Vec<u8>> = Vec::new();
    for part in (1..=changes.len()).map(|end| &changes[..end]).chain(changes.windows(1)) {
        let mut text = serde_json::to_vec(&header(part.len())).expect("a header is JSON");
        text.push(b'\n');
        text.extend(lines(part));
        snapshots.push(text);
    }
    snapshots.push(encode(&header(changes.len()), &changes));
    snapshots.push(zstd::encode_all(&*snapshots[3].clone(), 1).expect("in memory"));
    write("snapshot", snapshots);

    let mut deltas: Vec<Vec<u8>> = changes.windows(1).map(lines).collect();
    deltas.push(lines(&changes));
    let value = |change: &Change| serde_json::to_value(change).expect("a change is JSON");
    let delta = Frame::Delta { revision: 8, changes: changes[3..6].iter().map(value).collect() };
    deltas.push(serde_json::to_vec(&delta).expect("a frame is JSON"));
    let mut logged = log::head(&platform);
    for (revision, value) in (8..).zip(changes.iter().map(value)) {
        logged += &log::line(&Entry { revision, changes: vec![value] }).expect("JSON");
    }
    deltas.push(logged.into_bytes());
    write("changes", deltas);

    let mut keys = Vec::new();
    for key_type in [KeyType::Public, KeyType::Secret] {
        for mode in [KeyMode::Live, KeyMode::Test] {
            let key = generate(key_type, mode).into_inner();
            keys.push(KeyDigest::of(&key).to_hex().into_bytes());
            keys.push(key.as_bytes()[1..].to_vec());
            // No seed is a whole key: scanners would take it for one that is in use.
            keys.push(key.as_bytes()[..42].to_vec());
        }
    }
    write("api_key", keys);

    let table = defaults();
    let patterns = table.iter().map(|route| &*route.text);
    let requests = ["GET /users", "GET /users/7", "HEAD /users/7/x", "POST /auth/", "DELETE //"];
    let mut routes: Vec<Vec<u8>> = patterns.clone().map(|it| it.as_bytes().to_vec()).collect();
    routes.push(patterns.chain(requests).collect::<Vec<_>>().join("\n").into_bytes());
    routes
        .push(b"GET /a/*/b\n* /a/*\nGET /a/*/*\nGET /*\n* /*\nGET /\nGET /a/1/b\nPUT /a/".to_vec());
    write("route", routes);

    let names = corpus::Names {
        path: "/v1/app_1".into(),
        authorization: "Authorization: Bearer sk_test_x\r\n".into(),
    };
    let cases: Vec<Vec<u8>> = corpus::all().iter().map(|case| names.fill(&case.bytes)).collect();
    let small = cases.into_iter().filter(|bytes| bytes.len() < 2_000);
    let (chunked, other): (Vec<_>, Vec<_>) = small.partition(|bytes| {
        bytes.windows(7).any(|it| it == b"chunked") && bytes.windows(4).any(|it| it == b"\r\n\r\n")
    });
    let after = |bytes: &Vec<u8>| {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("filtered");
        bytes[end + 4..].to_vec()
    };
    write("body", chunked.iter().map(after).filter(|bytes| !bytes.is_empty()));
    write("head", other.into_iter().chain(chunked.into_iter().take(4)));

    let mut journals: Vec<Vec<u8>> = (1..8_u8)
        .map(|n| format!("{n}0GET /users/{n}\nuser-{n}\nü\u{0}\"\\\nb").into_bytes())
        .collect();
    for text in journals.clone() {
        let records = super::journal::records(&text);
        let header = SegmentHeader { epoch: "epo_1".into(), first: 1 };
        journals.push(super::journal::segment(&header, &records[..2]).0);
    }
    write("recovery", journals[..7].to_vec());
    write("journal", journals);
}
