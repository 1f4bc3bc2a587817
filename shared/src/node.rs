//! The protocol between a proxy and its control plane, but for the usage batches (`usage`).
//!
//! Every call carries `Authorization: Bearer {node token}`.
//!
//! - `GET /node/v1/snapshot` answers a whole encoded snapshot (`snapshot::encode`).
//! - `GET /node/v1/stream?node=&revision=&platform=&version=` answers newline-delimited JSON
//!   [`Frame`]s without end: every delta after `revision`, in order and without a gap, then each
//!   new one as it is committed; a `ping` at least every second. `reset` means that the log does
//!   not reach back to `revision`: fetch a snapshot and open the stream anew.
//! - `POST /node/v1/ack` with an [`Ack`] says what has been applied; sent after each change, every
//!   [`HEARTBEAT_SECONDS`] as a sign of life, and a last time with `leaving` when it has stopped.
//! - `POST /node/v1/usage`: see `usage`.
//! - `POST /node/v1/logs`: see `log`.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, PlatformId};
use crate::usage::Total;

/// A proxy acknowledges at least this often.
pub const HEARTBEAT_SECONDS: u64 = 2;

/// A proxy that has not been heard of for this long counts as gone: the others take over its share
/// of the rate limits.
pub const GONE_AFTER_SECONDS: u64 = 7;

/// One line of the stream. Unknown frames are ignored by the proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Frame {
    /// First frame when the revision can be continued from.
    Hello { platform: PlatformId, revision: u64 },
    /// First and last frame when it can't be.
    Reset { platform: PlatformId, revision: u64 },
    /// The changes of one revision, each a `snapshot::Change`; kept as JSON values, so that one
    /// that this proxy cannot read spoils no other.
    Delta { revision: u64, changes: Vec<serde_json::Value> },
    /// How many proxies share the rate limits, this one included; sent first, and when it changes.
    Fleet { proxies: u32 },
    /// New totals of workspaces, applications, and lines of keys that hold a quota.
    Totals { totals: Vec<Total> },
    /// The control plane is alive and its log stands at this revision.
    Ping { revision: u64 },
}

/// A proxy's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    pub node: NodeId,
    /// The proxy's release.
    pub version: String,
    /// Every request that begins from now on is decided by this revision or a later one.
    pub revision: u64,
    /// Entities of the current snapshot that this proxy could not read and does not serve.
    #[serde(default)]
    pub quarantined: u64,
    /// Records in the journal that the control plane has not confirmed.
    #[serde(default)]
    pub unshipped: u64,
    /// How it is with the store of strict limits.
    #[serde(default)]
    pub strict: StoreState,
    /// It answers no more requests: its share of the rate limits is free.
    #[serde(default)]
    pub leaving: bool,
}

/// How it is with a proxy's store of strict limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreState {
    /// None is configured: strict limits are held as fast ones.
    #[default]
    Off,
    Up,
    /// It is away: strict limits are held as fast ones meanwhile.
    Down,
}
