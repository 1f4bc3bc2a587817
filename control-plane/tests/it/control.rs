//! `/control/v1`.

mod access;
mod applications;
mod audit;
mod auth;
mod cors;
mod hygiene;
mod idempotency;
mod invitations;
mod keys;
mod limits;
mod members;
mod openapi;
mod proxies;
mod reconciliation;
mod usage;
mod workspaces;
