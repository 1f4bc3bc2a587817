//! Both planes, real servers, real faults. Names are guarantees to the product's users.

mod bad_input;
mod canary;
mod chaos;
mod clients;
mod crash;
mod limits;
mod quickstart;
mod revocation;
mod rotation;
mod settings;
mod split;
mod spoilt_files;
mod upgrade;
mod usage;
