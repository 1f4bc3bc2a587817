//! `/control/v1/applications/{applicationId}/keys`.

mod create;
mod list;
mod revoke;
mod rotate;
mod secrecy;
