//! The control plane's integration suite: the real router over a real database. Folders mirror the
//! URLs, a file per operation; a test's name is the guarantee that it holds.
//!
//! Each test has its own database: SQLite, or PostgreSQL when `TEST_DATABASE_URL` names a
//! throw-away server. Tests run in parallel and in any order; none sleeps, none has a fixed port.

mod billing;
mod contract;
mod control;
mod guards;
mod jobs;
mod node;
mod probe;
mod retention;
mod support;
