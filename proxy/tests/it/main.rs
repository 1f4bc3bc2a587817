//! The real proxy on free ports, in front of an upstream and behind a control plane that both live
//! in the test and speak the real protocols. Nothing is mocked inside the proxy.

mod access_log;
mod application_log;
mod binary;
mod clock;
mod config;
#[allow(dead_code, reason = "benchmarks want more of it")]
mod control;
mod corpus;
mod drain;
mod exchange;
mod explain;
mod floods;
mod frames;
mod framing;
mod full_disk;
mod grpc;
mod harness;
mod hostile;
mod ledger;
mod limits;
mod memory;
mod metrics;
mod reload;
mod requests;
mod restart;
mod startup;
mod streams;
mod timeouts;
mod tls;
mod traces;
mod upgrade;
mod upstream;
mod upstream_health;
mod upstream_tls;
mod upstreams;
mod wire;
