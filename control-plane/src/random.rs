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

/// A password for an account that a program makes: 128 random bits, easy to paste.
pub fn password() -> String {
    hex::encode(bytes::<16>())
}
