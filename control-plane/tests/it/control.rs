//! `/control/v1`.

mod access;
mod applications;
mod audit;
mod auth;
mod hygiene;
mod idempotency;
mod invitations;
mod keys;
mod members;
mod openapi;
mod proxies;
mod reconciliation;
mod usage;
mod workspaces;
