//! A client that sends exactly the given bytes and reads answers strictly.

use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderMap;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

pub struct Wire {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The error's code.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().expect("a code").to_owned()
    }
}

impl Wire {
    pub async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connected");
        stream.set_nodelay(true).expect("set");
        Self { stream: BufReader::new(stream) }
    }

    pub fn into_inner(self) -> TcpStream {
        self.stream.into_inner()
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// Sends as far as the other side lets us.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    pub async fn get(&mut self, target: &str, key: &str) -> Answer {
        self.ask("GET", target, &format!("Authorization: Bearer {key}\r\n"), "").await
    }

    /// `headers` are whole lines.
    pub async fn ask(&mut self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        self.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: api.test\r\n{headers}{length}\r\n{body}"
        ))
        .await;
        self.answer_to(method).await
    }

    pub async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    async fn answer_to(&mut self, method: &str) -> Answer {
        timeout(LIMIT, self.read(method)).await.expect("an answer in time").expect("an answer")
    }

    async fn read(&mut self, method: &str) -> Option<Answer> {
        let line = self.line().await?;
        let status: u16 = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a field");
            let name: http::HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        let mut body = Vec::new();
        if method == "HEAD" || status == 204 || status == 304 || status == 101 {
        } else if headers.get("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16).expect("a size");
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..]).await.ok()?;
                assert_eq!(self.line().await?, "");
                if size == 0 {
                    break;
                }
            }
        } else {
            let length = headers.get("content-length").expect("a length or chunks");
            body.resize(length.to_str().expect("text").parse().expect("a number"), 0);
            self.stream.read_exact(&mut body).await.ok()?;
        }
        Some(Answer { status, headers, body })
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.ok()?;
        (read > 0).then(|| line.trim_end_matches("\r\n").to_owned())
    }

    /// Whether the other side has closed; an answer that comes instead is a failure.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match timeout(LIMIT, self.stream.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(_)) => panic!("more came"),
            Err(_) => false,
        }
    }
}
