//! A value that must not be seen: its `Debug` and `Display` show nothing, so it can't reach a log,
//! an error or a dump by accident. It does not encrypt, and it does not wipe memory.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Wraps a secret. Reading it takes an explicit [`Secret::expose`].
///
/// `Serialize` writes the clear value, because a key is shown once in the answer that created it
/// and a default configuration is compared as a whole; logs never serialise.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The clear value.
    pub fn expose(&self) -> &T {
        &self.0
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_display_shows_the_value() {
        let secret = Secret::new("sk_live_x".to_owned());
        assert_eq!(
            format!("{secret:?} {secret} {:?}", Some(&secret)),
            "[secret] [secret] Some([secret])"
        );
        assert_eq!(secret.expose(), "sk_live_x");
    }
}
