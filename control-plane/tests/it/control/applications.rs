//! `/control/v1/workspaces/{workspaceId}/applications` and `/control/v1/applications`.

mod client_certificate;
mod create;
mod delete;
mod egress;
mod get;
mod list;
mod logs;
mod metrics;
mod provision;
mod purge;
mod resources;
mod restart;
mod restore;
mod update;
