//! Wire types of applications' logs: what a proxy tells an application's owner about requests.
//!
//! `POST /node/v1/logs` carries a [`LogBatch`]; 204 says that it is stored. A batch that is sent
//! again under its id adds nothing. What is lost is counted by the proxy and told as a line.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ApplicationId, LogId, NodeId};

/// Most lines in one batch.
pub const MAX_BATCH_LINES: usize = 500;

/// Longest message, in characters; what is longer is cut.
pub const MAX_MESSAGE: usize = 1_000;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "control-plane", derive(sqlx::Type, utoipa::ToSchema))]
#[cfg_attr(feature = "control-plane", sqlx(type_name = "text", rename_all = "lowercase"))]
#[cfg_attr(feature = "control-plane", schema(as = LogLevel))]
pub enum Level {
    /// A request that went well.
    Debug,
    /// The application's own life: created, active, restarted, changed.
    Info,
    /// A request that was refused, was slow, or whose client went away; records that were lost.
    Warn,
    /// A request that failed, or the application itself.
    Error,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];
}

/// Lines of any applications, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogBatch {
    pub id: LogId,
    pub node: NodeId,
    pub lines: Vec<LogLine>,
}

/// One line of an application's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    pub application: ApplicationId,
    /// Microseconds since the epoch.
    pub at: i64,
    pub level: Level,
    pub message: String,
    #[serde(default)]
    pub fields: Map<String, Value>,
}
