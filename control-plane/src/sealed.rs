//! Encryption of the few secrets that must be read back (signing keys, mail that carries a token)
//! under the platform's master key. AES-256-GCM with a random nonce; the purpose is bound in, so
//! that a value sealed for one use can't be put in another's place.
//!
//! Opening fails when the master key is another than the one that sealed.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use authsome_shared::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::files;

const KEY_LENGTH: usize = 32;

/// Seals and opens with the master key.
pub struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
    pepper: [u8; KEY_LENGTH],
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// With the configured key (base64 of 32 bytes), else with the one in `data_dir`, which is made
    /// on first use (mode 0600).
    pub fn load(configured: Option<&Secret<String>>, data_dir: &Path) -> anyhow::Result<Self> {
        let text = match configured {
            Some(key) => key.clone(),
            None => files::secret_or_create(&data_dir.join("master.key"), || {
                let mut key = [0; KEY_LENGTH];
                SystemRandom::new().fill(&mut key).expect("the system's random source works");
                STANDARD.encode(key)
            })?,
        };
        let bytes =
            STANDARD.decode(text.expose().trim()).context("the master key is not base64")?;
        ensure!(bytes.len() == KEY_LENGTH, "the master key must have {KEY_LENGTH} bytes");
        let Ok(key) = UnboundKey::new(&AES_256_GCM, &bytes) else { bail!("unusable master key") };
        let signing = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let mut pepper = [0; KEY_LENGTH];
        pepper.copy_from_slice(hmac::sign(&signing, b"pepper").as_ref());
        Ok(Self { key: LessSafeKey::new(key), random: SystemRandom::new(), pepper })
    }

    /// Derived from the master key, for digests that nobody without it can try guesses against.
    pub fn pepper(&self) -> &[u8] {
        &self.pepper
    }

    /// Base64 of nonce and ciphertext.
    pub fn seal(&self, purpose: &str, clear: &[u8]) -> String {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).expect("the system's random source works");
        let mut sealed = clear.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .expect("sealing a short value works");
        STANDARD.encode([&nonce[..], &sealed].concat())
    }

    /// What was sealed for the same purpose.
    pub fn open(&self, purpose: &str, sealed: &str) -> anyhow::Result<Vec<u8>> {
        let mut bytes = STANDARD.decode(sealed).context("a sealed value is not base64")?;
        ensure!(bytes.len() > NONCE_LEN, "a sealed value is too short");
        let mut sealed = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).expect("the length was just cut");
        match self.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut sealed) {
            Ok(clear) => Ok(clear.to_vec()),
            Err(_) => bail!(
                "a sealed {purpose} does not open: is this the master key it was sealed with?"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_purpose_open() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sealer = Sealer::load(None, one.path()).unwrap();
        let sealed = sealer.seal("mail", b"hello");
        assert!(!sealed.contains("hello"));
        assert_eq!(sealer.open("mail", &sealed).unwrap(), b"hello");
        let again = Sealer::load(None, one.path()).unwrap();
        assert_eq!(again.open("mail", &sealed).unwrap(), b"hello");
        assert!(sealer.open("signing key", &sealed).is_err());
        assert!(Sealer::load(None, other.path()).unwrap().open("mail", &sealed).is_err());
    }
}
