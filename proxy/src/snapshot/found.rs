//! A key as it is looked up: the key itself is kept in the table, one word, and read for what it is
//! found by. A copy of that beside it would take as much memory again, for a million keys.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use authsome_shared::api_key::KeyDigest;

use super::entity::Key;

/// Found by its digest.
#[derive(Debug, Clone)]
pub struct Digested(pub Arc<Key>);

impl Borrow<KeyDigest> for Digested {
    fn borrow(&self) -> &KeyDigest {
        &self.0.digest
    }
}

impl PartialEq for Digested {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for Digested {}

impl Hash for Digested {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

/// Found by its id.
#[derive(Debug, Clone)]
pub struct Named(pub Arc<Key>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.id.as_str()
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.as_str().hash(state);
    }
}
