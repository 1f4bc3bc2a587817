//! What RFC 9110 and 9112 say about bytes on a connection, as a table: each case is sent as it is,
//! and its answers and what reaches the upstream are held against what is allowed. A 200 is only
//! ever the upstream's answer, so there must be exactly as many as whole requests arrived there.
//! It runs against our proxy as a test, and against any other by `cargo run --example corpus`.
//! Timing, TLS and HTTP/2 are not part of it.

pub mod chunks;
pub mod client;
pub mod codings;
pub mod connections;
pub mod fields;
pub mod hosts;
pub mod lengths;
pub mod methods;
pub mod recorder;
pub mod sizes;
pub mod targets;
pub mod versions;

use std::net::SocketAddr;

use recorder::Recorder;

/// Sequences of statuses, any of which is right. An empty one: closed without an answer.
pub type Allowed = &'static [&'static [u16]];

pub const OK: Allowed = &[&[200]];
pub const BAD: Allowed = &[&[400]];
pub const EITHER: Allowed = &[&[200], &[400]];
pub const BAD_OR_CLOSED: Allowed = &[&[400], &[]];

pub struct Case {
    pub name: String,
    /// With the place holders `{P}` path, `{H}` Host line, `{A}` Authorization line.
    pub bytes: Vec<u8>,
    pub allowed: Allowed,
    /// The RFCs leave a choice; a gateway that authorises by what it reads has none.
    pub policy: bool,
    /// The client says that it has sent all.
    pub ends: bool,
}

/// What the RFCs demand.
pub fn must(name: &str, bytes: impl AsRef<[u8]>, allowed: Allowed) -> Case {
    let bytes = bytes.as_ref().to_vec();
    Case { name: name.to_owned(), bytes, allowed, policy: false, ends: false }
}

/// What a gateway must do beyond that, so that two readers never differ.
pub fn policy(name: &str, bytes: impl AsRef<[u8]>, allowed: Allowed) -> Case {
    Case { policy: true, ..must(name, bytes, allowed) }
}

/// A client that closes its half after these bytes.
pub fn ends(name: &str, bytes: impl AsRef<[u8]>, allowed: Allowed) -> Case {
    Case { ends: true, ..must(name, bytes, allowed) }
}

pub fn all() -> Vec<Case> {
    [
        hosts::cases(),
        lengths::cases(),
        codings::cases(),
        chunks::cases(),
        targets::cases(),
        fields::cases(),
        methods::cases(),
        versions::cases(),
        sizes::cases(),
        connections::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the place holders stand for.
pub struct Names {
    pub path: String,
    pub authorization: String,
}

impl Names {
    pub fn fill(&self, bytes: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(bytes.len() + 128);
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            let text = match rest.get(..3) {
                Some(b"{P}") => &*self.path,
                Some(b"{H}") => "Host: api.test\r\n",
                Some(b"{A}") => &*self.authorization,
                _ => {
                    filled.push(*byte);
                    rest = &rest[1..];
                    continue;
                }
            };
            filled.extend_from_slice(text.as_bytes());
            rest = &rest[3..];
        }
        filled
    }
}

/// How a table went.
#[derive(Default)]
pub struct Score {
    pub right: usize,
    pub right_by_rfc: usize,
    pub by_rfc: usize,
    pub total: usize,
    /// Each wrong case, and what was wrong.
    pub wrong: Vec<String>,
}

/// Runs every case, one after the other.
pub async fn run(address: SocketAddr, recorder: &Recorder, names: &Names) -> Score {
    let mut score = Score::default();
    for case in all() {
        let before = recorder.whole();
        let bytes = names.fill(&case.bytes);
        let longest = case.allowed.iter().map(|it| it.len()).max().unwrap_or(0);
        let got = client::exchange(address, &bytes, longest, case.ends).await;
        let reached = recorder.whole() - before;
        let ill_formed = recorder.take_violations();
        let answered = got.iter().filter(|status| **status == 200).count();
        let right = case.allowed.contains(&&*got) && reached == answered && ill_formed.is_empty();
        score.total += 1;
        score.by_rfc += usize::from(!case.policy);
        if right {
            score.right += 1;
            score.right_by_rfc += usize::from(!case.policy);
        } else {
            score.wrong.push(format!(
                "{}{}: got {got:?}, allowed {:?}, {reached} reached the upstream {ill_formed:?}",
                case.name,
                if case.policy { " (policy)" } else { "" },
                case.allowed,
            ));
        }
    }
    score
}
