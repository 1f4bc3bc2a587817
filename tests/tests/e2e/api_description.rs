//! The API against its own description, by other people's tools.

use std::path::Path;
use std::process::Command;

use authsome_e2e::platform::Platform;
use authsome_e2e::{clients, env};
use authsome_shared::clock::Clock;
use stripe_stand_in::{SECRET_KEY, StandIn};

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools");

/// Thousands of calls in a row: no limit on them, and a sign-in that outlives them.
const SETTINGS: &[(&str, &str)] = &[
    ("AUTHSOME_CONTROL__API__LIMITS", "false"),
    ("AUTHSOME_CONTROL__IDENTITY__ACCESS_TOKEN_SECONDS", "86400"),
    ("AUTHSOME_CONTROL__IDENTITY__LOGINS_PER_MINUTE", "1000000"),
    ("AUTHSOME_CONTROL__IDENTITY__REGISTRATIONS_PER_MINUTE", "1000000"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_does_what_its_description_says() {
    let Some(python) = clients::python_with_schemathesis() else { return };
    // Without one, every operation of payments would answer 501.
    let stripe = StandIn::start(Clock::system()).await.expect("a port");
    let mut settings = SETTINGS.to_vec();
    settings.extend([
        ("AUTHSOME_CONTROL__BILLING__STRIPE__SECRET_KEY", SECRET_KEY),
        ("AUTHSOME_CONTROL__BILLING__STRIPE__WEBHOOK_SECRET", "whsec_unused"),
        ("AUTHSOME_CONTROL__BILLING__STRIPE__API_URL", stripe.url().leak()),
    ]);
    let mut platform = Platform::start_with(&settings).await;
    let examples = env::number(env::API_EXAMPLES).unwrap_or(10).to_string();
    let output = Command::new(python)
        .arg(Path::new(TOOLS).join("api_check.py"))
        .arg(platform.data_dir())
        .arg(examples)
        .output()
        .expect("Python runs");
    let written = String::from_utf8_lossy(&output.stdout);
    println!("{written}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{written}{stderr}");
    assert!(platform.terminate().await.success());
    let log = platform.process.stderr();
    assert!(!log.contains("panicked") && !log.contains("request failed"), "{log}");
}
