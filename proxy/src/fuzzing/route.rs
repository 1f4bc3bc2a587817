//! Route patterns: an input's lines are patterns and requests at once. What a pattern prints is what
//! it is, matching agrees with a reading of the text, and specificity is an order.

use std::cmp::Ordering;

use authsome_shared::route::RoutePattern;

/// Pairs and triples of patterns are looked at.
const MOST: usize = 12;

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split('\n').take(4 * MOST).collect();
    let mut patterns = Vec::new();
    for line in &lines {
        let parsed = line.parse::<RoutePattern>();
        assert_eq!(parsed.is_ok(), is_pattern(line), "{line:?}");
        if let Ok(pattern) = parsed {
            let printed = pattern.to_string();
            assert_eq!(printed.parse().as_ref(), Ok(&pattern), "{line:?}");
            assert_eq!(printed, *line, "a pattern has one text");
            patterns.push((pattern, printed));
        }
    }
    patterns.truncate(MOST);
    let requests: Vec<(&str, &str)> =
        lines.iter().filter_map(|line| line.split_once(' ')).take(MOST).collect();
    for (pattern, text) in &patterns {
        for (method, path) in &requests {
            assert_eq!(pattern.matches(method, path), reaches(text, method, path), "{text} {path}");
        }
    }
    for (a, _) in &patterns {
        assert_eq!(a.specificity(a), Ordering::Equal);
        for (b, _) in &patterns {
            assert_eq!(a.specificity(b), b.specificity(a).reverse());
            let both =
                |(method, path): &&(&str, &str)| a.matches(method, path) && b.matches(method, path);
            if a.specificity(b).is_eq() && requests.iter().any(|it| both(&it)) {
                assert_eq!(a, b, "neither of two patterns for one request goes first");
            }
            for (c, _) in &patterns {
                if a.specificity(b).is_le() && b.specificity(c).is_le() {
                    assert!(a.specificity(c).is_le(), "{a}, {b}, {c}");
                }
            }
        }
    }
}

fn is_pattern(text: &str) -> bool {
    let Some((method, path)) = text.split_once(" /") else { return false };
    text.len() <= 512
        && (method == "*" || !method.is_empty() && method.chars().all(|c| c.is_ascii_uppercase()))
        && path.chars().all(|c| ('!'..='~').contains(&c) && c != '?' && c != '#')
        && path.split('/').all(|segment| segment == "*" || !segment.contains('*'))
}

fn reaches(pattern: &str, method: &str, path: &str) -> bool {
    let (own, segments) = pattern.split_once(" /").expect("a pattern");
    let segments: Vec<&str> = segments.split('/').collect();
    let path: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    (own == "*" || own == method) && fits(&segments, &path)
}

fn fits(segments: &[&str], path: &[&str]) -> bool {
    match (segments, path) {
        ([], []) => true,
        (["*"], [first, ..]) => !first.is_empty(),
        (["*", segments @ ..], [first, path @ ..]) => !first.is_empty() && fits(segments, path),
        ([literal, segments @ ..], [first, path @ ..]) => literal == first && fits(segments, path),
        _ => false,
    }
}
