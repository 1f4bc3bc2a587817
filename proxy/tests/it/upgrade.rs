//! A running process replaced by a new one: what is carried over, and what becomes of it when the
//! new one is no good. That no request is lost is held end to end, under load.

use std::os::unix::fs::{MetadataExt, symlink};

use authsome_shared::snapshot::{Change, RateLimit};
use tokio::io::AsyncWriteExt;

use crate::binary::{Binary, said, signal};
use crate::harness::{eventually, files};
use crate::streams::{expect, head};

const USERS: &str = "/v1/app_1/users";
const QUIET: &str = "[log]\naccess_log = \"off\"\n[drain]\nidle_ms = 20\n";

/// A process that is not there, or only waits for its parent to ask.
fn is_over(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty()
}

/// Puts a script where the program is.
fn replace_by_script(binary: &Binary, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::remove_file(&binary.program).expect("removed");
    std::fs::write(&binary.program, script).expect("written");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&binary.program, mode).expect("set");
}

#[tokio::test]
async fn an_upgrade_that_fails_is_told_and_the_old_process_goes_on() {
    let quick = format!("{QUIET}[upgrade]\ntimeout_ms = 3000\n");
    let mut binary = Binary::start(&quick).await;
    let first = binary.first();
    let spoil: [(&str, &dyn Fn(), &str); 4] = [
        (
            "bad settings",
            &|| std::fs::write(&binary.settings, "[ledger]\nmax_bites = 1\n").expect("written"),
            "max_bites",
        ),
        (
            "a certificate that is not there",
            &|| {
                let tls = "[tls]\nlisten = \"127.0.0.1:0\"\ncert_file = \"/no.crt\"\n\
                    key_file = \"/no.key\"\n";
                std::fs::write(&binary.settings, format!("{quick}{tls}")).expect("written");
            },
            "/no.crt",
        ),
        (
            "a program that ends",
            &|| {
                std::fs::write(&binary.settings, &quick).expect("written");
                replace_by_script(&binary, "#!/bin/sh\necho 'no such library' >&2\nexit 127\n");
            },
            "exit status: 127",
        ),
        (
            "a program that does nothing",
            &|| replace_by_script(&binary, "#!/bin/sh\nexec sleep 60\n"),
            "not ready within 3s",
        ),
    ];
    for (number, (what, spoil, wanted)) in (1..).zip(spoil) {
        spoil();
        let output = binary.command("upgrade").await;
        assert!(!output.status.success(), "{what}: {}", said(&output));
        assert!(said(&output).contains(wanted), "{what}: {}", said(&output));
        assert!(binary.log().contains("this process goes on"), "{what}");
        assert_eq!(binary.pid(), first, "{what}");
        let failed = "authsome_proxy_upgrades_total{result=\"failed\"}";
        assert_eq!(binary.metric(failed).await, number, "{what}");
        // It serves, ships, and takes and acknowledges changes.
        assert_eq!(binary.get(USERS).await, 200, "{what}");
        binary.harness.shipped(usize::try_from(number).expect("small")).await;
        binary
            .harness
            .change(vec![Change::Workspace(binary.harness.world.workspace.clone())])
            .await;
        assert!(binary.is_ready().await, "{what}");
    }
    std::fs::remove_file(&binary.program).expect("removed");
    symlink(env!("CARGO_BIN_EXE_authsome-proxy"), &binary.program).expect("linked");
    let second = binary.upgrade().await;
    assert_ne!(second, first);
    binary.first_ended().await;
    assert_eq!(binary.get(USERS).await, 200);
    binary.harness.shipped(5).await;
    assert_eq!((binary.harness.control.records().len(), binary.harness.control.gaps()), (5, 0));
}

#[tokio::test]
async fn a_replaced_file_is_the_new_program_and_a_chain_of_upgrades_ends_its_processes() {
    let mut binary = Binary::start(QUIET).await;
    let mut before = binary.first();
    for round in 0..3 {
        // As a package manager does it: the new file takes the name.
        let copy = binary.program.with_extension(round.to_string());
        std::fs::copy(env!("CARGO_BIN_EXE_authsome-proxy"), &copy).expect("copied");
        let inode = std::fs::metadata(&copy).expect("there").ino();
        std::fs::rename(&copy, &binary.program).expect("renamed");
        let pid = binary.upgrade().await;
        let running = std::fs::metadata(format!("/proc/{pid}/exe")).expect("it runs");
        assert_eq!(running.ino(), inode, "round {round}");
        eventually("the one before ends", || async { is_over(before) }).await;
        before = pid;
        assert_eq!(binary.get(USERS).await, 200);
    }
    binary.first_ended().await;
    binary.harness.shipped(3).await;
    assert_eq!(binary.metric("authsome_proxy_upgrades_total{result=\"succeeded\"}").await, 1);
    let journal = binary.harness.dir.path().join("proxy/journal");
    eventually("one segment is left", || async { files(&journal, ".seg").len() == 1 }).await;
}

#[tokio::test]
async fn limits_and_quotas_are_not_forgotten_without_the_control_plane_either() {
    let binary = Binary::with(QUIET, |world| {
        let limit = RateLimit::fast(12, 3_600_000, 12);
        world.key.rate_limit = Some(limit);
        world.workspace.quota = Some(10);
    })
    .await;
    binary.harness.control.set_up(false);
    for _ in 0..7 {
        assert_eq!(binary.get(USERS).await, 200);
    }
    binary.upgrade().await;
    for _ in 0..3 {
        assert_eq!(binary.get(USERS).await, 200);
    }
    let mut wire = binary.connect().await;
    let secret = &binary.harness.world.secret;
    assert_eq!(wire.get(USERS, secret).await.code(), "quota_exceeded", "the eleventh");
    binary.upgrade().await;
    let mut wire = binary.connect().await;
    assert_eq!(wire.get(USERS, secret).await.code(), "quota_exceeded", "the twelfth");
    assert_eq!(wire.get(USERS, secret).await.code(), "rate_limit_exceeded", "the thirteenth");
    binary.harness.control.set_up(true);
    binary.harness.shipped(10).await;
    // Totals that come in now count nothing twice.
    eventually("all is confirmed", || async {
        binary.metric("authsome_proxy_journal_unshipped_records").await == 0
    })
    .await;
    assert_eq!((binary.harness.control.records().len(), binary.harness.control.gaps()), (10, 0));
}

#[tokio::test]
async fn a_revoked_key_stays_revoked_without_the_control_plane_either() {
    let binary = Binary::start(QUIET).await;
    let key = binary.harness.world.key.id.clone();
    assert_eq!(binary.get(USERS).await, 200);
    binary.harness.change(vec![Change::RemoveKey(key)]).await;
    binary.harness.control.set_up(false);
    binary.upgrade().await;
    assert_eq!(binary.get(USERS).await, 401);
}

#[tokio::test]
async fn what_the_old_process_still_serves_is_billed_by_the_new_one_at_once() {
    let mut binary = Binary::start(QUIET).await;
    let mut late = binary.connect().await.into_inner();
    let secret = binary.harness.world.secret.clone();
    let ask = |path: &str| {
        format!(
            "GET /v1/app_1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n"
        )
    };
    late.write_all(ask("late/1500").as_bytes()).await.expect("sent");
    let mut never = binary.connect().await.into_inner();
    never.write_all(ask("silence").as_bytes()).await.expect("sent");
    eventually("both are under way", || async { binary.harness.upstream.seen().len() == 2 }).await;
    let first = binary.first();
    binary.upgrade().await;
    assert_eq!(binary.get(USERS).await, 200);
    assert!(head(&mut late).await.starts_with("HTTP/1.1 200 "));
    expect(&mut late, b"ok").await;
    let began = std::time::Instant::now();
    binary.harness.shipped(2).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
    // The folder is the new one's; a third process is kept out of it.
    let other = binary.command("--listen=127.0.0.1:0").await;
    assert!(said(&other).contains("in use"), "{}", said(&other));
    // Asked to stop, a process that drains goes on; asked again it ends at once.
    signal(first, "-TERM");
    eventually("it is told", || async { binary.log().contains("draining already") }).await;
    signal(first, "-TERM");
    binary.first_ended().await;
    drop(never);
    assert_eq!((binary.get(USERS).await, binary.harness.control.gaps()), (200, 0));
    let pid = binary.pid();
    assert_ne!(pid, first);
}

#[tokio::test]
async fn a_new_process_that_dies_while_the_old_one_drains_can_be_started_again_at_once() {
    let mut binary = Binary::start(QUIET).await;
    let secret = binary.harness.world.secret.clone();
    let mut late = binary.connect().await.into_inner();
    let ask = format!(
        "GET /v1/app_1/late/3000 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n"
    );
    late.write_all(ask.as_bytes()).await.expect("sent");
    eventually("it is under way", || async { binary.harness.upstream.seen().len() == 1 }).await;
    let second = binary.upgrade().await;
    assert_eq!(binary.get(USERS).await, 200);
    signal(second, "-KILL");
    eventually("it is dead", || async { is_over(second) }).await;
    binary.start_again().await;
    assert_eq!(binary.get(USERS).await, 200);
    assert!(head(&mut late).await.starts_with("HTTP/1.1 200 "), "the first still drains");
    expect(&mut late, b"ok").await;
    binary.harness.shipped(3).await;
    assert_eq!((binary.harness.control.records().len(), binary.harness.control.gaps()), (3, 0));
}

/// A program that takes its time, so that something can happen meanwhile.
fn slow(binary: &Binary) {
    let real = env!("CARGO_BIN_EXE_authsome-proxy");
    replace_by_script(binary, &format!("#!/bin/sh\nsleep 1\nexec {real} \"$@\"\n"));
}

#[tokio::test]
async fn an_old_process_that_dies_during_an_upgrade_leaves_no_half_taken_over_one() {
    let mut binary = Binary::start(QUIET).await;
    assert_eq!(binary.get(USERS).await, 200);
    slow(&binary);
    let first = binary.first();
    signal(first, "-USR2");
    eventually("it has begun", || async { binary.log().contains("upgrading") }).await;
    signal(first, "-KILL");
    binary.first_ended().await;
    eventually("the new one gives up", || async { binary.log().contains("the running proxy has") })
        .await;
    binary.start_again().await;
    assert_eq!(binary.get(USERS).await, 200);
    binary.harness.shipped(2).await;
    assert_eq!((binary.harness.control.records().len(), binary.harness.control.gaps()), (2, 0));
}

#[tokio::test]
async fn asked_to_stop_during_an_upgrade_it_calls_that_off_and_drains() {
    let mut binary = Binary::start(QUIET).await;
    assert_eq!(binary.get(USERS).await, 200);
    slow(&binary);
    let first = binary.first();
    signal(first, "-USR2");
    eventually("it has begun", || async { binary.log().contains("upgrading") }).await;
    signal(first, "-TERM");
    binary.first_ended().await;
    assert!(binary.log().contains("called off"), "{}", binary.log());
    assert_eq!(binary.harness.control.records().len(), 1, "shipped at the end");
    eventually("nobody listens", || async {
        tokio::net::TcpStream::connect(binary.address).await.is_err()
    })
    .await;
    binary.start_again().await;
    assert_eq!(binary.get(USERS).await, 200);
}

#[tokio::test]
async fn asked_to_stop_twice_it_ends_at_once() {
    let mut binary = Binary::start(QUIET).await;
    let mut never = binary.connect().await.into_inner();
    let secret = &binary.harness.world.secret;
    let ask = format!(
        "GET /v1/app_1/silence HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n"
    );
    never.write_all(ask.as_bytes()).await.expect("sent");
    eventually("it is under way", || async { binary.harness.upstream.seen().len() == 1 }).await;
    signal(binary.first(), "-TERM");
    eventually("it is told", || async { binary.log().contains("stopping") }).await;
    signal(binary.first(), "-INT");
    binary.first_ended().await;
    assert!(binary.log().contains("asked to stop twice"), "{}", binary.log());
}

#[tokio::test]
async fn systemd_is_told_who_the_main_process_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).expect("bound");
    let next = async || {
        let mut buffer = [0; 256];
        let read = tokio::time::timeout(crate::streams::LIMIT, socket.recv(&mut buffer)).await;
        let read = read.expect("in time").expect("read");
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    let mut binary = Binary::start_notifying(QUIET, &path).await;
    assert_eq!(next().await, "READY=1");
    let second = binary.upgrade().await;
    assert_eq!(next().await, format!("MAINPID={second}"), "by the process that is known");
    assert_eq!(next().await, "READY=1");
    binary.first_ended().await;
    signal(second, "-TERM");
    assert_eq!(next().await, "STOPPING=1");
}

#[tokio::test]
async fn an_http1_client_is_told_to_connect_anew_and_nothing_is_cut() {
    let binary = Binary::start("[log]\naccess_log = \"off\"\n[drain]\nidle_ms = 2000\n").await;
    let secret = &binary.harness.world.secret;
    let mut kept = binary.connect().await;
    assert_eq!(kept.get(USERS, secret).await.header("connection"), Some("keep-alive"));
    binary.upgrade().await;
    let answer = kept.get(USERS, secret).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(kept.is_closed().await);
    let mut new = binary.connect().await;
    assert_eq!(new.get(USERS, secret).await.header("connection"), Some("keep-alive"));
}
