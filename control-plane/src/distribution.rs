//! Brings the configuration to the proxies (design section 8): whole snapshots, and a stream of
//! deltas that each proxy resumes from its own revision. What a proxy has applied: `proxies`.

mod stream;
mod used;

use authsome_shared::clock::period_of;
use authsome_shared::id::PlatformId;
use authsome_shared::snapshot::Change;
use authsome_shared::snapshot::encoding::{Header, encode};

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::metering::totals;
use crate::{applications, keys, platform, workspaces};
pub use stream::{Follower, Subscription};

/// A whole snapshot at the newest revision, encoded.
#[derive(Debug)]
pub struct Snapshot {
    pub platform: PlatformId,
    pub revision: i64,
    pub bytes: Vec<u8>,
}

/// Encodes everything that proxies must know. One read transaction: all of it is of one revision.
pub async fn snapshot(tx: &mut Tx) -> Result<Snapshot> {
    let (platform, revision) = platform::head(tx).await?;
    let mut changes = vec![Change::Settings(platform::settings(tx).await?)];
    // Before the quotas: what was used is known when they begin to hold.
    let used = totals::told(tx, &period_of(tx.now()), None).await?;
    changes.extend(used.into_iter().map(Change::Used));
    changes.extend(workspaces::for_snapshot(tx).await?.into_iter().map(Change::Workspace));
    let applications = applications::for_snapshot(tx).await?;
    changes.extend(applications.into_iter().map(Box::new).map(Change::Application));
    changes.extend(keys::for_snapshot(tx).await?.into_iter().map(Box::new).map(Change::Key));
    let header = Header {
        platform: platform.clone(),
        revision: revision.cast_unsigned(),
        changes: changes.len(),
    };
    // Compressing a large snapshot takes a while: not on an async thread.
    let bytes = tokio::task::spawn_blocking(move || encode(&header, &changes))
        .await
        .map_err(Error::internal)?;
    Ok(Snapshot { platform, revision, bytes })
}
