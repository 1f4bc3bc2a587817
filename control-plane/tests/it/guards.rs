//! What must hold of the source as a whole (ARCHITECTURE.md says why). Each guard names the file
//! and the line, and what to do instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");

/// A source file: its path from `src` on, its lines up to its unit tests.
struct File {
    path: String,
    text: String,
    whole: usize,
}

fn sources() -> Vec<File> {
    let mut files = vec![];
    collect(Path::new(SOURCE), &mut files);
    assert!(files.len() > 30, "the source was not found");
    files
        .into_iter()
        .map(|path| {
            let whole = fs::read_to_string(&path).unwrap();
            let text = whole.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            File {
                path: path.strip_prefix(SOURCE).unwrap().to_str().unwrap().to_owned(),
                text: text.to_owned(),
                whole: whole.lines().count(),
            }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Fails for every line of code, not of comment, that holds one of the words.
#[track_caller]
fn forbid(words: &[&str], why: &str, concerns: impl Fn(&str) -> bool) {
    let mut found = vec![];
    for file in sources().iter().filter(|file| concerns(&file.path)) {
        for (n, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("src/{}:{}: {}", file.path, n + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

fn is_surface(path: &str) -> bool {
    path.starts_with("http/") || path == "http.rs"
}

#[test]
fn surfaces_know_no_sql() {
    forbid(
        &["sqlx", "execute!", "fetch_one!", "fetch_optional!", "fetch_all!"],
        "queries belong to a domain",
        is_surface,
    );
}

#[test]
fn domains_know_no_http_server() {
    // `serve` binds the port; `main` and the surfaces are what axum is for.
    forbid(&["axum"], "a domain knows no transport", |path| {
        !is_surface(path) && path != "serve.rs" && path != "main.rs"
    });
}

#[test]
fn the_edge_owns_the_transaction() {
    const MAY_COMMIT: [(&str, &str); 20] = [
        ("app.rs", "opening the platform is an edge"),
        ("main.rs", "a command is an edge"),
        ("worker.rs", "a job is an edge"),
        ("worker/billing.rs", "a job is an edge, workspace by workspace"),
        ("worker/notice.rs", "a job is an edge"),
        ("worker/retention.rs", "housekeeping is an edge, batch by batch"),
        ("applications/provision.rs", "a job that asks the network between two transactions"),
        ("identity/session.rs", "hashing lies between transactions, and a count must stand"),
        ("identity/account.rs", "hashing lies between transactions"),
        ("identity/gate.rs", "a count of guesses must stand before they are looked at"),
        ("identity/oauth.rs", "asks the network between two transactions"),
        ("distribution/stream.rs", "a stream is an edge that outlives its request"),
        ("db/tx.rs", "is the commit"),
        ("webhooks/dispatcher.rs", "attempts ask the network between two transactions"),
        ("billing/payment_method.rs", "asks Stripe between two transactions"),
        ("billing/stripe/collect.rs", "notes each step before and after it asks Stripe"),
        ("billing/stripe/customer.rs", "asks Stripe between two transactions"),
        ("billing/stripe/follow.rs", "takes up what it has asked Stripe for"),
        ("billing/stripe/tax_rate.rs", "keeps what it has asked Stripe for"),
        ("billing/stripe/event.rs", "a job that asks Stripe between two transactions"),
    ];
    forbid(&[".commit()"], "whoever opened the transaction commits it: the edge", |path| {
        !is_surface(path) && !MAY_COMMIT.iter().any(|(file, _)| *file == path)
    });
}

#[test]
fn one_sql_holds_on_both_databases() {
    const BANNED: [&str; 11] = [
        "now()",
        "current_timestamp",
        "serial",
        "gen_random_uuid",
        "date_trunc",
        "interval '",
        " ilike ",
        "citext",
        "= any(",
        "autoincrement",
        "datetime(",
    ];
    let banned = |sql: &str| {
        let sql = sql.to_lowercase();
        BANNED.into_iter().find(|word| sql.contains(word))
    };
    for file in sources() {
        // Texts in quotes that begin like a statement, over several lines.
        for literal in file.text.split('"').skip(1).step_by(2) {
            let begins = ["select ", "insert ", "update ", "delete ", "with "];
            if begins.iter().any(|word| literal.trim_start().starts_with(word)) {
                assert_eq!(banned(literal), None, "src/{}: {literal}", file.path);
            }
        }
    }
    for path in migrations() {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().map(|line| line.split("--").next().unwrap_or_default()) {
            assert_eq!(banned(line), None, "{}: {line}", path.display());
        }
    }
}

fn migrations() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(MIGRATIONS)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name != "README.md"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

#[test]
fn migrations_are_named_by_time_verb_and_noun() {
    for path in migrations() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let stem = name.strip_suffix(".sql").unwrap_or_else(|| panic!("{name} is no .sql"));
        let (time, words) = stem.split_once('_').unwrap_or_else(|| panic!("{name}: no words"));
        assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y%m%d%H%M%S").is_ok(), "{name}");
        assert!(time.len() == 14 && words.contains('_'), "{name}");
        assert!(words.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
    }
}

#[test]
fn no_test_sleeps() {
    let mut files = vec![];
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it")), &mut files);
    for path in files.iter().filter(|path| !path.ends_with("guards.rs")) {
        let text = fs::read_to_string(path).unwrap();
        assert!(!text.contains("sleep("), "{}: wait for the event", path.display());
    }
}

#[test]
fn rooms_are_small() {
    for file in sources() {
        assert!(file.whole <= 600, "src/{} has {} lines: split it", file.path, file.whole);
        let name = file.path.rsplit('/').next().unwrap();
        let vague = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs", "manager.rs"];
        assert!(!vague.contains(&name), "src/{}: name it after what is in it", file.path);
    }
}

#[test]
fn every_room_says_what_it_is_for() {
    for file in sources() {
        assert!(file.text.starts_with("//! "), "src/{} begins with no `//!`", file.path);
    }
}

#[test]
fn domains_depend_in_one_direction() {
    // Each may use those before it.
    const ORDER: [&str; 8] = [
        "identity",
        "workspaces",
        "applications",
        "keys",
        "metering",
        "billing",
        "distribution",
        "webhooks",
    ];
    let rank = |domain: &str| ORDER.iter().position(|name| *name == domain);
    for file in sources() {
        let domain = file.path.split(['/', '.']).next().unwrap();
        let Some(own) = rank(domain) else { continue };
        for (later, name) in ORDER.iter().enumerate().skip(own + 1) {
            for line in file.text.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let uses = line.contains(&format!("crate::{name}"))
                    || line.starts_with("use crate::{") && line.contains(&format!(" {name}"))
                    || line.starts_with("use crate::{") && line.contains(&format!("{{{name}"));
                assert!(!uses, "src/{} uses {}: {line}", file.path, ORDER[later]);
            }
        }
    }
}

/// The description knows schemas by name alone: of two that are called the same, one silently
/// describes both.
#[test]
fn no_two_schemas_share_a_name() {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for file in sources() {
        let mut lines = file.text.lines().peekable();
        while let Some(line) = lines.next() {
            // A derive may stand on several lines.
            if !line.contains("ToSchema") || line.trim_start().starts_with("use ") {
                continue;
            }
            let mut renamed = None;
            for line in lines.by_ref() {
                let line = line.trim();
                if let Some(rest) = line.split("schema(as = ").nth(1) {
                    renamed = rest.split([',', ')']).next().map(ToOwned::to_owned);
                }
                let declared = line.strip_prefix("pub ").unwrap_or(line);
                let declared = declared.strip_prefix("pub(super) ").unwrap_or(declared);
                let words = declared.strip_prefix("struct ").or(declared.strip_prefix("enum "));
                let Some(words) = words else { continue };
                let name = words.split(|c: char| !c.is_alphanumeric()).next().unwrap();
                let name = renamed.take().unwrap_or_else(|| name.to_owned());
                if let Some(other) = seen.insert(name.clone(), file.path.clone()) {
                    panic!(
                        "src/{} and src/{other} both describe {name}: add #[schema(as = …)]",
                        file.path
                    );
                }
                break;
            }
        }
    }
    assert!(seen.len() > 30, "{seen:?}");
}
