//! The platform's own operations, for its admins (`/control/v1/admin`): 403 for everybody else. Being
//! an admin opens no workspace.

pub mod coupons;
pub mod invoices;
pub mod meters;
pub mod plans;
pub mod proxies;
pub mod trials;
pub mod users;
pub mod versions;
pub mod workspaces;

use crate::error::{Error, Result};
use crate::text;

/// What was asked for, if it can be looked for.
fn searched(search: Option<String>) -> Result<Option<String>> {
    if search.as_deref().is_none_or(text::is_searchable) {
        return Ok(search);
    }
    let message = "`search` must have at most 200 characters, none of them NUL";
    Err(Error::invalid("search", "invalid_value", message))
}
