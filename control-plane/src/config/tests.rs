//! The settings: as documented, as read, and as refused.

use super::*;

#[test]
fn the_documented_file_is_the_default() {
    let documented: Config = Figment::from(Toml::string(DEFAULTS)).extract().unwrap();
    assert_eq!(documented, Config::default());
}

#[test]
fn every_setting_is_documented() {
    let value = toml_keys(&serde_json::to_value(Config::default()).unwrap(), "");
    for key in value {
        let name = key.rsplit('.').next().unwrap();
        assert!(DEFAULTS.contains(&format!("{name} =")), "{key} is not in the file");
    }
}

fn toml_keys(value: &serde_json::Value, prefix: &str) -> Vec<String> {
    match value.as_object() {
        Some(object) => object
            .iter()
            .flat_map(|(key, value)| toml_keys(value, &format!("{prefix}.{key}")))
            .collect(),
        None => vec![prefix.to_owned()],
    }
}

#[test]
fn networks_may_be_a_list_or_a_text() {
    let read = |text: &str| {
        let config: Config = Figment::from(Toml::string(text)).extract().unwrap();
        config.egress.allow.unwrap()
    };
    let expected: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    assert_eq!(read("[egress]\nallow = [\"127.0.0.0/8\", \"::1\"]"), expected);
    assert_eq!(read("[egress]\nallow = \"127.0.0.0/8, ::1/128\""), expected);
    assert_eq!(read("[egress]\nallow = \"\""), Vec::<IpNet>::new());
}

#[test]
fn bad_settings_name_their_key() {
    let folder = tempfile::tempdir().unwrap();
    for (text, word) in [
        ("colour = 1", "colour"),
        ("[server]\nlisten = \"nowhere\"", "listen"),
        ("[database]\nurl = \"mysql://x\"", "database.url"),
        ("[applications]\ndefault_upstream = \"ftp://x\"", "applications.default_upstream"),
        ("[documents]\nfont = \"x\"", "font"),
        ("[mail]\nfrom = \"nobody\"", "mail.from"),
        ("[platform]\nadmins = [\"nobody\"]", "platform.admins"),
        ("[server]\npublic_url = \"api.example.com\"", "server.public_url"),
        (
            "[[identity.providers]]\nid = \"x\"\nkind = \"oidc\"\nclient_id = \"c\"",
            "identity.providers[0] (x)",
        ),
        ("[[identity.providers]]\nid = \"G!\"\nkind = \"google\"\nclient_id = \"c\"", "G!"),
        ("[[identity.providers]]\nid = \"x\"\nkind = \"myspace\"\nclient_id = \"c\"", "myspace"),
        ("[egress]\nallow = [\"everywhere\"]", "everywhere"),
        ("[proxy\n", "expected"),
        ("[egress]\ndns_server = \"dns\"", "egress.dns_server"),
        ("[webhooks]\nparallel_per_endpoint = 0", "webhooks.parallel_per_endpoint"),
        ("[webhooks]\ntimeout_seconds = 0", "webhooks.timeout_seconds"),
        ("[webhooks]\nretry_seconds = [1000000]", "webhooks.retry_seconds"),
    ] {
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        let error = Config::load(Some(&path), &[]).expect_err(text);
        assert!(format!("{error:#}").contains(word), "{text}: {error:#}");
    }
    let missing = Config::load(Some(&folder.path().join("none.toml")), &[]).expect_err("none");
    assert!(missing.to_string().contains("none.toml"));
}
