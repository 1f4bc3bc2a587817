//! May this type of key, with these scopes, call this route?

use authsome_shared::api_key::KeyType;

use super::route::Route;
use crate::denied::Cause;

/// Satisfies every demand.
const ALL: &str = "*";

/// `None` stands for a route that no pattern names: any secret key with scope `*`.
pub fn check(route: Option<&Route>, key_type: KeyType, scopes: &[Box<str>]) -> Result<(), Cause> {
    if route.is_some_and(|route| route.public) && key_type == KeyType::Public {
        return Ok(());
    }
    if key_type == KeyType::Public {
        return Err(Cause::PublicKey);
    }
    let needed = match route {
        None => ALL,
        Some(Route { scope: None, .. }) => return Ok(()),
        Some(Route { scope: Some(scope), .. }) => scope,
    };
    if scopes.iter().any(|scope| **scope == *ALL || **scope == *needed) {
        Ok(())
    } else {
        Err(Cause::Scope(needed.into()))
    }
}
