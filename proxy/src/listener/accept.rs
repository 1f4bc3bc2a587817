//! Accepting: for as long as it is asked for, and again after an upgrade that failed. It decides
//! only whether there is room for a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pingora::server::ShutdownWatch;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Listener, Shared, Socket};
use crate::tls::Tls;

/// Most connections that the system holds for one socket before they are accepted.
const BACKLOG: usize = 4096;

/// What accepts now.
pub struct Accepting {
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Listener {
    /// Begins to accept, unless it does already.
    pub fn accept(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        let stop = CancellationToken::new();
        let shutdown = self.announce.subscribe();
        let accept = |socket: &Socket| {
            let shared = self.shared.clone();
            tokio::spawn(shared.accept(socket.clone(), shutdown.clone(), stop.clone()))
        };
        let tasks = self.sockets.iter().map(accept).map(AbortOnDropHandle::new).collect();
        self.accepting = Some(Accepting { stop, tasks });
    }

    /// Accepts no more. What waits to be accepted is left to whoever else has the sockets.
    pub async fn stop_accepting(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        accepting.stop.cancel();
        for task in accepting.tasks {
            let _ = task.await;
        }
    }

    /// Takes up what has connected and is not accepted yet, because the sockets will be closed.
    pub(super) fn take_up_waiting(&self) {
        for socket in &self.sockets {
            if let Err(error) = self.take_up_waiting_at(socket) {
                tracing::debug!(%error, "what waits can't be accepted");
            }
        }
    }

    /// Asks the system itself: what the runtime knows of a socket may be older.
    fn take_up_waiting_at(&self, socket: &Socket) -> io::Result<()> {
        use std::os::fd::AsFd;
        let second = socket.listener.as_fd().try_clone_to_owned()?;
        let second = std::net::TcpListener::from(second);
        let shutdown = self.announce.subscribe();
        for _ in 0..BACKLOG {
            let (stream, peer) = match second.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let stream = TcpStream::from_std(stream)?;
            self.shared.clone().take_up(stream, peer, socket.tls.clone(), &shutdown);
        }
        Ok(())
    }
}

impl Shared {
    async fn accept(
        self: Arc<Self>,
        socket: Socket,
        shutdown: ShutdownWatch,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = socket.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.clone().take_up(stream, peer, socket.tls.clone(), &shutdown);
                }
                Err(error) => {
                    // Out of descriptors, most likely: others may close some.
                    tracing::error!(%error, "can't accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Serves a connection in a task of its own, or closes it at once when there is no room.
    fn take_up(
        self: Arc<Self>,
        stream: TcpStream,
        peer: std::net::SocketAddr,
        tls: Option<Arc<Tls>>,
        shutdown: &ShutdownWatch,
    ) {
        let slot = match self.slots.take(peer.ip()) {
            Ok(slot) => slot,
            Err(full) => {
                let refused = &self.refusals.metrics.connections_refused;
                return refused.with_label_values(&[full.as_str()]).inc();
            }
        };
        let kill = self.kill.clone();
        let connections = self.connections.clone();
        let serving = self.serve(stream, peer, tls, shutdown.clone());
        connections.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = serving => {}
                () = kill.cancelled() => {}
            }
        });
    }
}
