//! Wrong settings and surroundings: the process says what is wrong, and ends.

use std::fs;
use std::net::TcpListener;
use std::process::ExitStatus;
use std::time::Duration;

use authsome_e2e::process::Process;
use authsome_e2e::split::free_port;
use tempfile::TempDir;

/// Runs a binary that must refuse to start; what it wrote.
async fn refusal(name: &str, args: &[&str], env: &[(&str, &str)]) -> String {
    let (status, written) = outcome(name, args, env).await;
    assert!(!status.success(), "{name} {args:?} ended well: {written}");
    assert!(!written.contains("panicked"), "{written}");
    written
}

async fn outcome(name: &str, args: &[&str], env: &[(&str, &str)]) -> (ExitStatus, String) {
    let mut process = Process::start(name, args, env);
    let status = process.exited(Duration::from_secs(40)).await;
    (status, process.stderr() + &process.stdout())
}

const UP: [&str; 5] = ["up", "--control-listen", "127.0.0.1:0", "--proxy-listen", "127.0.0.1:0"];

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_bad_setting_is_named_and_refused() {
    let folder = TempDir::new().expect("a temporary folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let config = folder.path().join("settings.toml");
    let file = config.to_str().expect("UTF-8");
    let control = ["--check", "--data-dir", data, "--listen", "127.0.0.1:0"];
    let proxy = [&control[..], &["--admin-listen", "127.0.0.1:0"]].concat();
    let proxy = [&proxy[..], &["--control-url", "http://127.0.0.1:1"]].concat();
    let planes =
        [("authsome-control-plane", &control[..], "CONTROL"), ("authsome-proxy", &proxy, "PROXY")];
    for (name, args, plane) in planes {
        let with_file = [args, &["--config", file]].concat();
        fs::write(&config, "no_such_setting = 1\n").expect("written");
        let said = refusal(name, &with_file, &[]).await;
        assert!(said.contains("no_such_setting"), "{said}");

        fs::write(&config, "this is not TOML").expect("written");
        let said = refusal(name, &with_file, &[]).await;
        assert!(said.contains("settings.toml"), "{said}");

        let variable = format!("AUTHSOME_{plane}__NO_SUCH_SETTING");
        let said = refusal(name, args, &[(&variable, "1")]).await;
        assert!(said.to_lowercase().contains("no_such_setting"), "{said}");

        let said = refusal(name, &[args, &["--config", "/no/such/file"]].concat(), &[]).await;
        assert!(said.contains("/no/such/file"), "{said}");

        let (status, said) = outcome(name, args, &[]).await;
        assert!(status.success(), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_named_and_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).expect("bound");
    for flag in ["--control-listen", "--proxy-listen"] {
        let folder = TempDir::new().expect("a temporary folder");
        let data = folder.path().to_str().expect("UTF-8");
        let mut args = [&UP[..], &["--data-dir", data]].concat();
        let at = args.iter().position(|arg| *arg == flag).expect("in UP");
        args[at + 1] = &taken.0;
        let said = refusal("authsome", &args, &[]).await;
        assert!(said.contains(&taken.0), "{flag}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_a_clear_word_without_the_password() {
    let folder = TempDir::new().expect("a temporary folder");
    let data = folder.path().to_str().expect("UTF-8");
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("postgres://someone:hunter2@{address}/nothing");
    let args = [&UP[..], &["--data-dir", data, "--database-url", &url]].concat();
    let said = refusal("authsome", &args, &[]).await;
    assert!(said.contains("PostgreSQL") && said.contains(&address), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let data = file.join("data");
    let data = data.to_str().expect("UTF-8");
    let said = refusal("authsome", &[&UP[..], &["--data-dir", data]].concat(), &[]).await;
    assert!(said.contains(data), "{said}");
}
