//! `/node/v1`: the surface for proxies.

mod ack;
mod fleet;
mod logs;
mod snapshot;
mod stream;
mod token;
mod totals;
mod usage;
