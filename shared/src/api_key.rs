//! The format of API keys (design section 5): `{pk|sk}_{live|test}_` + 34 random base-62 characters
//! + 6 base-62 characters of CRC-32 over everything before them.
//!
//! The checksum lets a scanner and the proxy refuse a typo without a look-up; it proves nothing.
//! Whether a key is known, revoked or expired is for the snapshot to say.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::id::BASE62;
use crate::scan;
use crate::secret::Secret;

const RANDOM_LENGTH: usize = 34;
const CHECKSUM_LENGTH: usize = 6;
const PREFIX_LENGTH: usize = 8;

/// Length of every key, in bytes.
pub const LENGTH: usize = PREFIX_LENGTH + RANDOM_LENGTH + CHECKSUM_LENGTH;

/// Who may hold the key: a browser (`pk_…`) or a server (`sk_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "control-plane", derive(sqlx::Type, utoipa::ToSchema))]
#[cfg_attr(feature = "control-plane", sqlx(type_name = "text", rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    Public,
    Secret,
}

impl KeyType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Secret => "secret",
        }
    }
}

/// `live` for production applications, `test` for staging and development.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyMode {
    Live,
    Test,
}

/// SHA-256 of the whole key text: what is stored, distributed and looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    pub fn of(key: &(impl AsRef<[u8]> + ?Sized)) -> Self {
        let hash = digest(&SHA256, key.as_ref());
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| serde::de::Error::custom("expected 64 hexadecimal digits"))
    }
}

/// A new key, uniformly random over its 62^34 values.
pub fn generate(key_type: KeyType, mode: KeyMode) -> Secret<String> {
    let mut key = String::with_capacity(LENGTH);
    key.push_str(match (key_type, mode) {
        (KeyType::Public, KeyMode::Live) => "pk_live_",
        (KeyType::Public, KeyMode::Test) => "pk_test_",
        (KeyType::Secret, KeyMode::Live) => "sk_live_",
        (KeyType::Secret, KeyMode::Test) => "sk_test_",
    });
    let random = SystemRandom::new();
    while key.len() < PREFIX_LENGTH + RANDOM_LENGTH {
        let mut bytes = [0_u8; 48];
        random.fill(&mut bytes).expect("the system's random source works");
        // 248 is the greatest multiple of 62 in a byte: bytes above it would favour early letters.
        let wanted = PREFIX_LENGTH + RANDOM_LENGTH - key.len();
        for byte in bytes.into_iter().filter(|byte| *byte < 248).take(wanted) {
            key.push(char::from(BASE62[usize::from(byte % 62)]));
        }
    }
    let checksum = checksum(&key);
    key.push_str(&checksum);
    Secret::new(key)
}

/// The type and mode of a well-formed key; `None` for anything else. No look-up, no allocation.
pub fn parse(text: &(impl AsRef<[u8]> + ?Sized)) -> Option<(KeyType, KeyMode)> {
    let text: &[u8; LENGTH] = text.as_ref().try_into().ok()?;
    let (prefix, rest) = text.split_first_chunk::<PREFIX_LENGTH>()?;
    let kind = match prefix {
        b"pk_live_" => (KeyType::Public, KeyMode::Live),
        b"pk_test_" => (KeyType::Public, KeyMode::Test),
        b"sk_live_" => (KeyType::Secret, KeyMode::Live),
        b"sk_test_" => (KeyType::Secret, KeyMode::Test),
        _ => return None,
    };
    if scan::any(rest, |byte| !byte.is_ascii_alphanumeric()) {
        return None;
    }
    let (body, given) = text.split_last_chunk()?;
    (checksum_digits(body) == *given).then_some(kind)
}

/// How a secret key is listed: enough to recognise it, nothing to use.
pub fn mask(key: &str) -> String {
    let visible = key.get(..PREFIX_LENGTH + 6).unwrap_or_default();
    format!("{visible}***")
}

fn checksum(body: &str) -> String {
    checksum_digits(body.as_bytes()).iter().map(|digit| char::from(*digit)).collect()
}

fn checksum_digits(body: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut value = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(value % 62) as usize];
        value /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generated_keys_parse_to_what_they_were_made_for() {
        for key_type in [KeyType::Public, KeyType::Secret] {
            for mode in [KeyMode::Live, KeyMode::Test] {
                let key = generate(key_type, mode);
                assert_eq!(key.expose().len(), LENGTH);
                assert_eq!(parse(key.expose()), Some((key_type, mode)));
            }
        }
    }

    #[test]
    fn keys_do_not_repeat() {
        let keys: std::collections::HashSet<_> =
            (0..1000).map(|_| generate(KeyType::Secret, KeyMode::Live).into_inner()).collect();
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn the_format_is_fixed() {
        // Written out, so that a change of alphabet, order or checksum is noticed.
        let body = "sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWX";
        let key = format!("{body}{}", checksum(body));
        assert_eq!(parse(&key), Some((KeyType::Secret, KeyMode::Live)));
        assert_eq!(mask(&key), "sk_live_012345***");
    }

    #[test]
    fn only_letters_and_digits_make_a_key() {
        for odd in ["_", " ", "-", "\0", "\n", ":"] {
            let body = format!("sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVW{odd}");
            assert_eq!(parse(&format!("{body}{}", checksum(&body))), None, "{odd:?}");
        }
    }

    #[test]
    fn a_digest_round_trips_as_hex() {
        let digest = KeyDigest::of("sk_live_x");
        assert_eq!(KeyDigest::from_hex(&digest.to_hex()), Some(digest));
        assert_eq!(KeyDigest::from_hex("zz"), None);
    }

    proptest! {
        #[test]
        fn any_single_changed_character_is_refused(at in 0..LENGTH, to in "[ -~]") {
            let key = generate(KeyType::Secret, KeyMode::Test).into_inner();
            let mut changed = key.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != key);
            prop_assert_eq!(parse(&changed), None);
        }

        #[test]
        fn no_text_makes_parse_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
