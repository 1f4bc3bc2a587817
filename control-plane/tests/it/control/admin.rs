//! `/control/v1/admin`.

mod listed;
mod plans;
mod proxies;
mod users;
mod workspaces;
