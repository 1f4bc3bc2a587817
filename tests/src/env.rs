//! What the test script tells the tests.

/// A PostgreSQL server on which each platform gets a database of its own; unset: SQLite.
pub const DATABASE_URL: &str = "E2E_DATABASE_URL";

/// Folder with `node/` (json-server, emulate), and the venvs `python/` (httpx, oidc-provider-mock,
/// aiosmtpd, stripe, localstripe) and `schemathesis/`.
pub const TOOLS: &str = "E2E_TOOLS";

/// Set: a client that is not installed fails its test instead of skipping it.
pub const REQUIRE_CLIENTS: &str = "E2E_REQUIRE_CLIENTS";

/// How many requests schemathesis makes up for each operation.
pub const API_EXAMPLES: &str = "API_EXAMPLES";

/// How many processes the long chaos test kills.
pub const CHAOS_KILLS: &str = "CHAOS_KILLS";

/// Makes a chaos test kill in the order in which an earlier one did.
pub const CHAOS_SEED: &str = "CHAOS_SEED";

/// How often the long test of the proxy alone restarts it.
pub const ALONE_RESTARTS: &str = "ALONE_RESTARTS";

/// How many faults the long test of a failing network has.
pub const FAULT_ROUNDS: &str = "FAULT_ROUNDS";

/// How often the long upgrade test has the proxy replaced.
pub const UPGRADES: &str = "UPGRADES";

/// The variable's value, if it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the tests have no configuration but this")]
pub fn get(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variable's value as a number, if it is set.
pub fn number(name: &str) -> Option<u64> {
    get(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
