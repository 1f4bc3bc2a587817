//! `/control/v1/admin`.

mod listed;
mod meters;
mod plans;
mod proxies;
mod users;
mod workspaces;
