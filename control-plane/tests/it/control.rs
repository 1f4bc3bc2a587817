//! `/control/v1`.

mod access;
mod applications;
mod auth;
mod hygiene;
mod invitations;
mod keys;
mod members;
mod openapi;
mod proxies;
mod reconciliation;
mod usage;
mod webhooks;
mod workspaces;
