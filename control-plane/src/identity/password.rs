//! Password hashing with Argon2id, off the async threads and a bounded number at a time (19 MiB
//! each). Whoever comes when the queue is full is told to come back, so that a flood holds up nobody
//! for long. Checking a password of an account that does not exist takes as long as of one that does.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, anyhow};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use authsome_shared::secret::Secret;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Hashes of nobody's password: what an unknown account is checked against.
static NOBODY: LazyLock<String> = LazyLock::new(|| {
    hash_now("no password is this one").expect("hashing works with the default parameters")
});

/// At most this many are computed at once.
const PARALLEL: usize = 4;

/// At most this many wait for their turn: some seconds of work.
const WAITING: usize = 400;

#[derive(Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// Those computed and those that wait.
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl Passwords {
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(PARALLEL)),
            places: Arc::new(Semaphore::new(PARALLEL + WAITING)),
        }
    }

    /// The PHC string of a new hash.
    pub async fn hash(&self, password: Secret<String>) -> Result<String> {
        self.run(move || hash_now(password.expose())).await
    }

    /// Is it the password of this hash? `None` stands for an unknown account: always `false`.
    pub async fn verify(&self, password: Secret<String>, hash: Option<String>) -> Result<bool> {
        self.run(move || {
            let text = hash.as_deref().unwrap_or(&NOBODY);
            let parsed =
                PasswordHash::new(text).map_err(|error| anyhow!("stored hash: {error}"))?;
            let matches =
                Argon2::default().verify_password(password.expose().as_bytes(), &parsed).is_ok();
            Ok(matches && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Error::Unavailable(anyhow!("too many passwords wait to be hashed")))?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(Error::internal)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((permit, place));
            result
        });
        done.await.context("hashing a password").and_then(|result| result).map_err(Error::Internal)
    }
}

fn hash_now(password: &str) -> anyhow::Result<String> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| anyhow!("hashing a password: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_passes() {
        let passwords = Passwords::new();
        let secret = |text: &str| Secret::new(text.to_owned());
        let hash = passwords.hash(secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(secret("wrong horse"), Some(hash)).await.unwrap());
        assert!(!passwords.verify(secret("no password is this one"), None).await.unwrap());
    }
}
