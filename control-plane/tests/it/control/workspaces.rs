//! `/control/v1/workspaces`.

mod create;
mod delete;
mod get;
mod list;
mod purge;
mod restore;
mod transfer_ownership;
mod update;
