//! Sizes: what must pass, what must end somewhere, and our own bounds (a head of 16 KiB with 100
//! fields, a target of 8 KiB), which others set elsewhere.

use super::{Allowed, Case, OK, must, policy};

const LONG_TARGET: Allowed = &[&[414], &[400], &[431]];
const LARGE_HEAD: Allowed = &[&[431], &[400], &[]];

fn fields(count: usize, length: usize) -> String {
    let value = "a".repeat(length);
    let lines: Vec<_> = (0..count).map(|i| format!("X-{i}: {value}\r\n")).collect();
    let lines = lines.concat();
    format!("GET {{P}}/a HTTP/1.1\r\n{{H}}{{A}}{lines}\r\n")
}

fn target(length: usize) -> String {
    format!("GET {{P}}/{} HTTP/1.1\r\n{{H}}{{A}}\r\n", "a".repeat(length))
}

pub fn cases() -> Vec<Case> {
    vec![
        must("a target of 6,000 bytes", target(6_000), OK),
        policy("a target of 9,000 bytes", target(9_000), LONG_TARGET),
        must("a target of 100,000 bytes", target(100_000), LONG_TARGET),
        must("a target of 2,000,000 bytes", target(2_000_000), &[&[414], &[400], &[431], &[]]),
        must("a head of 12,000 bytes", fields(3, 3_900), OK),
        policy("a head of 20,000 bytes", fields(5, 4_000), LARGE_HEAD),
        must("a head of 200,000 bytes", fields(50, 4_000), LARGE_HEAD),
        must("a field of 1,000,000 bytes", fields(1, 1_000_000), LARGE_HEAD),
        must("90 fields", fields(90, 1), OK),
        policy("101 fields", fields(99, 1), LARGE_HEAD),
        must("20,000 fields", fields(20_000, 1), LARGE_HEAD),
        must(
            "a name of 300 bytes",
            format!("GET {{P}}/a HTTP/1.1\r\n{{H}}{{A}}{}: b\r\n\r\n", "x".repeat(300)),
            &[&[200], &[400], &[431]],
        ),
    ]
}
