//! A thread for what is asked of the store. Requests may keep all others busy for milliseconds,
//! one after the other; answers would wait their turn among them, and the store be blamed for
//! coming late just when it is needed most.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// It ends when dropped, and what runs on it with it.
pub struct Apart(Option<Runtime>);

impl Apart {
    pub fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(1).thread_name("strict-limits").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.0.as_ref().expect("it is taken away by `drop` alone").spawn(task)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for it is not allowed among asynchronous tasks.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_store_is_asked_while_requests_keep_everybody_else_busy() {
        let apart = Apart::start().expect("a thread");
        let (sender, receiver) = mpsc::channel();
        apart.spawn(async move { sender.send(()) });
        // This blocks the one thread that the test's other tasks have.
        receiver.recv_timeout(Duration::from_secs(20)).expect("asked meanwhile");
    }
}
