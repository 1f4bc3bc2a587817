//! Secrets on their way from the control plane to its proxies. What carries them lies in databases
//! and on disks (the revision log, snapshots), so that they are sealed for whoever holds the node
//! token, and nobody else: AES-256-GCM with a random nonce, under a key derived from the token. The
//! purpose is bound in, so that what was sealed for one can't be put in another's place.
//!
//! With another token nothing opens; the control plane seals anew at a start with another one.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Seals and opens with the node token.
pub struct Envelope {
    key: LessSafeKey,
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Envelope")
    }
}

impl Envelope {
    pub fn new(node_token: &str) -> Self {
        let salt = Salt::new(HKDF_SHA256, b"authsome envelope 1");
        let derived = salt.extract(node_token.as_bytes());
        let key = derived.expand(&[b"aes-256-gcm"], &AES_256_GCM).expect("a key is short");
        Self { key: LessSafeKey::new(UnboundKey::from(key)) }
    }

    /// Hexadecimal digits of nonce and ciphertext.
    pub fn seal(&self, purpose: &str, clear: &[u8]) -> String {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).expect("the system's random source works");
        let mut sealed = clear.to_vec();
        let (at, purpose) = (Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()));
        self.key
            .seal_in_place_append_tag(at, purpose, &mut sealed)
            .expect("sealing a short value works");
        hex::encode([&nonce[..], &sealed].concat())
    }

    /// What was sealed for the same purpose with the same token.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let mut bytes = hex::decode(sealed).ok().filter(|bytes| bytes.len() > NONCE_LEN)?;
        let mut sealed = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).ok()?;
        let clear = self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut sealed);
        clear.ok().map(|clear| clear.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_and_purpose_open() {
        let envelope = Envelope::new("token");
        let sealed = envelope.seal("app_1", b"hello");
        assert_ne!(sealed, envelope.seal("app_1", b"hello"), "each has a nonce of its own");
        assert_eq!(Envelope::new("token").open("app_1", &sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(envelope.open("app_2", &sealed), None);
        assert_eq!(Envelope::new("another").open("app_1", &sealed), None);
    }

    #[test]
    fn damage_does_not_open() {
        let envelope = Envelope::new("token");
        let sealed = envelope.seal("app_1", b"hello");
        for at in 0..sealed.len() {
            let mut spoilt = sealed.clone();
            let other = if &sealed[at..=at] == "0" { "1" } else { "0" };
            spoilt.replace_range(at..=at, other);
            assert_eq!(envelope.open("app_1", &spoilt), None);
            assert_eq!(envelope.open("app_1", &sealed[..at]), None);
        }
        assert_eq!(envelope.open("app_1", "no digits"), None);
    }
}
