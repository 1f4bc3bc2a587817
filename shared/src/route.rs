//! Route patterns (design section 4): `METHOD /path/*` and which of several matching patterns wins.
//!
//! A pattern's path is made of literal segments, `*` for exactly one segment, and a trailing `/*`
//! that stands for one or more. The method is a token or `*`. Segments are compared byte by byte,
//! as the upstream will receive them; nothing is decoded.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest pattern accepted, in bytes.
const MAX_LENGTH: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(String),
    /// Exactly one segment.
    One,
    /// The rest of the path, one segment or more; only at the end.
    Rest,
}

/// A parsed `METHOD /path` pattern. Its text form is canonical: two equal patterns print alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RoutePattern {
    /// `None` stands for any method.
    method: Option<String>,
    segments: Vec<Segment>,
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    #[error("expected `METHOD /path`, such as `GET /users/*`")]
    Shape,
    #[error("the method must be capital letters, or `*` for any")]
    Method,
    #[error("the path must begin with `/` and hold printable characters without `?` or `#`")]
    Path,
    #[error("`*` must stand for a whole segment")]
    PartialWildcard,
    #[error("a pattern has at most {MAX_LENGTH} characters")]
    TooLong,
}

impl RoutePattern {
    /// Does the pattern cover this method and path (without query)?
    pub fn matches(&self, method: &str, path: &str) -> bool {
        // Of a table's patterns nearly all differ in their first segment.
        self.covers(path) && self.method.as_deref().is_none_or(|own| own == method)
    }

    fn covers(&self, path: &str) -> bool {
        let path = path.as_bytes();
        // What follows the last segment that was compared; `None` at the end.
        let mut rest = Some(path.strip_prefix(b"/").unwrap_or(path));
        for segment in &self.segments {
            let Some(given) = rest else { return false };
            let length = match segment {
                Segment::Literal(text) if begins(given, text.as_bytes()) => text.len(),
                Segment::Literal(_) => return false,
                Segment::One => given.iter().take_while(|byte| **byte != b'/').count(),
                Segment::Rest => return !given.is_empty() && given[0] != b'/',
            };
            if length == 0 && *segment == Segment::One {
                return false;
            }
            rest = match given.get(length) {
                None => None,
                Some(b'/') => Some(&given[length + 1..]),
                Some(_) => return false,
            };
        }
        rest.is_none()
    }

    /// Orders the more specific pattern first: segment by segment a literal before `*` before a
    /// trailing `/*`, then a named method before any. Equal only for equal reach.
    pub fn specificity(&self, other: &Self) -> Ordering {
        fn rank(segment: Option<&Segment>) -> u8 {
            match segment {
                Some(Segment::Literal(_)) => 0,
                Some(Segment::One) => 1,
                None => 2,
                Some(Segment::Rest) => 3,
            }
        }
        let length = self.segments.len().max(other.segments.len());
        (0..length)
            .map(|i| rank(self.segments.get(i)).cmp(&rank(other.segments.get(i))))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.method.is_none().cmp(&other.method.is_none()))
    }
}

/// Most differ in the first byte, which is seen without a call.
fn begins(given: &[u8], with: &[u8]) -> bool {
    with.is_empty() || (given.first() == with.first() && given.starts_with(with))
}

impl FromStr for RoutePattern {
    type Err = InvalidRoute;

    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidRoute::TooLong);
        }
        let (method, path) = text.split_once(' ').ok_or(InvalidRoute::Shape)?;
        let method = match method {
            "*" => None,
            token if !token.is_empty() && token.bytes().all(|b| b.is_ascii_uppercase()) => {
                Some(token.to_owned())
            }
            _ => return Err(InvalidRoute::Method),
        };
        let rest = path.strip_prefix('/').ok_or(InvalidRoute::Path)?;
        if !rest.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#') {
            return Err(InvalidRoute::Path);
        }
        let parts: Vec<&str> = rest.split('/').collect();
        let last = parts.len() - 1;
        let segments = parts
            .into_iter()
            .enumerate()
            .map(|(i, part)| match part {
                "*" if i == last => Ok(Segment::Rest),
                "*" => Ok(Segment::One),
                text if text.contains('*') => Err(InvalidRoute::PartialWildcard),
                text => Ok(Segment::Literal(text.to_owned())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { method, segments })
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.method.as_deref().unwrap_or("*"))?;
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::One | Segment::Rest => f.write_str("/*")?,
            }
        }
        Ok(())
    }
}

impl Serialize for RoutePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RoutePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> RoutePattern {
        text.parse().expect("a valid pattern")
    }

    #[test]
    fn matching() {
        for (text, method, path, expected) in [
            ("GET /users", "GET", "/users", true),
            ("GET /users", "POST", "/users", false),
            ("GET /users", "GET", "/users/", false),
            ("GET /users", "GET", "/users/1", false),
            ("* /users", "DELETE", "/users", true),
            ("GET /users/*", "GET", "/users/1", true),
            ("GET /users/*", "GET", "/users/1/sessions", true),
            ("GET /users/*", "GET", "/users", false),
            ("GET /users/*", "GET", "/users/", false),
            ("GET /users/*/sessions", "GET", "/users/1/sessions", true),
            ("GET /users/*/sessions", "GET", "/users//sessions", false),
            ("GET /users/*/sessions", "GET", "/users/1/2/sessions", false),
            ("GET /", "GET", "/", true),
            ("GET /", "GET", "/users", false),
            ("GET //users", "GET", "//users", true),
            ("GET //users", "GET", "/users", false),
            ("* /*", "GET", "/", false),
            ("* /*", "GET", "/anything/at/all", true),
        ] {
            assert_eq!(pattern(text).matches(method, path), expected, "{text} on {method} {path}");
        }
    }

    #[test]
    fn the_more_specific_pattern_comes_first() {
        let mut patterns = [
            "* /*",
            "* /users/*",
            "GET /users/*",
            "GET /users/*/sessions",
            "GET /users/me",
            "GET /users",
            "* /users/me",
        ]
        .map(pattern);
        patterns.sort_by(RoutePattern::specificity);
        assert_eq!(
            patterns.map(|pattern| pattern.to_string()),
            [
                "GET /users/me",
                "* /users/me",
                "GET /users/*/sessions",
                "GET /users",
                "GET /users/*",
                "* /users/*",
                "* /*",
            ]
        );
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        for (text, error) in [
            ("/users", InvalidRoute::Shape),
            ("get /users", InvalidRoute::Method),
            (" /users", InvalidRoute::Method),
            ("GET users", InvalidRoute::Path),
            ("GET /users?x=1", InvalidRoute::Path),
            ("GET /us ers", InvalidRoute::Path),
            ("GET /users*", InvalidRoute::PartialWildcard),
        ] {
            assert_eq!(text.parse::<RoutePattern>(), Err(error), "{text}");
        }
        let long = format!("GET /{}", "a".repeat(600));
        assert_eq!(long.parse::<RoutePattern>(), Err(InvalidRoute::TooLong));
    }
}
