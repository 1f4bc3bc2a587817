//! The proxy alone: control plane and database are gone for the whole time, it is stopped and
//! killed again and again, and decides every call as before. A short run with every test; a long
//! one by hand:
//!
//! ```sh
//! cargo build --workspace --all-targets
//! ALONE_RESTARTS=50 cargo test --workspace --test e2e -- --ignored --nocapture --test-threads=1 alone
//! ```
//!
//! It prints how many decisions were checked. `CHAOS_SEED=…`, as an earlier run printed it, repeats
//! that run's order of SIGTERM and SIGKILL.

use std::time::{Duration, Instant};

use authsome_e2e::api::{Answer, Api, Application, http_client, unlimited_config};
use authsome_e2e::call::Caller;
use authsome_e2e::dice::Dice;
use authsome_e2e::env;
use authsome_e2e::load::{Load, Tally};
use authsome_e2e::split::Split;
use authsome_e2e::upstream::Upstream;
use authsome_e2e::wait;
use http::Method;
use serde_json::{Value, json};

use crate::crash::settled_usage;

const SHORT: u64 = 5;
const LONG: u64 = 50;

/// Until the rotated key expires; long enough to be seen alive with the control plane gone.
const OVERLAP: Duration = Duration::from_secs(8);

/// Each is less than what the restarts would use up.
const QUOTA: u64 = 7;
const RATE: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn alone_and_restarted_the_proxy_decides_every_call_as_before() {
    Alone::start().await.run(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes; see the head of this file"]
async fn alone_and_restarted_fifty_times_the_proxy_decides_every_call_as_before() {
    Alone::start().await.run(env::number(env::ALONE_RESTARTS).unwrap_or(LONG)).await;
}

/// A kind of call, and the one right answer to it.
struct Case {
    name: &'static str,
    caller: Caller,
    method: Method,
    path: &'static str,
    status: u16,
    /// `error.code`; `""` for none.
    code: &'static str,
}

struct Alone {
    split: Split,
    api: Api,
    _upstream: Upstream,
    main: Application,
    main_admitted: u64,
    cases: Vec<Case>,
    /// A key that expires, and when at the earliest and at the latest.
    expiring: (Caller, Instant, Instant),
    expired: bool,
    /// An application and a key with a quota of [`QUOTA`], and what each has admitted.
    quotas: Vec<(Caller, String, u64)>,
    /// A key with a limit of [`RATE`] in an hour.
    limited: Caller,
    limited_workspace: String,
    limited_admitted: u64,
    /// How full a bucket is, is forgotten with the process: each life begins with a whole burst.
    burst_left: u64,
    revision: u64,
    decisions: u64,
    wrong: Vec<String>,
}

impl Alone {
    /// Everything is set up, and the control plane is gone.
    async fn start() -> Self {
        let upstream = Upstream::start().await;
        let mut split = Split::start().await;
        let api = Api::register(&split.urls).await;
        let main = api.unlimited(&upstream.url).await;
        let foreign = api.unlimited(&upstream.url).await;
        let limited = api.unlimited(&upstream.url).await;
        let suspended = api.unlimited(&upstream.url).await;
        let caller = |key: &str| Caller::new(&split.urls, &main.id, key);

        let reader = key(&api, &main, json!({ "scopes": ["users:read"] })).await;
        let elsewhere = key(&api, &main, json!({ "allowedIps": ["203.0.113.0/24"] })).await;
        let revoked = api.key(&main).await;
        api.delete(&(Api::key_path(&main, &revoked) + "?wait=applied")).await.expect(200);
        let path = format!("/control/v1/workspaces/{}", suspended.workspace);
        api.delete(&path).await;
        let limit = json!({ "requests": RATE, "windowMs": 3_600_000, "burst": RATE });
        let limited_key = key(&api, &limited, json!({ "rateLimit": limit })).await;
        let quotas = vec![
            quota(&split, &api, &upstream, false).await,
            quota(&split, &api, &upstream, true).await,
        ];

        let case = |name, caller: Caller, method, path, status, code| Case {
            name,
            caller,
            method,
            path,
            status,
            code,
        };
        let get = |name, key: &str, status, code| {
            case(name, caller(key), Method::GET, "/users/1", status, code)
        };
        let unknown = Caller::new(&split.urls, "app_0000000000000000000000", &main.secret_key);
        let cases = vec![
            get("a good key", &main.secret_key, 200, ""),
            case("a good key, writing", caller(&main.secret_key), Method::POST, "/sum", 200, ""),
            get("a key that may read, reading", &reader, 200, ""),
            case(
                "a key that may read, writing",
                caller(&reader),
                Method::POST,
                "/users",
                403,
                "forbidden",
            ),
            get("a key from a foreign address", &elsewhere, 403, "forbidden"),
            get("a public key where none may go", &main.public_key, 403, "forbidden"),
            get("a revoked key", &revoked.text, 401, "unauthorized"),
            get("another application's key", &foreign.secret_key, 401, "unauthorized"),
            get("a key with a typo", &main.secret_key[1..], 401, "unauthorized"),
            get("no key", "", 401, "unauthorized"),
            case("an unknown application", unknown, Method::GET, "/users/1", 404, "not_found"),
            case(
                "a suspended workspace",
                split.caller(&suspended),
                Method::GET,
                "/users/1",
                503,
                "service_unavailable",
            ),
        ];
        // Last: from here on the old key's time runs.
        let rotated = key(&api, &main, json!({})).await;
        let listed =
            api.get(&format!("/control/v1/applications/{}/keys?pageSize=100", main.id)).await;
        let id = id_of(&listed, &rotated);
        let path = format!("/control/v1/applications/{}/keys/{id}/rotate", main.id);
        let began = Instant::now();
        let overlap = format!("{}s", OVERLAP.as_secs());
        let successor = api.post(&path, json!({ "overlap": overlap })).await.expect(201);
        let expires = (began + OVERLAP, Instant::now() + OVERLAP);
        api.known(&main, &successor.text("/key")).await;
        let expiring = (caller(&rotated), expires.0, expires.1);
        let limited_workspace = limited.workspace.clone();
        let limited = Caller::new(&split.urls, &limited.id, &limited_key);

        assert!(split.control().terminate().await.success());
        split.control = None;
        let revision = revision(&split).await;
        Self {
            split,
            api,
            _upstream: upstream,
            main,
            // Two by which new keys were seen to be known.
            main_admitted: 2,
            cases,
            expiring,
            expired: false,
            quotas,
            limited,
            limited_workspace,
            limited_admitted: 0,
            burst_left: RATE,
            revision,
            decisions: 0,
            wrong: vec![],
        }
    }

    async fn run(mut self, restarts: u64) {
        let mut dice = Dice::throw();
        // What is answered while it goes down and comes up is right as well.
        let loads = ["a good key", "a revoked key", "a suspended workspace"].map(|name| {
            let case = self.cases.iter().find(|case| case.name == name).expect("a case");
            (case.status, name, Load::start(&case.caller, case.path, 2))
        });
        let mut killed = 0;
        self.round().await;
        for _ in 0..restarts {
            if dice.once_in(2) {
                killed += 1;
                self.split.proxy().kill_9();
            } else {
                assert!(self.split.proxy().terminate().await.success());
            }
            self.split.start_proxy().await;
            self.burst_left = RATE;
            self.round().await;
            for (_, _, load) in &loads {
                load.more(50).await;
            }
        }
        wait::until("the rotated key expires", OVERLAP * 2, async || {
            let status = self.expiring.0.get("/users/1").await.status;
            self.main_admitted += u64::from(status == 200);
            (status == 401).then_some(())
        })
        .await;
        self.round().await;

        let mut good = Tally::default();
        for (status, name, load) in loads {
            let tally = load.stop().await;
            self.decisions += tally.answered.values().sum::<u64>();
            if tally.answered.keys().any(|other| *other != status) {
                self.wrong.push(format!("{name}, all the time: {tally:?}"));
            }
            if status == 200 {
                good = tally;
            }
        }
        eprintln!(
            "{restarts} restarts ({killed} by SIGKILL): {} decisions, {} wrong; revision {}",
            self.decisions,
            self.wrong.len(),
            self.revision,
        );
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert!(self.expired && self.quotas.iter().all(|(_, _, admitted)| *admitted == QUOTA));
        self.ledger(&good).await;
    }

    /// Every kind of call once or more, in one life of the proxy.
    async fn round(&mut self) {
        let now = revision(&self.split).await;
        if now != self.revision {
            self.wrong.push(format!("revision {now} after {}", self.revision));
        }
        for i in 0..self.cases.len() {
            let case = &self.cases[i];
            let request = case.caller.request(case.method.clone(), case.path);
            let answer = Answer::read(request.send().await.expect("an answer")).await;
            let (name, status, code) = (case.name, case.status, case.code);
            self.main_admitted += u64::from(status == 200);
            self.check(name, &answer.expect("a whole answer"), status, code);
        }
        self.expiring().await;
        for i in 0..self.quotas.len() {
            for _ in 0..2 {
                let (caller, _, admitted) = &mut self.quotas[i];
                let answer = caller.get("/users/1").await;
                if *admitted < QUOTA {
                    *admitted += 1;
                    self.check("within the quota", &answer, 200, "");
                } else {
                    self.check("beyond the quota", &answer, 429, "quota_exceeded");
                }
            }
        }
        for _ in 0..RATE + 2 {
            let answer = self.limited.get("/users/1").await;
            if self.burst_left > 0 {
                self.burst_left -= 1;
                self.limited_admitted += 1;
                self.check("within the rate limit", &answer, 200, "");
            } else {
                self.check("beyond the rate limit", &answer, 429, "rate_limit_exceeded");
            }
        }
    }

    async fn expiring(&mut self) {
        let (caller, earliest, latest) = &self.expiring;
        let (caller, earliest, latest) = (caller.clone(), *earliest, *latest);
        let before = Instant::now();
        let answer = caller.get("/users/1").await;
        self.main_admitted += u64::from(answer.status == 200);
        if Instant::now() < earliest {
            self.check("a key before its expiry", &answer, 200, "");
        } else if before > latest {
            self.expired = true;
            self.check("an expired key", &answer, 401, "unauthorized");
        }
    }

    fn check(&mut self, name: &str, answer: &Answer, status: u16, code: &str) {
        self.decisions += 1;
        let said = answer.body.pointer("/error/code").and_then(Value::as_str).unwrap_or_default();
        if (answer.status, said) != (status, code) {
            self.wrong.push(format!("{name}: {answer:?}"));
        }
    }

    /// The control plane comes back and gets every record, each once.
    async fn ledger(&mut self, good: &Tally) {
        self.split.start_control().await;
        self.split.shipped(Duration::from_secs(30)).await;
        let deadline = Duration::from_secs(30);
        for (_, workspace, admitted) in &self.quotas {
            self.api.requests_become(workspace, *admitted, deadline).await;
        }
        self.api.requests_become(&self.limited_workspace, self.limited_admitted, deadline).await;
        let gaps = self.split.ask_database("select count(*) from ledger_gaps");
        assert_eq!(gaps, "0", "a record that was written never came");
        // What broke off may have been admitted or not.
        let answered = self.main_admitted + good.of(200);
        let billed = settled_usage(&self.api, &self.main.workspace, answered).await;
        eprintln!("{answered} answered, {} broken off, {billed} billed", good.broken);
        assert!(billed <= answered + good.broken, "{billed} billed");
    }
}

/// A new application with a quota of [`QUOTA`], its own or its key's: a caller, the workspace, and
/// that nothing has been admitted yet.
async fn quota(
    split: &Split,
    api: &Api,
    upstream: &Upstream,
    by_key: bool,
) -> (Caller, String, u64) {
    let workspace = api.workspace("pro").await;
    let mut config = unlimited_config(&upstream.url);
    if !by_key {
        config["quota"] = json!({ "requests": QUOTA });
    }
    let application = api.application(&workspace, config).await;
    let text = if by_key {
        key(api, &application, json!({ "quota": QUOTA })).await
    } else {
        application.secret_key.clone()
    };
    (Caller::new(&split.urls, &application.id, &text), workspace, 0)
}

/// A new key of an application. The proxy knows it once it knows a later one.
async fn key(api: &Api, application: &Application, settings: Value) -> String {
    let path = format!("/control/v1/applications/{}/keys", application.id);
    let mut body = json!({ "name": "A Key", "type": "secret" });
    for (name, value) in settings.as_object().expect("settings") {
        body[name] = value.clone();
    }
    api.post(&path, body).await.expect(201).text("/key")
}

fn id_of(listed: &Answer, text: &str) -> String {
    let keys = listed.body["data"].as_array().expect("a page");
    let found = keys.iter().find(|key| {
        key["key"].as_str().is_some_and(|mask| text.starts_with(mask.trim_end_matches('*')))
    });
    found.expect("listed")["id"].as_str().expect("an id").to_owned()
}

/// What `/ready` and the metric say, which must be the same.
async fn revision(split: &Split) -> u64 {
    let http = http_client();
    let admin = split.urls.proxy_admin();
    let ready = http.get(format!("{admin}/ready")).send().await.expect("an answer");
    let ready = Answer::read(ready).await.expect("a whole answer").expect(200);
    let text = http.get(format!("{admin}/metrics")).send().await.expect("an answer");
    let text = text.text().await.expect("a whole answer");
    let metric = text.lines().find_map(|it| it.strip_prefix("authsome_proxy_snapshot_revision "));
    let revision = ready.body["revision"].as_u64().expect("a revision");
    assert_eq!(metric, Some(&*revision.to_string()));
    revision
}
