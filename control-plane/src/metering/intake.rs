//! Batches that wait to be applied. One transaction at a time takes all that have come in meanwhile:
//! nearly every batch adds to the same rows, so that transactions side by side would only wait for
//! each other, and each row is written once for all of them.

use parking_lot::Mutex;
use tokio::sync::{MutexGuard, oneshot};

use super::batch::Batch;
use crate::error::Result;
use authsome_shared::usage::Applied;

/// Where the answer to a batch goes; nobody may be there any more.
pub type Answer = oneshot::Sender<Result<Applied>>;

#[derive(Debug, Default)]
pub struct Intake {
    waiting: Mutex<Vec<(Batch, Answer)>>,
    turn: tokio::sync::Mutex<()>,
}

impl Intake {
    /// Puts a batch in line. Whoever does so sees to it that a turn is taken after.
    pub fn put(&self, batch: Batch) -> oneshot::Receiver<Result<Applied>> {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().push((batch, answer));
        answered
    }

    /// Waits for the turn before to end, and takes all that wait then; nothing, if that took them
    /// along. The next turn waits for the guard.
    pub async fn take(&self) -> (MutexGuard<'_, ()>, Vec<Batch>, Vec<Answer>) {
        let turn = self.turn.lock().await;
        let (batches, answers) = std::mem::take(&mut *self.waiting.lock()).into_iter().unzip();
        (turn, batches, answers)
    }
}
