//! What is fuzzed, each target a function of bytes that asserts what must hold of the code under
//! it: not only that nothing panics, but that it says what a second, naive reading says. `fuzz/`
//! drives them by libFuzzer; the tests here replay the seeds under `fuzz/corpus/`, and whatever a
//! finding has left there. Nothing of this is compiled into the proxy.

mod api_key;
mod body;
mod changes;
mod head;
mod journal;
mod model;
mod recovery;
mod route;
#[cfg(test)]
mod seeds;
mod snapshot;

/// A target: it panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is its folder's under `fuzz/corpus/` too.
pub const TARGETS: [(&str, Target); 8] = [
    ("api_key", api_key::run),
    ("body", body::run),
    ("changes", changes::run),
    ("head", head::run),
    ("journal", journal::run),
    ("recovery", recovery::run),
    ("route", route::run),
    ("snapshot", snapshot::run),
];

/// Runs one input through a target.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(it, _)| *it == name).expect("a target of this name");
    target(bytes);
}

/// Numbers that an input's first bytes choose, so that one input is a text and what befalls it.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    /// Less than `bound`, and 0 when the input is used up or `bound` is 0.
    fn below(&mut self, bound: usize) -> usize {
        let (taken, rest) = self.0.split_at(self.0.len().min(2));
        self.0 = rest;
        let number = taken.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        number.checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_seed_holds() {
        let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus"));
        for (name, target) in TARGETS {
            let mut seeds = 0;
            for entry in fs::read_dir(corpus.join(name)).expect("a folder of seeds") {
                let path = entry.expect("an entry").path();
                println!("{}", path.display());
                target(&fs::read(path).expect("read"));
                seeds += 1;
            }
            assert!(seeds > 5, "{name} has {seeds} seeds");
        }
    }

    #[test]
    fn every_target_can_be_run_by_libfuzzer() {
        let fuzz = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"));
        for (name, _) in TARGETS {
            let file = fuzz.join("fuzz_targets").join(format!("{name}.rs"));
            let text = fs::read_to_string(file).expect("a file of that name");
            assert!(text.contains(&format!("run(\"{name}\", ")), "{name}");
        }
    }
}
