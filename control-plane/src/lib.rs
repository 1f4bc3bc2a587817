//! The control plane of AuthSome Cloud: the dashboard's API over SQLite or PostgreSQL, and the source
//! of the configuration that proxies serve from.
//!
//! One way down: surface (`http`) → domain function → SQL. Domains depend in one direction:
//! `identity` ← `workspaces` ← `applications` ← `keys` ← `metering` ← `billing`,
//! with `distribution` and `webhooks` on top.

#[macro_use]
pub mod db;

pub mod actor;
pub mod app;
pub mod applications;
pub mod audit;
pub mod billing;
pub mod config;
pub mod distribution;
mod duration;
mod egress;
pub mod error;
pub mod events;
pub mod files;
pub mod http;
pub mod idempotency;
pub mod identity;
pub mod jobs;
pub mod keys;
pub mod mail;
mod merge;
pub mod metering;
pub mod page;
pub mod period;
pub mod platform;
pub mod proxies;
pub mod random;
pub mod revisions;
pub mod sealed;
pub mod serve;
pub mod text;
pub mod webhooks;
pub mod worker;
pub mod workspaces;
