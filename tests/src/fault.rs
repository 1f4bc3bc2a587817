//! A network that fails: a TCP proxy between two parties that cuts, delays, loses and shortens what
//! passes, as it is told. It knows nothing of what the bytes mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What befalls connections, new and old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Everything passes.
    None,
    /// Nobody seems to listen.
    Refused,
    /// Each piece comes this much later.
    Late(Duration),
    /// What is sent arrives nowhere, and nothing says so.
    Lost,
    /// Whoever connected gets this many bytes across, and then the connection breaks.
    AskedInPart(u64),
    /// What was asked arrives whole; of the answer only so many bytes, and then it breaks.
    AnsweredInPart(u64),
}

/// Listens on a port of its own, in front of one address.
pub struct Link {
    address: String,
    state: Arc<State>,
    accepting: AbortHandle,
}

struct State {
    fault: watch::Sender<Fault>,
    /// Ends every connection that was open before.
    cuts: watch::Sender<u64>,
    broken: AtomicU64,
}

impl Link {
    /// In front of `target`, a host and port. Nothing fails yet.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(State {
            fault: watch::Sender::new(Fault::None),
            cuts: watch::Sender::new(0),
            broken: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, target.to_owned(), state.clone()));
        Self { address, state, accepting: accepting.abort_handle() }
    }

    /// Host and port to connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on this. Connections that have lost bytes can't go on once nothing fails any more,
    /// and end.
    pub fn set(&self, fault: Fault) {
        self.state.fault.send_replace(fault);
        if matches!(fault, Fault::None | Fault::Refused) {
            self.cut();
        }
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Connections that a fault has broken or refused so far.
    pub fn broken(&self) -> u64 {
        self.state.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<State>) {
    loop {
        let (from, _) = listener.accept().await.expect("accepting works");
        if *state.fault.borrow() == Fault::Refused {
            state.broken.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let (target, state) = (target.clone(), state.clone());
        tokio::spawn(async move {
            let mut cuts = state.cuts.subscribe();
            let Ok(to) = TcpStream::connect(target).await else { return };
            let ((asking, answer), (answering, ask)) = (from.into_split(), to.into_split());
            tokio::select! {
                () = pass(asking, ask, &state, true) => {}
                () = pass(answering, answer, &state, false) => {}
                _ = cuts.changed() => {
                    state.broken.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}

/// One direction, until an end is gone or a fault breaks it.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, asks: bool) {
    let mut buffer = vec![0; 16 * 1024];
    // Since the present fault began.
    let mut passed = 0;
    let mut faults = state.fault.subscribe();
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if faults.has_changed().unwrap_or(false) {
            passed = 0;
        }
        let fault = *faults.borrow_and_update();
        let most = match fault {
            Fault::Lost => continue,
            Fault::AskedInPart(most) if asks => most,
            Fault::AnsweredInPart(most) if !asks => most,
            Fault::Late(late) => {
                tokio::time::sleep(late).await;
                u64::MAX
            }
            _ => u64::MAX,
        };
        let part = usize::try_from(most.saturating_sub(passed)).map_or(read, |it| it.min(read));
        if to.write_all(&buffer[..part]).await.is_err() {
            return;
        }
        passed += part as u64;
        if part < read {
            state.broken.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}
