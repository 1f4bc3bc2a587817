//! What both planes of AuthSome Cloud must agree on: identifiers, keys, error codes, and the wire
//! types between control plane and proxy. It leaves HTTP, SQL and the engines to the planes; what
//! only one of them uses does not live here.

pub mod api_key;
pub mod clock;
pub mod code;
pub mod egress;
pub mod envelope;
pub mod id;
pub mod log;
pub mod node;
pub mod route;
pub mod scan;
pub mod secret;
pub mod snapshot;
pub mod usage;
