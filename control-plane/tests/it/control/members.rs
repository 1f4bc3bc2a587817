//! `/control/v1/workspaces/{workspaceId}/members`.

mod invite;
mod list;
mod remove;
mod update;
