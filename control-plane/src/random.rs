//! Secrets made by the platform itself, from the system's random source.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// `whsec_` and 192 random bits in base64, as Standard Webhooks has them.
pub fn webhook_secret() -> String {
    format!("whsec_{}", STANDARD.encode(bytes::<24>()))
}

/// From 0 to 1, for jitter.
pub fn fraction() -> f64 {
    f64::from(u16::from_be_bytes(bytes::<2>())) / f64::from(u16::MAX)
}

/// 256 random bits, safe in a URL.
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// The key of a second factor, as long as RFC 4226 recommends.
pub fn totp_secret() -> [u8; 20] {
    bytes()
}

/// A code to write down: 80 random bits in an alphabet without look-alikes, in groups of four.
pub fn recovery_code() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte & 31)]);
    let groups: Vec<String> =
        bytes::<16>().chunks(4).map(|group| group.iter().map(letter).collect()).collect();
    groups.join("-")
}

/// A password for an account that a program makes: 128 random bits, easy to paste.
pub fn password() -> String {
    hex::encode(bytes::<16>())
}
