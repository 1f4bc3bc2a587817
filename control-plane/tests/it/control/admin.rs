//! `/control/v1/admin`.

mod charges;
mod invoices;
mod listed;
mod meters;
mod plans;
mod proxies;
mod users;
mod workspaces;
