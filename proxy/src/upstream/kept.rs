//! Connections of HTTP/1 to upstreams that wait for their next request. The engine's own pool
//! spawns a task for each connection that it keeps; here one task looks at all of them every
//! second, and whoever takes one looks first whether it still stands. A worker thread keeps what
//! it used, and takes from others only when it has none.
//!
//! A connection is taken for the same peer only: found by the engine's hash of it, then compared,
//! because customers choose what is hashed. Connecting is the engine's, and so are its errors.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use pingora::Result;
use pingora::connectors::TransportConnector;
use pingora::upstreams::peer::{HttpPeer, Peer};
use tokio::runtime::Handle;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use super::wire::Wire;
use super::{KEEP_IDLE, MAX_IDLE};

/// How often idle connections are looked at.
const LOOK: Duration = Duration::from_secs(1);

pub struct Kept {
    connector: TransportConnector,
    /// What each worker thread keeps.
    shelves: Box<[Mutex<Shelf>]>,
}

/// In boxes, as the engine takes and gives them: they would else be moved out and in for each
/// request.
type Wires = Vec<Box<Wire>>;

#[derive(Default)]
struct Shelf {
    /// By peer, the last used at the end.
    idle: HashMap<u64, Wires>,
    count: usize,
}

impl Kept {
    /// For the runtime that it is called in.
    pub fn new() -> Self {
        let workers = Handle::current().metrics().num_workers().max(1);
        Self {
            connector: TransportConnector::new(None),
            shelves: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// A connection to the peer, and whether it has served a request before.
    ///
    /// # Errors
    /// The engine's, of connecting and of the TLS handshake.
    pub async fn connect(&self, peer: &HttpPeer) -> Result<(Box<Wire>, bool)> {
        if let Some(wire) = self.take(peer) {
            return Ok((wire, true));
        }
        // In a box: it is large, and seldom needed.
        let stream = Box::pin(self.connector.new_stream(peer)).await?;
        Ok((Box::new(Wire::new(stream, peer)), false))
    }

    fn take(&self, peer: &HttpPeer) -> Option<Box<Wire>> {
        let own = worker();
        let hash = peer.reuse_hash();
        (0..self.shelves.len()).find_map(|i| {
            let shelf = &self.shelves[(own + i) % self.shelves.len()];
            loop {
                let mut wire = shelf.lock().take(hash)?;
                if wire.is_to(peer) && wire.is_quiet() {
                    return Some(wire);
                }
            }
        })
    }

    /// Keeps a connection whose answer has come to its end.
    pub fn keep(&self, wire: Box<Wire>, peer: &HttpPeer) {
        let shelf = &self.shelves[worker() % self.shelves.len()];
        let mut shelf = shelf.lock();
        if shelf.count < MAX_IDLE.div_ceil(self.shelves.len()) {
            shelf.count += 1;
            shelf.idle.entry(peer.reuse_hash()).or_default().push(wire);
        }
    }

    /// Ends connections that their upstreams have closed, or that nobody has used for long.
    pub async fn look_after(&self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = looks.tick().await;
            for shelf in &self.shelves {
                let over = shelf.lock().take_over(now);
                // Closing them is not for who holds the lock.
                drop(over);
            }
        }
    }
}

impl Shelf {
    fn take(&mut self, peer: u64) -> Option<Box<Wire>> {
        let wire = self.idle.get_mut(&peer)?.pop()?;
        self.count -= 1;
        Some(wire)
    }

    /// Those that are at their end.
    fn take_over(&mut self, now: Instant) -> Wires {
        let is_over = |wire: &mut Box<Wire>| now - wire.began() >= KEEP_IDLE || !wire.is_quiet();
        let mut over = Vec::new();
        self.idle.retain(|_, idle| {
            over.extend(idle.extract_if(.., is_over));
            !idle.is_empty()
        });
        self.count -= over.len();
        over
    }
}

/// The number of the thread that asks.
fn worker() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.get()
}
