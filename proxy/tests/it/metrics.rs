//! What is exposed is what `docs/metrics.md` lists, and traffic of every kind is counted where the
//! list says.

use std::collections::{BTreeMap, BTreeSet};

use authsome_shared::snapshot::{
    Application, ApplicationStatus, Breaker, Change, HealthCheck, RateLimit, Timeouts, Upstream,
};

use crate::harness::{Harness, eventually, key};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// Causes that the traffic of `drive` has.
const CAUSES: &[&str] = &[
    "malformed",
    "uri_too_long",
    "headers_too_large",
    "not_implemented",
    "unknown_application",
    "key_missing",
    "key_ambiguous",
    "key_malformed",
    "key_unknown",
    "key_of_another_application",
    "key_expired",
    "provisioning",
    "provisioning_failed",
    "suspended",
    "maintenance",
    "address",
    "public_key",
    "scope",
    "rate_limit_key",
    "rate_limit_application",
    "quota_key",
    "quota_application",
    "body_too_large",
    "breaker_open",
    "egress_denied",
    "upstream_name",
    "upstream_connect",
    "upstream_timeout",
];

/// Other series that it counts in.
const SERIES: &[&str] = &[
    "authsome_proxy_requests_total{outcome=\"2xx\"}",
    "authsome_proxy_requests_total{outcome=\"3xx\"}",
    "authsome_proxy_requests_total{outcome=\"4xx\"}",
    "authsome_proxy_requests_total{outcome=\"5xx\"}",
    "authsome_proxy_rate_limit_checks_total{level=\"plan\",mode=\"fast\",result=\"allowed\"}",
    "authsome_proxy_rate_limit_checks_total{level=\"key\",mode=\"fast\",result=\"refused\"}",
    "authsome_proxy_upstream_errors_total{kind=\"address\"}",
    "authsome_proxy_upstream_errors_total{kind=\"connect\"}",
    "authsome_proxy_upstream_errors_total{kind=\"exchange\"}",
    "authsome_proxy_upstream_retries_total{outcome=\"made\"}",
    "authsome_proxy_upstream_breakers_opened_total",
    "authsome_proxy_ledger_batches_total",
    "authsome_proxy_decisions_bytes",
    "authsome_proxy_ready",
    "authsome_proxy_start_time_seconds",
    "authsome_proxy_config_last_applied_timestamp_seconds",
    "authsome_proxy_control_last_heard_timestamp_seconds",
    "authsome_proxy_request_seconds_count",
    "authsome_proxy_admission_seconds_count",
    "authsome_proxy_rate_limit_seconds_count",
    "authsome_proxy_ledger_append_seconds_count",
    "authsome_proxy_upstream_connect_seconds_count",
    "authsome_proxy_upstream_first_byte_seconds_count",
    "authsome_proxy_upstream_seconds_count",
];

/// Of one metric: its type, and every value of each of its labels. `None`: any.
#[derive(Debug, Default, PartialEq)]
struct Family {
    kind: String,
    labels: BTreeMap<String, Option<BTreeSet<String>>>,
}

type Families = BTreeMap<String, Family>;

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the table whose metrics have this prefix.
fn documented(prefix: &str) -> Families {
    let mut families = Families::new();
    for line in DOCUMENT.lines().filter(|line| line.starts_with(&format!("| `{prefix}"))) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, about] = cells[..] else { panic!("not four cells: {line}") };
        assert!(!about.is_empty(), "{line}");
        let label = |label: &str| {
            let (name, values) = label.split_once(':').expect("`label`: values");
            let values: BTreeSet<_> = quoted(values).map(str::to_owned).collect();
            let name = quoted(name).next().expect("a name").to_owned();
            (name, (!values.is_empty()).then_some(values))
        };
        let labels = labels.split(';').filter(|text| !text.is_empty()).map(label).collect();
        let name = quoted(name).next().expect("a name").to_owned();
        let twice = families.insert(name, Family { kind: kind.to_owned(), labels });
        assert_eq!(twice, None, "{line}");
    }
    families
}

/// The same of an exposition.
fn exposed(text: &str, prefix: &str) -> Families {
    let mut families = Families::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            let kind = kind.to_owned();
            families.insert(name.to_owned(), Family { kind, ..Family::default() });
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let ends = ["_bucket", "_sum", "_count", ""];
        let family = ends.iter().find_map(|end| families.get_key_value(name.strip_suffix(end)?));
        let family = family.map(|(name, _)| name.clone()).expect("a type before the series");
        let family = families.get_mut(&family).expect("just found");
        for label in labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').expect("a label");
            if name != "le" {
                let values = family.labels.entry(name.to_owned()).or_insert(Some(BTreeSet::new()));
                let value = value.trim_matches('"').to_owned();
                values.as_mut().expect("gathered").insert(value);
            }
        }
    }
    families.retain(|name, _| name.starts_with(prefix));
    families
}

async fn scrape(harness: &Harness) -> String {
    let mut wire = crate::wire::Wire::to(harness.admin()).await;
    String::from_utf8(wire.ask("GET", "/metrics", "", "").await.body).expect("text")
}

/// Further applications, each with a key: what is the world's own, but for a change.
struct Others<'a> {
    harness: &'a Harness,
    changes: Vec<Change>,
    secrets: BTreeMap<String, String>,
}

impl Others<'_> {
    fn add(
        &mut self,
        id: &str,
        change: impl FnOnce(&mut Application, &mut authsome_shared::snapshot::Key),
    ) {
        let mut application = self.harness.world.application.clone();
        application.id = id.parse().expect("an id");
        let (mut key, secret) = key(&format!("key_{}", &id[4..]));
        key.application = application.id.clone();
        change(&mut application, &mut key);
        self.changes.push(Change::Application(Box::new(application)));
        self.changes.push(Change::Key(Box::new(key)));
        self.secrets.insert(id.to_owned(), secret);
    }
}

fn to(url: &str) -> Upstream {
    Upstream { urls: vec![url.into()], retries: 0, ..Upstream::default() }
}

/// One request of every kind; gives what each was answered with.
async fn drive(harness: &Harness) -> Vec<(String, u16)> {
    let dead = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        format!("http://{}", listener.local_addr().expect("bound"))
    };
    let mut others = Others { harness, changes: vec![], secrets: BTreeMap::new() };
    let none = RateLimit::fast(0, 1_000, 0);
    others.add("app_limited", |it, _| it.rate_limit = Some(none));
    others.add("app_keylimited", |_, key| key.rate_limit = Some(none));
    others.add("app_quota", |it, _| it.quota = Some(0));
    others.add("app_keyquota", |_, key| key.quota = Some(0));
    others.add("app_suspended", |it, _| it.status = ApplicationStatus::Suspended);
    others.add("app_maintained", |it, _| it.status = ApplicationStatus::Maintenance);
    others.add("app_provisioned", |it, _| it.status = ApplicationStatus::Provisioning);
    others.add("app_failed", |it, _| it.status = ApplicationStatus::Failed);
    others.add("app_small", |it, _| it.max_body_bytes = 3);
    others.add("app_dead", |it, _| it.upstream = Some(to(&dead)));
    others.add("app_private", |it, _| it.upstream = Some(to("http://10.255.255.1")));
    others.add("app_nameless", |it, _| it.upstream = Some(to("http://does-not-exist.invalid")));
    others.add("app_slow", |it, _| {
        let upstream = it.upstream.as_mut().expect("the world's");
        upstream.timeouts = Timeouts { first_byte_ms: 50, ..Timeouts::default() };
    });
    others.add("app_broken", |it, _| {
        it.upstream = Some(to(&dead));
        let breaker = Breaker { failures: 1, open_ms: 60_000, ..Breaker::default() };
        it.upstream.as_mut().expect("set").breaker = Some(breaker);
    });
    others.add("app_retried", |it, _| {
        let upstream = it.upstream.as_mut().expect("the world's");
        upstream.urls.insert(0, dead.clone());
        upstream.health_check =
            Some(HealthCheck { interval_ms: 100, unhealthy: 1_000, ..HealthCheck::default() });
    });
    others.add("app_expired", |_, key| {
        key.expires_at = Some("2020-01-01T00:00:00Z".parse().expect("a time"));
    });
    others.add("app_elsewhere", |_, key| {
        key.allowed_ips = vec!["192.0.2.0/24".parse().expect("a net")];
    });
    others.add("app_scoped", |_, key| key.scopes = vec!["users:read".into()]);
    others.add("app_public", |_, key| key.key_type = authsome_shared::api_key::KeyType::Public);
    let Others { changes, secrets, .. } = others;
    harness.change(changes).await;

    let mut answers = Vec::new();
    let own = &harness.world.secret;
    let mut ask = async |name: &str, method: &str, target: &str, headers: &str, body: &str| {
        let mut wire = harness.connect().await;
        let answer = wire.ask(method, target, headers, body).await;
        answers.push((name.to_owned(), answer.status));
    };
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");
    for target in ["users", "status/404", "status/302", "status/500"] {
        ask(target, "GET", &format!("/v1/app_1/{target}"), &bearer(own), "").await;
    }
    for (id, secret) in &secrets {
        let target = if id == "app_slow" { "silence" } else { "users/1" };
        ask(id, "POST", &format!("/v1/{id}/{target}"), &bearer(secret), "12345").await;
    }
    let broken = &secrets["app_broken"];
    ask("breaker", "GET", "/v1/app_broken/users", &bearer(broken), "").await;
    ask("unknown application", "GET", "/v1/app_nowhere/users", &bearer(own), "").await;
    ask("no key", "GET", "/v1/app_1/users", "", "").await;
    ask("two keys", "GET", "/v1/app_1/users", &bearer(own).repeat(2), "").await;
    ask("no key's form", "GET", "/v1/app_1/users", &bearer("sk_live_typo"), "").await;
    ask("unknown key", "GET", "/v1/app_1/users", &bearer(&key("key_9").1), "").await;
    ask("another's key", "GET", "/v1/app_1/users", &bearer(broken), "").await;
    ask("malformed", "GET", "/v1/app_1/../users", &bearer(own), "").await;
    ask("unreadable", "GET", "/v1/app_1/users", "Bad Name: x\r\n", "").await;
    ask("long target", "GET", &format!("/{}", "a".repeat(9_000)), "", "").await;
    ask("long head", "GET", "/", &format!("X: {}\r\n", "a".repeat(17_000)), "").await;
    ask("trace", "TRACE", "/v1/app_1/users", &bearer(own), "").await;
    answers
}

#[tokio::test]
async fn what_is_exposed_is_what_the_document_lists_whatever_happens() {
    let harness = Harness::with(|world| {
        world.application.upstream.as_mut().expect("set").retries = 1;
    })
    .await;
    let before = exposed(&scrape(&harness).await, "authsome_");
    let listed = documented("authsome_proxy_");
    let any = |families: Families| -> Families {
        let mut families = families;
        for (name, family) in &mut families {
            for (label, values) in &mut family.labels {
                if listed.get(name).and_then(|it| it.labels.get(label)) == Some(&None) {
                    *values = None;
                }
            }
        }
        families
    };
    compare(&listed, &any(before));

    let answers = drive(&harness).await;
    for (name, status) in [
        ("users", 200),
        ("app_limited", 429),
        ("app_keyquota", 429),
        ("app_suspended", 503),
        ("app_small", 413),
        ("app_dead", 502),
        ("app_slow", 504),
        ("app_retried", 200),
        ("app_scoped", 403),
        ("app_expired", 401),
        ("breaker", 503),
        ("unreadable", 400),
        ("long head", 431),
    ] {
        assert!(answers.contains(&(name.to_owned(), status)), "{name} in {answers:?}");
    }
    harness.shipped(4).await;
    let checked = "authsome_proxy_upstream_health_checks_total{outcome=\"unhealthy\"}";
    eventually("health is checked", || async { harness.metric(checked).await > 0 }).await;

    let text = scrape(&harness).await;
    compare(&listed, &any(exposed(&text, "authsome_")));
    let value = |series: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(series));
        line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok())
    };
    for cause in CAUSES {
        let series = format!("authsome_proxy_denials_total{{cause=\"{cause}\"}}");
        assert!(value(&series) >= Some(1.0), "{series} {:?}; {answers:?}", value(&series));
    }
    for series in SERIES {
        assert!(value(series) >= Some(1.0), "{series} {:?}", value(series));
    }
    let all = "authsome_proxy_requests_total";
    let sum: f64 = text
        .lines()
        .filter(|line| line.starts_with(all))
        .filter_map(|line| line.split(' ').nth(1)?.parse::<f64>().ok())
        .sum();
    let count = u32::try_from(answers.len()).expect("a few");
    assert!((sum - f64::from(count)).abs() < 0.5, "{sum} counted of {count}");
}

/// One at a time, so that what differs can be read.
fn compare(listed: &Families, exposed: &Families) {
    for (name, family) in listed {
        assert_eq!(exposed.get(name), Some(family), "{name} is listed, and not so exposed");
    }
    for name in exposed.keys() {
        assert!(listed.contains_key(name), "{name} is exposed, and not in docs/metrics.md");
    }
}

#[tokio::test]
async fn a_cause_that_is_counted_is_explained_in_the_document() {
    let listed = documented("authsome_proxy_denials_total");
    let causes = listed["authsome_proxy_denials_total"].labels["cause"].as_ref().expect("all");
    let causes: BTreeSet<&str> = causes.iter().map(String::as_str).collect();
    let (_, table) = DOCUMENT.split_once("| cause | answer |").expect("the table of causes");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let explained: Vec<&str> =
        table.lines().skip(2).filter_map(|line| line.split('|').nth(1)).flat_map(quoted).collect();
    assert_eq!(explained.len(), causes.len());
    assert_eq!(explained.into_iter().collect::<BTreeSet<_>>(), causes);
}

#[tokio::test]
async fn the_ledgers_lag_grows_while_the_control_plane_is_away() {
    let harness = Harness::with(|world| {
        world.clock =
            authsome_shared::clock::Clock::manual("2026-11-22T12:00:00Z".parse().expect("a time"));
    })
    .await;
    harness.control.set_up(false);
    let mut wire = harness.connect().await;
    assert_eq!(wire.get("/v1/app_1/users", &harness.world.secret).await.status, 200);
    let failures = "authsome_proxy_ledger_ship_failures_total";
    eventually("shipping fails", || async { harness.metric(failures).await > 0 }).await;
    harness.world.clock.advance(chrono::TimeDelta::seconds(90));
    let lag = "authsome_proxy_ledger_lag_seconds";
    assert_eq!(harness.metric(lag).await, 90);
    assert_eq!(harness.metric("authsome_proxy_control_connected").await, 0);

    harness.control.set_up(true);
    eventually("all is confirmed", || async { harness.metric(lag).await == 0 }).await;
    assert_eq!(harness.control.records().len(), 1);
}
