//! The API behind the proxies that are measured: it answers every request alike, with 1.1 KB of
//! JSON over HTTP/1.1, on connections that it keeps. It reads no bodies.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Bytes of an answer's body.
const BODY: usize = 1_100;

/// It answers until it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Upstream {
    /// Each answer follows `after` its request.
    pub async fn start(after: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, after));
            }
        });
        Ok(Self { address, _task: AbortOnDropHandle::new(task) })
    }
}

/// Until the connection fails or ends.
async fn serve(mut stream: TcpStream, after: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = answer();
    let mut read = Vec::with_capacity(4_096);
    loop {
        while !read.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        read.clear();
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        stream.write_all(&answer).await?;
    }
}

fn answer() -> Vec<u8> {
    let body = format!("{{\"name\":\"{}\"}}", "x".repeat(BODY - 11));
    format!(
        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 06:00:00 GMT\r\nServer: upstream\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nETag: \"1\"\r\n\
         Cache-Control: private\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
