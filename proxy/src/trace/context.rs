//! W3C Trace Context (Recommendation of 2021, and what Level 2 adds to its flags): reading
//! `traceparent` and judging `tracestate`. It decides only what is valid; what is passed on is for
//! `trace`.

use http::{HeaderMap, HeaderValue};

/// Most members of a `tracestate`.
const MAX_MEMBERS: usize = 32;

/// A valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub trace: u128,
    pub span: u64,
    /// Sampled (1) and random (2); what later versions add is left out.
    pub flags: u8,
}

pub const SAMPLED: u8 = 1;
const KNOWN_FLAGS: u8 = 3;

impl Parent {
    /// The one valid `traceparent` of a request. Two of them are none.
    pub fn find(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value.as_bytes())
    }

    pub fn parse(value: &[u8]) -> Option<Self> {
        let version = hex(value.get(..2)?)?;
        let fits = match version {
            0 => value.len() == 55,
            // A version to come may add to the end, after a dash.
            1..0xff => value.len() == 55 || (value.len() > 55 && value[55] == b'-'),
            _ => false,
        };
        if !fits || value[2] != b'-' || value[35] != b'-' || value[52] != b'-' {
            return None;
        }
        let trace = hex(&value[3..35])?;
        let span = u64::try_from(hex(&value[36..52])?).ok()?;
        let flags = u8::try_from(hex(&value[53..55])?).ok()? & KNOWN_FLAGS;
        (trace != 0 && span != 0).then_some(Self { trace, span, flags })
    }

    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As version 00.
    pub fn header(self) -> HeaderValue {
        let text = format!("00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags);
        HeaderValue::try_from(text).expect("digits and dashes are a value")
    }
}

/// Lower-case digits only, as the Recommendation demands.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// Can a request's `tracestate`, if it has one, be passed on as it is?
pub fn state_is_valid(headers: &HeaderMap) -> bool {
    let values = headers.get_all("tracestate").iter();
    let members = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty());
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in members {
        let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
        let (key, value) = (&member[..at], &member[at + 1..]);
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MAX_MEMBERS {
            return false;
        }
        keys.push(key);
    }
    true
}

fn is_key(key: &[u8]) -> bool {
    let is_start = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |byte: &u8| is_start(byte) || b"_-*/@".contains(byte);
    key.first().is_some_and(is_start) && key.len() <= 256 && key.iter().all(is_part)
}

fn is_value(value: &[u8]) -> bool {
    let is_part = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'=';
    (1..=256).contains(&value.len()) && value.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn parents_are_valid_as_the_recommendation_says() {
        let parent = Parent::parse(GOOD.as_bytes()).expect("the Recommendation's own example");
        assert_eq!(parent.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.span, 0x00f0_67aa_0ba9_02b7);
        assert!(parent.is_sampled());
        assert_eq!(parent.header(), GOOD);
        for valid in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
        ] {
            assert!(Parent::parse(valid.as_bytes()).is_some(), "{valid}");
        }
        for invalid in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(Parent::parse(invalid.as_bytes()), None, "{invalid}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", HeaderValue::from_static(GOOD));
        assert!(Parent::find(&headers).is_some());
        headers.append("traceparent", HeaderValue::from_static(GOOD));
        assert_eq!(Parent::find(&headers), None);
    }

    #[test]
    fn states_are_valid_as_the_recommendation_says() {
        let many =
            |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let (most, too_many) = (many(32), many(33));
        let long = format!("{}=v", "a".repeat(257));
        for (values, wanted) in [
            (vec![], true),
            (vec![""], true),
            (vec!["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], true),
            (vec!["rojo=1", "congo=2"], true),
            (vec!["a=1 , b=2,,c=3"], true),
            (vec!["fw529a3039@dt=FfAI;x"], true),
            (vec![&*most], true),
            (vec![&*too_many], false),
            (vec!["a=1", "a=2"], false),
            (vec!["a"], false),
            (vec!["a=b=c"], false),
            (vec!["a="], false),
            (vec!["A=1"], false),
            (vec!["=1"], false),
            (vec![&*long], false),
            (vec!["a=\u{7f}"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                let value = HeaderValue::from_bytes(value.as_bytes());
                headers.append("tracestate", value.unwrap_or(HeaderValue::from_static("\t=")));
            }
            assert_eq!(state_is_valid(&headers), wanted, "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Parent::parse(&bytes);
            let _ = Parent::parse(&[GOOD.as_bytes(), &bytes].concat());
        }
    }
}
