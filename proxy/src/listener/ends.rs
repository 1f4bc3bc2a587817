//! When draining: what has not ended by itself ends now. Connections look at flags while they
//! wait for their client, and are woken when one of them changes. Until then this costs a lock at
//! a connection's begin and end, and none that connections share in between.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

/// Of all connections.
#[derive(Debug, Default)]
pub struct Ends {
    idle: AtomicBool,
    requests: AtomicBool,
    streams: AtomicBool,
    /// By descriptor, who waits for its client.
    waiting: Mutex<HashMap<RawFd, Arc<Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting(Mutex<Option<Waker>>);

/// What a connection waits for.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// Its next request.
    Idle,
    /// A request's rest, or the end of its answer.
    Request,
    /// The end of an answer that may not end by itself.
    Stream,
}

/// Of one connection; forgotten when dropped, which must be before its descriptor is closed.
#[derive(Debug)]
pub struct Ending {
    ends: Arc<Ends>,
    descriptor: RawFd,
    waiting: Arc<Waiting>,
}

impl Ends {
    /// For a new connection.
    pub fn of(self: &Arc<Self>, descriptor: RawFd) -> Ending {
        let waiting = Arc::<Waiting>::default();
        self.waiting.lock().insert(descriptor, waiting.clone());
        Ending { ends: self.clone(), descriptor, waiting }
    }

    /// Ends connections that wait for their next request.
    pub fn end_idle(&self) {
        self.idle.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Ends requests, but for streams.
    pub fn end_requests(&self) {
        self.requests.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Ends what was said to be a stream.
    pub fn end_streams(&self) {
        self.streams.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let waiting: Vec<_> = self.waiting.lock().values().cloned().collect();
        for waker in waiting.iter().filter_map(|waiting| waiting.0.lock().take()) {
            waker.wake();
        }
    }
}

impl Ending {
    /// Is it to end now, waiting for that?
    pub fn is_over(&self, wait: Wait) -> bool {
        let flag = match wait {
            Wait::Idle => &self.ends.idle,
            Wait::Request => &self.ends.requests,
            Wait::Stream => &self.ends.streams,
        };
        flag.load(Ordering::SeqCst)
    }

    /// The same. Wakes the task when that changes.
    pub fn poll(&self, wait: Wait, context: &Context<'_>) -> bool {
        if self.is_over(wait) {
            return true;
        }
        let mut waker = self.waiting.0.lock();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        drop(waker);
        // It may have changed before there was somebody to wake.
        self.is_over(wait)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ends.waiting.lock().remove(&self.descriptor);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn each_kind_ends_on_its_word_and_nothing_is_left_behind() {
        let ends = Arc::new(Ends::default());
        let wait = |descriptor, wait| {
            let end = ends.of(descriptor);
            tokio::spawn(poll_fn(move |context| {
                if end.poll(wait, context) { Poll::Ready(()) } else { Poll::Pending }
            }))
        };
        let (request, stream) = (wait(3, Wait::Request), wait(4, Wait::Stream));
        let idle = wait(6, Wait::Idle);
        tokio::task::yield_now().await;
        ends.end_idle();
        idle.await.expect("ended");
        assert!(!request.is_finished());
        ends.end_requests();
        request.await.expect("ended");
        assert!(!stream.is_finished());
        ends.end_streams();
        stream.await.expect("ended");
        wait(5, Wait::Request).await.expect("at once");
        assert!(ends.waiting.lock().is_empty());
    }
}
