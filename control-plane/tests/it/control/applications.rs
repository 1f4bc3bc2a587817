//! `/control/v1/workspaces/{workspaceId}/applications` and `/control/v1/applications`.

mod client_certificate;
mod create;
mod delete;
mod egress;
mod get;
mod list;
mod provision;
mod purge;
mod restore;
mod update;
