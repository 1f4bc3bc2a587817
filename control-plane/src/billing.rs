//! What workspaces are charged, and how the money comes in.

pub mod payment_method;
pub mod stripe;
