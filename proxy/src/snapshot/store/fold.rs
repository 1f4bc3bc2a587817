//! Folds logged changes into a whole snapshot: the last word on each entity, in the order in which
//! a snapshot lists them. What this release can't read a later one may: it is not folded away.

use std::collections::BTreeMap;

use anyhow::ensure;
use authsome_shared::snapshot::Change;
use authsome_shared::snapshot::encoding::{self, Header};

use super::Loaded;

/// The encoded snapshot at `revision`. Fails when something would be lost in it.
pub fn fold(loaded: Loaded, revision: u64) -> anyhow::Result<Vec<u8>> {
    let base = encoding::decode(&loaded.base)?;
    ensure!(base.quarantined.is_empty(), "the snapshot holds what can't be read");
    // Rank first, so that settings, what was used, workspaces, applications and keys come in this
    // order.
    let mut entities: BTreeMap<(u8, String), Change> = BTreeMap::new();
    let logged = loaded
        .changes
        .into_iter()
        .flat_map(|entry| entry.changes)
        .map(serde_json::from_value)
        .collect::<Result<Vec<Change>, _>>()?;
    for change in base.changes.into_iter().chain(logged) {
        match &change {
            Change::Settings(_) => entities.insert((0, String::new()), change),
            Change::Used(it) => entities.insert((1, it.subject.clone()), change),
            Change::Workspace(it) => entities.insert((2, it.id.to_string()), change),
            Change::Application(it) => entities.insert((3, it.id.to_string()), change),
            Change::Key(it) => entities.insert((4, it.id.to_string()), change),
            Change::RemoveWorkspace(id) => entities.remove(&(2, id.to_string())),
            Change::RemoveApplication(id) => entities.remove(&(3, id.to_string())),
            Change::RemoveKey(id) => entities.remove(&(4, id.to_string())),
        };
    }
    let changes: Vec<Change> = entities.into_values().collect();
    let platform = base.header.platform;
    Ok(encoding::encode(&Header { platform, revision, changes: changes.len() }, &changes))
}
