//! `config.resources`: what an application runs on, in its owner's words. The platform does not run
//! upstreams, so it shows them and enforces nothing.

use serde::Deserialize;

use crate::error::Checks;

/// What the owner says that the application runs on; nobody enforces it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    pub cpu_limit: Option<String>,
    pub memory_limit: Option<String>,
    pub storage_limit: Option<String>,
    pub replicas: Option<u32>,
}

impl Resources {
    pub(super) fn check(&self, checks: &mut Checks) {
        for (name, value) in [
            ("cpuLimit", &self.cpu_limit),
            ("memoryLimit", &self.memory_limit),
            ("storageLimit", &self.storage_limit),
        ] {
            checks.check(
                value.as_deref().is_none_or(is_quantity),
                &format!("config.resources.{name}"),
                format!("`{name}` must be a quantity such as 500m, 2 or 4Gi"),
            );
        }
    }
}

/// A number with one of Kubernetes' suffixes, or none.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 10] = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let number_is = match number.split_once('.') {
        Some((whole, rest)) => digits(whole) && digits(rest),
        None => digits(number),
    };
    text.len() <= 20 && number_is && SUFFIXES.contains(&suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for good in ["1", "500m", "0.5", "2Gi", "10Ti", "1.5G", "100k"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "m", "1.", ".5", "1 Gi", "-1", "1gb", "1e3", "1.2.3", &"1".repeat(21)] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }
}
