//! How a running process hands over to a new one, in an upgrade: a socket pair, of which the new
//! process finds its end as standard input. The old one sends its listening sockets and the lock of
//! the data directory along with the first message, so that neither is ever let go; then both
//! speak in turn:
//!
//! | the old process | the new process |
//! |---|---|
//! | `Offer`, with the sockets | reads settings, certificates and the configuration on disk |
//! | | `Prepared` |
//! | stops writing to the data directory, `Frozen` | reads what has come since, opens its journal, |
//! | | follows the control plane, |
//! | | `Ready` |
//! | stops accepting, `State` | takes up limits and quotas, accepts |
//! | | `Serving` |
//! | `Done`, drains | ships and acknowledges |
//!
//! Until `Serving` the old one can go back; a new process that fails says why in `Failed`, or
//! just ends. Who does what when is `upgrade`'s; this is the line between them.

mod sockets;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use authsome_shared::id::{KeyId, PlatformId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::limit::quota::Count;

/// Changes when a release can no longer understand what another one says here.
pub const FORMAT: u32 = 1;

/// The flag that tells a process that standard input is such a socket. For the proxy's own use.
pub const FLAG: &str = "--take-over";

/// Longest message; a million buckets are 50 MB.
const MAX_MESSAGE: u32 = 1 << 30;

/// How often it is looked whether the new process has ended.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Message {
    Offer(Offer),
    Prepared,
    Failed { error: String },
    Frozen(Frozen),
    Ready,
    State(State),
    Serving,
    Done,
}

/// First message; descriptors come with it: the lock, then one for each socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    pub format: u32,
    pub pid: u32,
    /// The release of the process that hands over.
    pub version: String,
    pub data_dir: PathBuf,
    /// The listening sockets, by the addresses in the settings: there a port may be 0.
    pub sockets: Vec<SocketAddr>,
}

/// Up to where the configuration goes that the old process decides by, and that the new one must
/// know at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    pub platform: Option<PlatformId>,
    pub revision: u64,
}

/// What is known in memory only.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Of the configuration that the last accepted connections were decided by.
    #[serde(default)]
    pub revision: u64,
    #[serde(default)]
    pub quotas: Vec<Count>,
    #[serde(default)]
    pub buckets: Vec<(KeyId, u64)>,
}

async fn send(stream: &mut UnixStream, message: &Message) -> anyhow::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|it| *it <= MAX_MESSAGE);
    stream.write_u32(length.context("the message is too long")?).await?;
    stream.write_all(&json).await?;
    Ok(())
}

/// `None` when the other end has gone.
async fn receive(stream: &mut UnixStream) -> anyhow::Result<Option<Message>> {
    let length = match stream.read_u32().await {
        Ok(length) => length,
        Err(error) if is_end(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    ensure!(length <= MAX_MESSAGE, "the other process sent a message that is too long");
    let mut json = vec![0; length as usize];
    match stream.read_exact(&mut json).await {
        Ok(_) => {}
        Err(error) if is_end(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let message = serde_json::from_slice(&json);
    message.map(Some).context("the other process's message can't be understood")
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::UnexpectedEof | E::ConnectionReset | E::BrokenPipe)
}

/// The new process, as the old one sees it. It is killed when dropped before it is released.
pub struct Successor {
    child: Child,
    released: bool,
    stream: UnixStream,
}

impl Successor {
    /// Starts it, and sends the offer.
    pub fn start(
        program: &mut Command,
        offer: Offer,
        descriptors: &[BorrowedFd<'_>],
    ) -> anyhow::Result<Self> {
        let (ours, theirs) = StdStream::pair().context("no socket pair")?;
        sockets::send(&ours, &serde_json::to_vec(&Message::Offer(offer))?, descriptors)
            .context("the sockets can't be handed over")?;
        let path = program.get_program().to_owned();
        let child = program
            .arg(FLAG)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .with_context(|| format!("can't start {}", path.display()))?;
        // The command keeps the other end open otherwise, and its closing would not be seen.
        program.stdin(Stdio::null());
        ours.set_nonblocking(true)?;
        let stream = UnixStream::from_std(ours)?;
        Ok(Self { child, released: false, stream })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn send(&mut self, message: &Message) -> anyhow::Result<()> {
        send(&mut self.stream, message).await.context("the new process has gone")
    }

    /// Waits for its next message; an error says why there is none.
    pub async fn receive(&mut self) -> anyhow::Result<Message> {
        match receive(&mut self.stream).await? {
            Some(Message::Failed { error }) => bail!("the new process says: {error}"),
            Some(message) => Ok(message),
            None => {
                let status = self.ended().await?;
                bail!("the new process ended ({status}); what it wrote says why")
            }
        }
    }

    async fn ended(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// It serves: let it live.
    pub fn release(&mut self) {
        self.released = true;
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.released {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The old process, as the new one sees it.
pub struct Predecessor {
    stream: UnixStream,
    offer: Offer,
    lock: Option<OwnedFd>,
    sockets: Vec<(SocketAddr, OwnedFd)>,
}

impl Predecessor {
    /// Takes the offer from standard input, and that away from everybody else.
    pub fn from_stdin() -> anyhow::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Self::from_stream(StdStream::from(stdin))
    }

    fn from_stream(stream: StdStream) -> anyhow::Result<Self> {
        let (json, mut descriptors) = sockets::receive(&stream, MAX_MESSAGE)
            .with_context(|| format!("{FLAG} is only for a proxy that starts its successor"))?;
        let Message::Offer(offer) =
            serde_json::from_slice(&json).context("the offer can't be understood")?
        else {
            bail!("the running proxy offered nothing");
        };
        ensure!(
            offer.format == FORMAT,
            "the running proxy ({}) hands over in a way that this release does not know; restart it",
            offer.version
        );
        ensure!(descriptors.len() == offer.sockets.len() + 1, "the offer lacks sockets");
        let lock = Some(descriptors.remove(0));
        let sockets = offer.sockets.iter().copied().zip(descriptors).collect();
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, offer, lock, sockets })
    }

    /// The data directory's lock, if it is the one of `data_dir`.
    pub fn lock(&mut self, data_dir: &Path) -> anyhow::Result<std::fs::File> {
        let theirs = &self.offer.data_dir;
        let same = data_dir.canonicalize().is_ok_and(|ours| ours == *theirs);
        ensure!(
            same,
            "server.data_dir has changed from {} to {}: that needs a restart",
            theirs.display(),
            data_dir.display()
        );
        Ok(self.lock.take().context("the lock has been taken")?.into())
    }

    /// The socket that listens on an address of the settings, if there is one.
    pub fn socket(&mut self, address: SocketAddr) -> Option<std::net::TcpListener> {
        let at = self.sockets.iter().position(|(theirs, _)| *theirs == address)?;
        Some(self.sockets.remove(at).1.into())
    }

    /// The process that hands over.
    pub fn pid(&self) -> u32 {
        self.offer.pid
    }

    async fn say(&mut self, message: &Message) -> anyhow::Result<()> {
        send(&mut self.stream, message).await.context("the running proxy has gone")
    }

    async fn hear(&mut self) -> anyhow::Result<Message> {
        receive(&mut self.stream).await?.context("the running proxy has called it off")
    }

    /// Everything could be read. Waits until the data directory may be written to.
    pub async fn prepared(&mut self) -> anyhow::Result<Frozen> {
        self.say(&Message::Prepared).await?;
        match self.hear().await? {
            Message::Frozen(frozen) => Ok(frozen),
            other => bail!("the running proxy spoke out of turn: {other:?}"),
        }
    }

    /// Nothing is left to do. Waits until connections may be accepted.
    pub async fn ready(&mut self) -> anyhow::Result<State> {
        self.say(&Message::Ready).await?;
        match self.hear().await? {
            Message::State(state) => Ok(state),
            _ => bail!("the running proxy spoke out of turn"),
        }
    }

    /// Connections are accepted. Returns when the other process won't come back, whatever
    /// became of it.
    pub async fn serving(mut self) {
        if self.say(&Message::Serving).await.is_ok() {
            let _ = self.hear().await;
        }
    }

    /// Says why it can't be.
    pub async fn failed(&mut self, error: &anyhow::Error) {
        let _ = self.say(&Message::Failed { error: format!("{error:#}") }).await;
    }
}
