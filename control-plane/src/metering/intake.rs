//! Batches that wait to be applied. One transaction at a time takes those that have come in
//! meanwhile: nearly every batch adds to the same rows, so that transactions side by side would
//! only wait for each other, and each row is written once for all of them.

use authsome_shared::usage::Applied;
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, oneshot};

use super::batch::Batch;
use crate::error::Result;

/// Records that one transaction takes at most, so that a proxy has its answer long before it stops
/// waiting; a single batch may hold more.
const MOST: usize = 200_000;

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

    /// Waits for the turn before to end, and takes those that wait then, the first first; none, if
    /// turns before have taken them along. The next turn waits for the guard.
    pub async fn take(&self) -> (MutexGuard<'_, ()>, Vec<Batch>, Vec<Answer>) {
        let turn = self.turn.lock().await;
        let mut waiting = self.waiting.lock();
        let mut records = 0;
        let fits = |(batch, _): &&(Batch, Answer)| {
            let first = records == 0;
            records += batch.header.count;
            first || records <= MOST
        };
        let count = waiting.iter().take_while(fits).count();
        let (batches, answers) = waiting.drain(..count).unzip();
        drop(waiting);
        (turn, batches, answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize) -> Batch {
        let body = r#"{"node":"node_1","epoch":"epo_1","first":1,"count":1}
            {"at":1,"workspace":"ws_1","application":"app_1","key":"key_1","route":"*","status":200,"latencyUs":1,"bytesIn":0,"bytesOut":0,"units":1}"#;
        let mut batch = Batch::read(body.into()).unwrap();
        batch.header.count = count;
        batch
    }

    #[tokio::test]
    async fn a_turn_takes_what_waits_up_to_its_bound_and_the_next_goes_on_from_there() {
        let intake = Intake::default();
        for count in [MOST / 2, MOST / 2, 1, MOST * 3, 2] {
            drop(intake.put(batch(count)));
        }
        let mut turns = vec![];
        for _ in 0..5 {
            let (_turn, batches, answers) = intake.take().await;
            assert_eq!(batches.len(), answers.len());
            turns.push(batches.iter().map(|batch| batch.header.count).collect::<Vec<_>>());
        }
        assert_eq!(
            turns,
            [vec![MOST / 2, MOST / 2], vec![1], vec![MOST * 3], vec![2], vec![]] as [Vec<usize>; 5]
        );
    }
}
