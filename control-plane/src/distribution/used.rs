//! What has been used of the quotas that a revision sets. A proxy that did not count a subject until
//! now learns the total with the quota, not after it, and keeps both on disk: otherwise what was used
//! before could be used again.

use std::collections::BTreeSet;

use authsome_shared::clock::period_of;
use authsome_shared::snapshot::Change;
use authsome_shared::usage::Total;
use serde_json::{Map, Value};

use crate::db::Tx;
use crate::error::{Error, Result};
use crate::metering::totals;
use crate::revisions::Revision;

/// Puts it before each revision's changes, as of now.
pub async fn add(tx: &mut Tx, revisions: &mut [Revision]) -> Result<()> {
    let period = period_of(tx.now());
    let changes = revisions.iter().flat_map(|revision| &revision.changes);
    let subjects: BTreeSet<(&str, &str)> =
        changes.filter_map(limited).map(|subject| (subject, period.as_str())).collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let used = totals::used_by(tx, &subjects).await?;
    for revision in revisions {
        let subjects: BTreeSet<&str> = revision.changes.iter().filter_map(limited).collect();
        let mut told = vec![];
        for subject in subjects {
            let of = (subject.to_owned(), period.clone());
            let Some(used) = used.get(&of).copied() else { continue };
            let (subject, period) = of;
            let total = Total { subject, period, used, applied: 0 };
            told.push(serde_json::to_value(Change::Used(total)).map_err(Error::internal)?);
        }
        revision.changes.splice(..0, told);
    }
    Ok(())
}

/// Whose quota a change sets, if any: a workspace, an application or a line of keys.
fn limited(change: &Value) -> Option<&str> {
    let of = |kind: &str, id: &str| {
        let entity: &Map<String, Value> = change.get(kind)?.as_object()?;
        entity.get("quota")?.as_u64()?;
        entity.get(id)?.as_str()
    };
    of("key", "bucket").or_else(|| of("application", "id")).or_else(|| of("workspace", "id"))
}
