//! Who runs at the same time. Tests run beside each other; one that measures time has the machine
//! to itself.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// Held for as long as a test's processes live.
pub enum Turn {
    AmongOthers(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    pub async fn among_others() -> Self {
        Self::AmongOthers(MACHINE.read().await)
    }

    pub async fn alone() -> Self {
        Self::Alone(MACHINE.write().await)
    }
}
