//! Health checks: who is asked, and what follows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use authsome_shared::snapshot::{ApplicationStatus, Change, HealthCheck, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::harness::{Harness, World, eventually};

const USERS: &str = "/v1/app_1/users";

/// An upstream whose health can be turned, and that counts checks and other requests.
struct Patient {
    address: SocketAddr,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    ill: AtomicBool,
    checks: AtomicUsize,
    requests: AtomicUsize,
}

impl Patient {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State::default());
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    fn url(&self) -> String {
        format!("http://{}/base", self.address)
    }

    fn be_ill(&self, ill: bool) {
        self.state.ill.store(ill, Ordering::SeqCst);
    }

    fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

/// One request a connection. Only its health check tells its illness.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let status = if head.starts_with(b"GET /base/healthz?deep HTTP/1.1\r\n") {
        state.checks.fetch_add(1, Ordering::SeqCst);
        if state.ill.load(Ordering::SeqCst) { "503 Unavailable" } else { "200 OK" }
    } else {
        state.requests.fetch_add(1, Ordering::SeqCst);
        "200 OK"
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn check() -> HealthCheck {
    HealthCheck { path: "/healthz?deep".into(), interval_ms: 100, ..HealthCheck::default() }
}

async fn start(patients: &[&Patient], change: impl FnOnce(&mut World)) -> Harness {
    Harness::with(|world| {
        world.upstream().urls = patients.iter().map(|patient| patient.url()).collect();
        world.upstream().health_check = Some(check());
        change(world);
    })
    .await
}

async fn is(harness: &Harness, state: &str, count: u64) -> bool {
    harness.metric(&format!("authsome_proxy_upstream_urls{{state=\"{state}\"}}")).await == count
}

async fn get(harness: &Harness, count: usize) {
    for _ in 0..count {
        let answer = harness.connect().await.get(USERS, &harness.world.secret).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn the_ill_are_spared_until_they_are_well_and_all_serve_when_all_are_ill() {
    let (one, two) = (Patient::start().await, Patient::start().await);
    let harness = start(&[&one, &two], |_| {}).await;
    get(&harness, 4).await;
    assert_eq!((one.requests(), two.requests()), (2, 2));

    one.be_ill(true);
    eventually("one is out", || is(&harness, "unhealthy", 1)).await;
    get(&harness, 4).await;
    assert_eq!((one.requests(), two.requests()), (2, 6));

    two.be_ill(true);
    eventually("both are out", || is(&harness, "unhealthy", 2)).await;
    get(&harness, 4).await;
    assert_eq!(one.requests() + two.requests(), 12);
    assert!(one.requests() > 2 && two.requests() > 6);

    one.be_ill(false);
    eventually("one is back", || is(&harness, "unhealthy", 1)).await;
    let before = two.requests();
    get(&harness, 4).await;
    assert_eq!(two.requests(), before);
}

#[tokio::test]
async fn checks_start_and_stop_with_the_configuration() {
    let patient = Patient::start().await;
    let harness = start(&[&patient], |world| world.upstream().health_check = None).await;
    get(&harness, 1).await;
    assert_eq!(patient.checks(), 0);

    harness
        .change(vec![Change::Application(Box::new({
            let mut application = harness.world.application.clone();
            application.upstream.as_mut().expect("set").health_check = Some(check());
            application
        }))])
        .await;
    eventually("checked", || async { patient.checks() > 2 }).await;

    let mut suspended = harness.world.application.clone();
    suspended.upstream.as_mut().expect("set").health_check = Some(check());
    suspended.status = ApplicationStatus::Suspended;
    harness.change(vec![Change::Application(Box::new(suspended))]).await;
    let quiet = || async {
        let before = patient.checks();
        tokio::time::sleep(Duration::from_millis(400)).await;
        patient.checks() == before
    };
    eventually("no longer checked", quiet).await;
}

#[tokio::test]
async fn the_egress_rule_holds_for_checks() {
    let patient = Patient::start().await;
    let harness = start(&[&patient], |world| world.settings.egress_allow = vec![]).await;
    eventually("found out of reach", || is(&harness, "unhealthy", 1)).await;
    assert_eq!(patient.checks(), 0);
    let settings = Settings {
        egress_allow: vec!["127.0.0.0/8".parse().expect("a net")],
        ..harness.world.settings.clone()
    };
    harness.change(vec![Change::Settings(settings)]).await;
    eventually("checked once it is allowed", || is(&harness, "in", 1)).await;
}

#[tokio::test]
async fn silence_is_illness() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let harness = Harness::with(|world| {
        world.upstream().urls = vec![url];
        world.upstream().health_check = Some(HealthCheck { timeout_ms: 50, ..check() });
    })
    .await;
    eventually("found silent", || is(&harness, "unhealthy", 1)).await;
}
