//! `/control/v1/…/invoices`.

mod download;
mod get;
mod list;
