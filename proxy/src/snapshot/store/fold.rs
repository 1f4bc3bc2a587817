//! Folds logged changes into a whole snapshot: the last word on each entity, in the order in which
//! a snapshot lists them. A change that can't be read is left out, as it is while serving.

use std::collections::BTreeMap;

use authsome_shared::snapshot::Change;
use authsome_shared::snapshot::encoding::{self, Header};

use super::Loaded;

/// The encoded snapshot at `revision`.
pub fn fold(loaded: Loaded, revision: u64) -> Vec<u8> {
    // Rank first, so that settings, workspaces, applications and keys come in this order.
    let mut entities: BTreeMap<(u8, String), Change> = BTreeMap::new();
    let logged = loaded
        .changes
        .into_iter()
        .flat_map(|entry| entry.changes)
        .filter_map(|change| serde_json::from_value(change).ok());
    for change in loaded.base.changes.into_iter().chain(logged) {
        match &change {
            Change::Settings(_) => entities.insert((0, String::new()), change),
            Change::Workspace(it) => entities.insert((1, it.id.to_string()), change),
            Change::Application(it) => entities.insert((2, it.id.to_string()), change),
            Change::Key(it) => entities.insert((3, it.id.to_string()), change),
            Change::RemoveWorkspace(id) => entities.remove(&(1, id.to_string())),
            Change::RemoveApplication(id) => entities.remove(&(2, id.to_string())),
            Change::RemoveKey(id) => entities.remove(&(3, id.to_string())),
        };
    }
    let changes: Vec<Change> = entities.into_values().collect();
    let platform = loaded.base.header.platform;
    encoding::encode(&Header { platform, revision, changes: changes.len() }, &changes)
}
