//! HTTP/2 by hand, for clients that no library would play.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Length prefixes of 7 bits, without Huffman's code (RFC 7541, section 5).
fn text(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if text.len() < 127 {
        bytes.push(u8::try_from(text.len()).expect("checked"));
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).expect("small") | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).expect("small"));
    }
    bytes.extend(text);
    bytes
}

/// A field that is spelled out; `indexed` keeps it in the receiver's table.
pub fn field(name: &str, value: &[u8], indexed: bool) -> Vec<u8> {
    let mut bytes = vec![if indexed { 0x40 } else { 0 }];
    bytes.extend(text(name.as_bytes()));
    bytes.extend(text(value));
    bytes
}

/// The pseudo-headers of a request.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    [
        field(":method", method.as_bytes(), false),
        field(":scheme", b"http", false),
        field(":authority", b"api.test", false),
        field(":path", path.as_bytes(), false),
    ]
    .concat()
}

pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    /// Connects and greets. The receiving windows are as large as can be.
    pub async fn to(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let window = 0x7fff_ffff_u32.to_be_bytes();
        let settings = [[0, 4].as_slice(), &window].concat();
        let more = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
        let hello = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &settings),
            frame(SETTINGS, 1, 0, &[]),
            frame(WINDOW_UPDATE, 0, 0, &more),
        ];
        stream.write_all(&hello.concat()).await.expect("sent");
        Self { stream }
    }

    /// Sends as far as it gets; `false` when the other side has had enough.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = timeout(Duration::from_secs(2), self.stream.write_all(bytes)).await;
        !matches!(sent, Ok(Err(_)))
    }

    /// The next frame's type, stream and payload; `None` once it is closed.
    pub async fn frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        let read = timeout(Duration::from_secs(10), self.stream.read_exact(&mut head)).await;
        read.expect("a frame or the end in time").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).expect("small")];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], stream, payload))
    }

    /// Reads until the connection is given up or closed.
    pub async fn is_ended(&mut self) -> bool {
        while let Some((kind, ..)) = self.frame().await {
            if kind == GOAWAY {
                return true;
            }
        }
        true
    }
}
