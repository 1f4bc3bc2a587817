//! Keys: the parser agrees with the format read out letter by letter, with the checksum computed
//! the long way.

use authsome_shared::api_key::{KeyDigest, KeyMode, KeyType, LENGTH, mask, parse};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(parse(&*text), naive(&text), "{text:?}");
    // Too seldom right by chance: the same text with the checksum that it should have.
    let body: String = text.chars().take(LENGTH - 6).collect();
    let whole = format!("{body}{}", checksum(&body));
    assert_eq!(parse(&whole), naive(&whole), "{whole:?}");
    if parse(&whole).is_some() {
        let at = bytes.len() % LENGTH;
        for other in ["0", "z", "_", " "] {
            let mut changed = whole.clone();
            changed.replace_range(at..=at, other);
            assert!(changed == whole || parse(&changed).is_none(), "{changed:?}");
        }
        assert!(!mask(&whole).contains(&whole[14..]), "a mask gives the key away");
    }
    if let Some(digest) = KeyDigest::from_hex(&text) {
        assert_eq!(digest.to_hex(), text.to_lowercase());
    }
    assert_eq!(KeyDigest::from_hex(&KeyDigest::of(&*text).to_hex()), Some(KeyDigest::of(&*text)));
}

fn naive(text: &str) -> Option<(KeyType, KeyMode)> {
    let kinds = [
        ("pk_live_", KeyType::Public, KeyMode::Live),
        ("pk_test_", KeyType::Public, KeyMode::Test),
        ("sk_live_", KeyType::Secret, KeyMode::Live),
        ("sk_test_", KeyType::Secret, KeyMode::Test),
    ];
    let (prefix, key_type, mode) = kinds.into_iter().find(|(it, ..)| text.starts_with(it))?;
    let rest = &text.as_bytes()[prefix.len()..];
    let right = rest.len() == 40
        && rest.iter().all(|byte| DIGITS.contains(byte))
        && text.ends_with(&checksum(&text[..42]));
    right.then_some((key_type, mode))
}

/// CRC-32 bit by bit, in six digits of base 62.
fn checksum(body: &str) -> String {
    let mut crc = u32::MAX;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut value = !crc as usize;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[value % 62];
        value /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}
