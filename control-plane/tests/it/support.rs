//! What the tests stand on: the real router over a real database of its own, a clock turned by
//! hand, and clients that are people.

mod app;
mod billing;
mod client;
mod database;
mod dns;
mod proxy;
mod receiver;
mod stripe;
mod upstream;

pub use app::{PASSWORD, TestApp, within};
pub use billing::last_month;
pub use client::{Client, Response, fields, text};
pub use dns::NameServer;
pub use proxy::{FakeProxy, Record, Stream};
pub use receiver::{Received, Receiver};
pub use stripe::Collecting;
pub use upstream::Upstream;
