//! The order of draining: idle connections first, then requests, then streams, each after a time
//! of its own. Whoever has not ended by then is ended: over HTTP/1 each request is, so that it is
//! recorded and its client told where it still can be; an HTTP/2 connection as a whole, when the
//! last of these times is over.

use std::time::Duration;

use pingora::apps::HttpServerApp;
use tokio::time::{Instant, timeout, timeout_at};

use super::Listener;
use crate::config::Drain;

/// What was ended has this long to be recorded, and its client to be told.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Listener {
    /// Drains. `handed_over`: another process listens on the sockets and takes what waits there.
    pub async fn drain(mut self, drain: &Drain, handed_over: bool) {
        self.stop_accepting().await;
        if !handed_over {
            self.take_up_waiting();
        }
        // Closed here: whoever comes from now on is refused, or is the other process's.
        self.sockets.clear();
        let began = Instant::now();
        self.announce.send_replace(true);
        let connections = &self.shared.connections;
        connections.close();
        let requests = (began + Duration::from_millis(drain.timeout_ms), false);
        let streams = (began + Duration::from_millis(drain.stream_timeout_ms), true);
        let idle = began + drain.idle();
        if timeout_at(idle, connections.wait()).await.is_ok() {
            return;
        }
        self.shared.ends.end_idle();
        self.shared.engine.http_cleanup().await;
        let (sooner, later) =
            if requests.0 <= streams.0 { (requests, streams) } else { (streams, requests) };
        for (deadline, of_streams) in [sooner, later] {
            if timeout_at(deadline, connections.wait()).await.is_ok() {
                return;
            }
            if of_streams {
                self.shared.ends.end_streams();
            } else {
                self.shared.ends.end_requests();
            }
        }
        if timeout(LAST_WORDS, connections.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(connections = connections.len(), "closing what did not finish");
        self.shared.kill.cancel();
        // The engine's tasks for the requests of an HTTP/2 connection notice its end, and record.
        self.shared.requests.close();
        let _ = timeout(LAST_WORDS, self.shared.requests.wait()).await;
    }
}
