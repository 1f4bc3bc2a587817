//! Both planes, real servers, real faults. Names are guarantees to the product's users.

mod alone;
mod applications;
mod bad_input;
mod canary;
mod chaos;
mod client_certificate;
mod clients;
mod crash;
mod explain;
mod faults;
mod fleet;
mod http2_upstream;
mod idempotency;
mod limits;
mod mail;
mod oauth;
mod operations;
mod quickstart;
mod revocation;
mod rotation;
mod settings;
mod split;
mod spoilt_files;
mod upgrade;
mod usage;
