//! `/control/v1`.

mod applications;
mod auth;
mod invitations;
mod keys;
mod members;
mod proxies;
mod usage;
mod workspaces;
