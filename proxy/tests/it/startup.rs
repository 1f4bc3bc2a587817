//! What an operator sees when something is in the way; with the real binary.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::Harness;

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_authsome-proxy"))
        .arg("--data-dir")
        .arg(dir)
        .args(arguments)
        .output()
        .expect("it runs")
}

/// Fails, and says why in one line.
#[track_caller]
fn refuses(output: &Output, wanted: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    for wanted in wanted {
        assert!(text.contains(wanted), "{wanted:?} is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

fn with_token() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("node.token"), "token").expect("written");
    dir
}

const ANY: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

#[test]
fn bad_settings_name_the_file_and_the_key() {
    let dir = with_token();
    let file = dir.path().join("mine.toml");
    let path = file.to_str().expect("text");
    std::fs::write(&file, "[ledger]\nmax_bites = 1\n").expect("written");
    refuses(&run(dir.path(), &["--config", path]), &["mine.toml", "max_bites"]);
    std::fs::write(&file, "[connections]\nkeep_alive_seconds = \"long\"\n").expect("written");
    refuses(
        &run(dir.path(), &["--config", path, "--check"]),
        &["mine.toml", "connections.keep_alive_seconds"],
    );
    refuses(&run(dir.path(), &["--config", "/does/not/exist"]), &["/does/not/exist"]);
    std::fs::write(&file, "[connections]\nkeep_alive_seconds = 5\n").expect("written");
    let output = run(dir.path(), &["--config", path, "--check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_check_reads_the_certificates() {
    let dir = with_token();
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).expect("made");
    let (cert, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
    let file = dir.path().join("mine.toml");
    let settings =
        format!("[tls]\nlisten = \"127.0.0.1:0\"\ncert_file = {cert:?}\nkey_file = {key:?}\n");
    std::fs::write(&file, settings).expect("written");
    let check = || run(dir.path(), &["--config", file.to_str().expect("text"), "--check"]);
    refuses(&check(), &["a.crt"]);
    std::fs::write(&cert, made.cert.pem()).expect("written");
    refuses(&check(), &["a.key"]);
    let other = rcgen::KeyPair::generate().expect("made").serialize_pem();
    std::fs::write(&key, &other).expect("written");
    let output = check();
    refuses(&output, &["a.key", "does not belong"]);
    let secret = other.lines().nth(1).expect("a line");
    assert!(!String::from_utf8_lossy(&output.stderr).contains(secret), "a key was shown");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    assert!(check().status.success());
}

#[test]
fn a_busy_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let dir = with_token();
    let output = run(dir.path(), &["--listen", &address, "--admin-listen", "127.0.0.1:0"]);
    refuses(&output, &[&address, "another process"]);
}

#[test]
fn a_missing_token_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    refuses(&run(dir.path(), &ANY), &["node.token"]);
}

#[test]
fn an_unwritable_folder_is_named() {
    let dir = with_token();
    // A file in the way stops root as well.
    std::fs::write(dir.path().join("proxy"), "").expect("written");
    refuses(&run(dir.path(), &ANY), &["can't write the data directory", "proxy"]);
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let harness = Harness::start().await;
    std::fs::write(harness.dir.path().join("node.token"), "token").expect("written");
    let dir = harness.dir.path().to_owned();
    let output = tokio::task::spawn_blocking(move || run(&dir, &ANY)).await.expect("it ran");
    refuses(&output, &["in use"]);
}

#[tokio::test]
async fn no_secret_is_logged_and_a_signal_drains() {
    use std::process::Stdio;

    let mut harness = Harness::with(|world| {
        world.application.accept.push(authsome_shared::snapshot::KeySource::Query);
    })
    .await;
    harness.stop().await;
    let dir = harness.dir.path().to_owned();
    std::fs::write(dir.join("node.token"), crate::control::TOKEN).expect("written");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let mut child = Command::new(env!("CARGO_BIN_EXE_authsome-proxy"))
        .args(["--data-dir", dir.to_str().expect("text"), "--listen", &address.to_string()])
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(["--control-url", &format!("http://{}", harness.control.address)])
        .env("AUTHSOME_PROXY__LOG__LEVEL", "trace")
        .env("AUTHSOME_PROXY__DRAIN__IDLE_MS", "20")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    crate::harness::eventually("it listens", || async {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    let secret = harness.world.secret.clone();
    let mut wire = crate::wire::Wire::to(address).await;
    assert_eq!(wire.get("/v1/app_1/users", &secret).await.status, 200);
    let answer = wire.ask("GET", &format!("/v1/app_1/users?key={secret}"), "", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(wire.get("/v1/app_1/silent-typo", &format!("{secret}x")).await.status, 401);
    wire.send(format!("GET /bad bad HTTP/1.1\r\nAuthorization: Bearer {secret}\r\nX\r\n\r\n"))
        .await;
    wire.answer().await;
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("sent").success());
    let output = tokio::task::spawn_blocking(move || {
        let status = child.wait().expect("it ends");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().expect("piped"), &mut text)
            .expect("text");
        let access = text.clone();
        std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut text)
            .expect("text");
        (status, access, text)
    });
    let (status, access, text) = output.await.expect("it ran");
    assert!(status.success(), "{text}");
    assert!(!text.contains(&secret[..20]), "a key's text was logged");
    assert!(!text.contains(crate::control::TOKEN), "the node token was logged");
    let lines: Vec<serde_json::Value> =
        access.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[0]["status"], 200);
    assert_eq!(lines[1]["path"], "/v1/app_1/users");
    assert_eq!((&lines[2]["status"], &lines[2]["code"]), (&401.into(), &"unauthorized".into()));
    assert_eq!(lines[0]["key"], "key_1");
    assert_eq!((&lines[3]["status"], &lines[3]["path"]), (&400.into(), &"-".into()));
    harness.shipped(2).await;
}
