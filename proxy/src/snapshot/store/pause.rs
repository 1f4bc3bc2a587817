//! A store that leaves its folder to another process, during an upgrade: what comes meanwhile is
//! held in memory, and written once the other process has failed to take over, or forgotten once
//! it has.

use authsome_shared::id::PlatformId;

use super::{Entry, Store};

#[derive(Default)]
pub struct Paused {
    /// The last whole snapshot that came.
    whole: Option<(PlatformId, u64, Vec<u8>)>,
    /// What came after it.
    changes: Vec<Entry>,
    /// Nothing will be written any more.
    for_good: bool,
}

impl Paused {
    pub(super) fn replace(&mut self, platform: PlatformId, revision: u64, bytes: Vec<u8>) {
        if !self.for_good {
            self.changes.clear();
            self.whole = Some((platform, revision, bytes));
        }
    }

    pub(super) fn append(&mut self, entry: Entry) {
        if !self.for_good {
            self.changes.push(entry);
        }
    }
}

impl Store {
    /// Brings everything to the disk, and writes nothing from then on.
    pub async fn pause(&mut self) {
        self.wait_for_fold().await;
        if let Some(file) = self.dirty()
            && let Err(error) = file.sync_data()
        {
            tracing::error!(%error, "can't bring changes to the disk");
        }
        self.log = None;
        self.paused = Some(Paused::default());
    }

    /// The folder is another's for good.
    pub fn leave(&mut self) {
        self.paused = Some(Paused { for_good: true, ..Paused::default() });
    }

    /// The folder is ours again.
    pub async fn resume(&mut self) {
        let Some(Paused { whole, changes, .. }) = self.paused.take() else { return };
        if let Some(platform) = self.platform.clone() {
            self.begin_log(&platform, self.revision);
        }
        if let Some((platform, revision, bytes)) = whole {
            self.replace(platform, revision, bytes).await;
        }
        for Entry { revision, changes } in changes {
            self.append(revision, changes);
        }
    }
}
