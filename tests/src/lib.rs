//! The harness of the end-to-end tests: the real binaries as processes, a real upstream, and the
//! public API as the only way in. It knows nothing of the planes' insides.
//!
//! Anything that does not come about by its deadline is a panic that shows what the processes
//! wrote. Nothing sleeps for a while: waiting is polling.

pub mod api;
pub mod call;
pub mod clients;
pub mod control_plane;
pub mod database;
pub mod dice;
pub mod env;
pub mod fault;
pub mod files;
pub mod fleet;
pub mod identity_provider;
pub mod load;
pub mod mix;
pub mod platform;
pub mod postgres;
pub mod process;
pub mod receiver;
pub mod redis;
pub mod smtp;
pub mod split;
pub mod turn;
pub mod upstream;
pub mod urls;
pub mod wait;
