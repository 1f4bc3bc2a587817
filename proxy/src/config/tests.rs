//! The documented file, the order of sources, and what errors name.

use super::*;

fn load(text: &str) -> anyhow::Result<Config> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("proxy.toml");
    std::fs::write(&path, text).expect("written");
    Config::load(Some(&path), &Flags::default())
}

#[test]
fn the_documented_file_says_the_defaults() {
    let config: Config =
        Figment::from(Toml::string(DEFAULT_FILE)).extract().expect("the file is valid");
    assert_eq!(config, Config::default());
}

#[test]
fn the_documented_file_names_every_setting() {
    let value = serde_json::to_value(Config::default()).expect("JSON");
    for (section, keys) in value.as_object().expect("sections") {
        assert!(DEFAULT_FILE.contains(&format!("[{section}]")), "{section}");
        for key in keys.as_object().expect("keys").keys() {
            let named = DEFAULT_FILE
                .lines()
                .any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(named, "{section}.{key} is not in config/proxy.toml");
        }
    }
}

#[test]
fn flags_go_before_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("proxy.toml");
    std::fs::write(&path, "[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"[::1]:2\"")
        .expect("written");
    let flags = Flags { listen: Some(([127, 0, 0, 1], 9).into()), ..Flags::default() };
    let config = Config::load(Some(&path), &flags).expect("valid");
    assert_eq!(config.server.listen.port(), 9);
    assert_eq!(config.server.admin_listen.port(), 2);
}

#[test]
fn errors_name_the_file_and_the_key() {
    for (text, wanted) in [
        ("[server]\nlisten = \"nonsense\"", "server.listen"),
        ("[server]\nlissten = 1", "lissten"),
        ("[ledger]\nwhen_full = \"panic\"", "ledger.when_full"),
        ("[ledger]\nsegment_bytes = 1", "ledger.segment_bytes"),
        ("[control]\nurl = \"ftp://x\"", "control.url"),
        ("[tls]\nlisten = \"127.0.0.1:1\"", "tls.cert_file"),
        ("[tls]\ncert_file = \"a\"", "tls.key_file"),
        ("[tls]\nlisten = \"nowhere\"", "tls.listen"),
        ("[log]\nsample_successes = 1.5", "log.sample_successes"),
        ("[explain]\nmax_bytes = 1000", "explain.max_bytes"),
        ("[tracing]\nendpoint = \"ftp://x\"", "tracing.endpoint"),
        ("[tracing]\nratio = -0.1", "tracing.ratio"),
        ("[tracing]\nqueue = 0", "tracing.queue"),
        ("[tracing]\nheaders = { \"a b\" = \"c\" }", "tracing.headers"),
    ] {
        let error = format!("{:#}", load(text).expect_err(text));
        assert!(error.contains(wanted), "{error}");
    }
    let error = format!("{:#}", load("[server]\nlisten = \"nonsense\"").expect_err("bad"));
    assert!(error.contains("proxy.toml"), "{error}");
}

#[test]
fn a_missing_token_file_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut config = Config::default();
    config.server.data_dir = dir.path().to_owned();
    let error = format!("{:#}", config.node_token().expect_err("absent"));
    assert!(error.contains("node.token"), "{error}");
    std::fs::write(dir.path().join("node.token"), "tok\n").expect("written");
    assert_eq!(config.node_token().expect("present").expose(), "tok");
}
