//! What a webhook subscribes to: event types, `key.*` for all of a kind, `*` for all there is and
//! will be.

use crate::error::Checks;
use crate::events::EventType;

const MAX_PATTERNS: usize = 50;

/// Patterns without doubles, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription(Vec<String>);

impl Subscription {
    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    /// As stored.
    pub fn to_text(&self) -> String {
        self.0.join(" ")
    }

    /// Is an event of this type asked for?
    pub fn matches(&self, kind: &str) -> bool {
        self.0.iter().any(|pattern| pattern_matches(pattern, kind))
    }
}

impl From<String> for Subscription {
    fn from(text: String) -> Self {
        Self(text.split_whitespace().map(ToOwned::to_owned).collect())
    }
}

fn pattern_matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(stem) => stem.ends_with('.') && kind.starts_with(stem),
        None => pattern == kind,
    }
}

/// The subscription that was asked for; to everything when nothing was.
pub fn parse(checks: &mut Checks, given: Option<&[String]>) -> Subscription {
    let Some(given) = given else { return Subscription(vec!["*".into()]) };
    checks.check(
        (1..=MAX_PATTERNS).contains(&given.len()),
        "events",
        format!("`events` must hold 1 to {MAX_PATTERNS} event types"),
    );
    let mut patterns: Vec<String> = vec![];
    for (i, pattern) in given.iter().enumerate().take(MAX_PATTERNS) {
        let known = EventType::ALL.iter().any(|kind| pattern_matches(pattern, kind.as_str()));
        if !known {
            let known: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
            checks.fail(
                format!("events[{i}]"),
                format!(
                    "`{}` is no event type: use `*`, a kind such as `key.*`, or one of {}",
                    pattern.chars().take(64).collect::<String>(),
                    known.join(", ")
                ),
            );
        } else if !patterns.contains(pattern) {
            patterns.push(pattern.clone());
        }
    }
    Subscription(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str) -> bool {
        let mut checks = Checks::default();
        parse(&mut checks, Some(&[pattern.to_owned()]));
        checks.finish().is_ok()
    }

    #[test]
    fn types_kinds_and_everything_can_be_subscribed_to() {
        for pattern in ["*", "key.*", "application.*", "usage.threshold", "invoice.paid"] {
            assert!(fits(pattern), "{pattern}");
        }
        for pattern in [
            "",
            ".*",
            "key*",
            "k.*",
            "key",
            "key.gone",
            "KEY.created",
            "**",
            "webhook.test",
            "*.created",
        ] {
            assert!(!fits(pattern), "{pattern}");
        }
    }

    #[test]
    fn patterns_match_their_types_only() {
        let subscription = Subscription::from("key.* usage.threshold".to_owned());
        for (kind, matches) in [
            ("key.created", true),
            ("key.revoked", true),
            ("usage.threshold", true),
            ("usage.thresholds", false),
            ("keyring.created", false),
            ("application.failed", false),
        ] {
            assert_eq!(subscription.matches(kind), matches, "{kind}");
        }
        assert!(Subscription::from("*".to_owned()).matches("webhook.test"));
    }
}
