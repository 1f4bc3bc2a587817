//! `/control/v1/admin`.

mod charges;
mod invoices;
mod listed;
mod plans;
mod proxies;
mod users;
mod workspaces;
