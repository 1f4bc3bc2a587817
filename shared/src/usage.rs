//! Wire types of the metering ledger (design section 7): one record per admitted request, shipped
//! in contiguous batches that the control plane applies exactly once.
//!
//! `POST /node/v1/usage` carries newline-delimited JSON: a [`BatchHeader`], then `count` lines of
//! [`UsageRecord`], all of one epoch, with consecutive sequence numbers from `first`. A gap in the
//! sequence ends a batch, so that it shows in the next one's `first`. The answer is [`Applied`].

use serde::{Deserialize, Serialize};

use crate::id::{ApplicationId, EpochId, KeyId, NodeId, WorkspaceId};

/// Most records in one batch.
pub const MAX_BATCH_RECORDS: usize = 20_000;

/// Most bytes in one batch, header included.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// First line of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHeader {
    pub node: NodeId,
    pub epoch: EpochId,
    /// Sequence number of the first record; an epoch begins at 1.
    pub first: u64,
    pub count: usize,
}

/// One admitted request, written when its response ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRecord {
    /// End of the response, milliseconds since the epoch. Decides the period.
    pub at: i64,
    pub workspace: WorkspaceId,
    pub application: ApplicationId,
    /// The key that was presented.
    pub key: KeyId,
    /// The key whose bucket, quota and usage it shares, when that is another (rotation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<KeyId>,
    /// The route pattern that matched, or `*` for none.
    pub route: String,
    /// Status that the client saw; 499 when it went away first.
    pub status: u16,
    /// From the request's head to the response's end, in microseconds.
    pub latency_us: u64,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Request units: the route's cost.
    pub units: u32,
    /// The end user that the upstream named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a subject (a workspace, an application or a bucket's key) has used in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// A `ws_`, `app_` or `key_` id.
    pub subject: String,
    /// `YYYY-MM`, UTC.
    pub period: String,
    /// Request units of the whole fleet, as applied.
    pub used: u64,
    /// How many of these the batch that this answers holds, whether they were applied with it or
    /// with an earlier copy of it.
    #[serde(default)]
    pub applied: u64,
}

/// Answer to a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Everything of this epoch up to and including this sequence number is applied for good.
    pub watermark: u64,
    /// The totals of what the batch's records touch: workspaces, applications, and those lines of keys
    /// that hold a quota.
    pub totals: Vec<Total>,
}
