//! The metering ledger on the control plane's side (design section 7): batches of usage records are
//! applied exactly once, and everything that is counted derives from them.

pub mod apply;
pub mod batch;
pub mod breakdown;
pub mod histogram;
pub mod intake;
pub mod late;
pub mod meter;
pub mod metrics;
pub mod quantities;
pub mod reconciliation;
pub mod retention;
mod routes;
pub mod series;
pub mod storage;
mod summary;
pub mod threshold;
pub mod totals;
pub mod uptime;
pub mod usage;
mod users;
