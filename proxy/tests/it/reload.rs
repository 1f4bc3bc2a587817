//! Settings read again by a running process.

use std::path::Path;

use crate::binary::{Binary, said, signal};
use crate::harness::eventually;

const USERS: &str = "/v1/app_1/users";

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn settings_are_taken_up_at_once_and_what_needs_an_upgrade_is_named_and_gets_it() {
    let binary = Binary::start("[log]\naccess_log = \"off\"\n").await;
    let pid = binary.pid();
    let log = binary.settings.with_file_name("access.log");
    let write = |more: &str| {
        let text = format!("[log]\nlevel = \"debug\"\naccess_log = {log:?}\n{more}");
        std::fs::write(&binary.settings, text).expect("written");
    };
    write("[connections]\nmax = 1\nheader_timeout_ms = 200\n[ledger]\nsegment_bytes = 65536\n");
    let output = binary.command("reload").await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("ledger.segment_bytes"), "{}", said(&output));
    assert_eq!(binary.pid(), pid);

    let mut wire = binary.connect().await;
    assert_eq!(wire.get(USERS, &binary.harness.world.secret).await.status, 200);
    eventually("it is in the access log", || async { lines(&log) == 1 }).await;
    assert!(binary.connect().await.is_closed().await, "one connection at a time now");
    wire.send("GET").await;
    assert_eq!(wire.answer().await.status, 408, "the head took longer than it may now");
    eventually("its place is free", || async {
        binary.metric("authsome_proxy_connections").await == 0
    })
    .await;

    // As logrotate does it.
    let moved = log.with_extension("1");
    std::fs::rename(&log, &moved).expect("moved");
    let before = lines(&moved);
    signal(pid, "-HUP");
    eventually("it is opened anew", || async { log.exists() }).await;
    assert_eq!(binary.get(USERS).await, 200);
    eventually("it is written to", || async { lines(&log) == 1 }).await;
    assert_eq!(lines(&moved), before);
    let counted = "authsome_proxy_config_reloads_total{result=\"succeeded\"}";
    assert_eq!(binary.metric(counted).await, 2);

    // The rest.
    binary.upgrade().await;
    let output = binary.command("reload").await;
    assert!(said(&output).contains("the settings are in use\n"), "{}", said(&output));
}

#[tokio::test]
async fn a_bad_file_is_refused_with_its_reason_and_nothing_changes() {
    let binary = Binary::start("[log]\naccess_log = \"off\"\n").await;
    let started =
        binary.metric("authsome_proxy_config_last_reload_success_timestamp_seconds").await;
    assert!(started > 1_700_000_000);
    for (number, (text, wanted)) in (1..).zip([
        ("[connections]\nmax = \"many\"\n", "connections.max"),
        ("[connections]\nmax = 1\n[drain]\nidle = 1\n", "idle"),
        (
            "[connections]\nmax = 1\n[log]\naccess_log = \"/no/such/folder/log\"\n",
            "/no/such/folder",
        ),
        ("[connections]\nmax = 1\n[log]\nlevel = \"authsome=loud\"\n", "log.level"),
    ]) {
        std::fs::write(&binary.settings, text).expect("written");
        let output = binary.command("reload").await;
        assert!(!output.status.success(), "{text}: {}", said(&output));
        assert!(said(&output).contains(wanted), "{text}: {}", said(&output));
        assert!(binary.log().contains("the old ones stay"), "{text}");
        let counted = "authsome_proxy_config_reloads_total{result=\"refused\"}";
        assert_eq!(binary.metric(counted).await, number, "{text}");
        let _one = binary.connect().await;
        assert_eq!(binary.get(USERS).await, 200, "{text}: there is no bound of one");
    }
}

#[tokio::test]
async fn certificates_are_replaced_all_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        let (cert, key) = (folder.path().join(name), folder.path().join(format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        (cert, key, made.cert.der().clone())
    };
    let (one, two) = (write("one.test"), write("two.test"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let tls = listener.local_addr().expect("bound");
    drop(listener);
    let settings = |cert: &Path, key: &Path| {
        format!(
            "[log]\naccess_log = \"off\"\n[tls]\nlisten = \"{tls}\"\ncert_file = {cert:?}\n\
             key_file = {key:?}\n"
        )
    };
    let binary = Binary::start(&settings(&one.0, &one.1)).await;
    let shows = async |name: &'static str, trusted: &_| {
        crate::tls::connect(tls, name, trusted, &["http/1.1"]).await.is_ok()
    };
    assert!(shows("one.test", &one.2).await);
    std::fs::write(&binary.settings, settings(&two.0, &one.1)).expect("written");
    let output = binary.command("reload").await;
    assert!(said(&output).contains("does not belong"), "{}", said(&output));
    assert!(shows("one.test", &one.2).await);
    std::fs::write(&binary.settings, settings(&two.0, &two.1)).expect("written");
    assert!(binary.command("reload").await.status.success());
    assert!(shows("two.test", &two.2).await);
    binary.upgrade().await;
    assert!(shows("two.test", &two.2).await, "handed over");
}
