//! Two limits on an upstream's silence, before its answer and within it, where the engine has one
//! for both, the longer here. Where they differ, a watch holds the shorter: it counts from the
//! request's end, or from each piece of the answer, and when it is over time it shuts the
//! connection down under the engine and says that it has.
//!
//! To shut a connection down, a second handle of its socket is kept while the connection lives
//! (idle in the engine's pool too): such applications use two descriptors for each. The engine
//! could be given a wrapped stream instead, but it pools streams by their descriptor, and a wrapped
//! one has none.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::upstreams::peer::{HttpPeer, Tracer, Tracing};
use pingora::{ErrorType, OrErr};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// Second handles of the connections that can be watched, by the engine's descriptor.
#[derive(Debug, Default)]
pub struct Sockets {
    open: Mutex<HashMap<RawFd, Arc<TcpStream>>>,
}

/// One connection's second handle on its way into the table and out of it.
#[derive(Debug, Clone)]
struct Handle {
    sockets: Arc<Sockets>,
    fd: Arc<Mutex<Option<RawFd>>>,
    connecting: Arc<Mutex<Option<Arc<TcpStream>>>>,
}

impl Tracing for Handle {
    fn on_connected(&self) {
        let socket = self.connecting.lock().take();
        if let (Some(fd), Some(socket)) = (*self.fd.lock(), socket) {
            self.sockets.open.lock().insert(fd, socket);
        }
    }

    /// Called before the engine closes its handle, so that the number is not another's yet.
    fn on_disconnected(&self) {
        if let Some(fd) = self.fd.lock().take() {
            self.sockets.open.lock().remove(&fd);
        }
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

impl Sockets {
    /// Has the peer's connection kept here. It is not shared with peers that were not prepared.
    pub fn prepare(self: &Arc<Self>, peer: &mut HttpPeer) {
        let handle =
            Handle { sockets: self.clone(), fd: Arc::default(), connecting: Arc::default() };
        let hooked = handle.clone();
        peer.group_key = peer.group_key.wrapping_add(1);
        peer.options.tracer = Some(Tracer(Box::new(handle)));
        peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(move |socket| {
            let second = socket.as_fd().try_clone_to_owned();
            let second = second.or_err(ErrorType::InternalError, "a second handle of a socket")?;
            *hooked.fd.lock() = Some(socket.as_raw_fd());
            *hooked.connecting.lock() = Some(Arc::new(TcpStream::from(second)));
            Ok(())
        }));
    }

    /// A watch over the connection with this descriptor, not counting yet; `None` when it was not
    /// prepared.
    pub fn watch(&self, fd: RawFd) -> Option<Watch> {
        let socket = Arc::downgrade(self.open.lock().get(&fd)?);
        Some(Watch { socket, counting: None })
    }
}

/// Ends a connection that is silent for too long; watches no more when it is dropped.
#[derive(Debug)]
pub struct Watch {
    socket: Weak<TcpStream>,
    counting: Option<(Arc<Count>, AbortOnDropHandle<()>)>,
}

#[derive(Debug)]
struct Count {
    /// When silence is over time, and after how long it is.
    until: Mutex<(Instant, Duration)>,
    over: AtomicBool,
}

impl Watch {
    /// Silence begins, or begins anew.
    pub fn start(&mut self, limit: Duration) {
        let until = (Instant::now() + limit, limit);
        if let Some((count, _)) = &self.counting {
            *count.until.lock() = until;
            return;
        }
        let count = Arc::new(Count { until: Mutex::new(until), over: AtomicBool::new(false) });
        let task = tokio::spawn(count.clone().run(self.socket.clone()));
        self.counting = Some((count, AbortOnDropHandle::new(task)));
    }

    /// Has the connection been ended?
    pub fn is_over(&self) -> bool {
        self.counting.as_ref().is_some_and(|(count, _)| count.over.load(Ordering::SeqCst))
    }
}

impl Count {
    async fn run(self: Arc<Self>, socket: Weak<TcpStream>) {
        loop {
            let (deadline, _) = *self.until.lock();
            sleep_until(deadline).await;
            // The lock keeps a sign of life from coming between the look and the end.
            let mut until = self.until.lock();
            if until.0 > Instant::now() {
                continue;
            }
            let Some(socket) = socket.upgrade() else { return };
            if socket.peek(&mut [0]).is_ok_and(|waiting| waiting > 0) {
                // It has spoken, and is not read because the client is slow.
                until.0 = Instant::now() + until.1;
                continue;
            }
            self.over.store(true, Ordering::SeqCst);
            let _ = socket.shutdown(Shutdown::Both);
            return;
        }
    }
}
