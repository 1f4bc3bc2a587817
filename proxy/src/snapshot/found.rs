//! A key as it is looked up: the key itself is kept in the table, one word, and read for what it is
//! found by. A copy of that beside it would take as much memory again, for a million keys.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use authsome_shared::api_key::KeyDigest;

use super::entity::Key;

/// Found by its digest.
#[derive(Debug, Clone)]
pub struct ByDigest(pub Arc<Key>);

impl Borrow<KeyDigest> for ByDigest {
    fn borrow(&self) -> &KeyDigest {
        &self.0.digest
    }
}

impl PartialEq for ByDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for ByDigest {}

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

/// Found by its id.
#[derive(Debug, Clone)]
pub struct ById(pub Arc<Key>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id.as_str()
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.as_str().hash(state);
    }
}
