//! An upstream that takes nothing but well-formed HTTP/1 and notes every other byte. Its reading is
//! written apart from the proxy's, so that a mistake in one is not repeated in the other. A request
//! that is broken off is no violation: it was never answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

pub struct Recorder {
    pub address: SocketAddr,
    noted: Arc<Noted>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Noted {
    whole: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

/// Why a connection's reading ended.
enum Stop {
    BrokenOff,
    Violation(String),
}

impl Recorder {
    pub async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let noted = Arc::new(Noted::default());
        let task = tokio::spawn(accept(listener, noted.clone()));
        Self { address, noted, _task: AbortOnDropHandle::new(task) }
    }

    /// Whole requests so far.
    pub fn whole(&self) -> usize {
        self.noted.whole.load(Ordering::SeqCst)
    }

    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.noted.violations.lock())
    }
}

async fn accept(listener: TcpListener, noted: Arc<Noted>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("accepting works");
        let noted = noted.clone();
        connections.spawn(async move {
            let mut stream = BufReader::new(stream);
            loop {
                match request(&mut stream).await {
                    Ok((keep, head)) => {
                        noted.whole.fetch_add(1, Ordering::SeqCst);
                        let body = if head { "" } else { "ok" };
                        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
                        if stream.write_all(answer.as_bytes()).await.is_err() || !keep {
                            return;
                        }
                    }
                    Err(Stop::BrokenOff) => return,
                    Err(Stop::Violation(what)) => return noted.violations.lock().push(what),
                }
            }
        });
    }
}

fn violation<T>(what: &str, bytes: &[u8]) -> Result<T, Stop> {
    Err(Stop::Violation(format!("{what}: {}", String::from_utf8_lossy(bytes).escape_debug())))
}

/// A line without its CR LF, which must be there.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>, Stop> {
    let mut line = Vec::new();
    let read = stream.read_until(b'\n', &mut line).await.unwrap_or(0);
    if read == 0 || line.last() != Some(&b'\n') {
        return Err(Stop::BrokenOff);
    }
    line.pop();
    if line.pop() != Some(b'\r') {
        return violation("a line without CR", &line);
    }
    if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return violation("a control byte", &line);
    }
    Ok(line)
}

fn token(bytes: &[u8]) -> bool {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(allowed)
}

/// Reads a request to its end. Tells whether the connection is kept, and whether it was a HEAD.
async fn request(stream: &mut BufReader<TcpStream>) -> Result<(bool, bool), Stop> {
    let first = line(stream).await?;
    let parts: Vec<_> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = *parts else { return violation("a request line", &first) };
    let graphic = target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    let form = target.starts_with(b"/") || target.starts_with(b"http://") || target == b"*";
    if !token(method) || !graphic || !form || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return violation("a request line", &first);
    }
    let mut keep = version == b"HTTP/1.1";
    let (mut hosts, mut length, mut chunked) = (0, None::<u64>, false);
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return violation("a line without a colon", &line);
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !token(name) {
            return violation("a field name", &line);
        }
        match &*name.to_ascii_lowercase() {
            b"host" => hosts += 1,
            b"content-length" => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let number = text.bytes().all(|byte| byte.is_ascii_digit());
                match text.parse() {
                    Ok(parsed) if number && length.is_none() => length = Some(parsed),
                    _ => return violation("a length", &line),
                }
            }
            b"transfer-encoding" if chunked || !value.eq_ignore_ascii_case(b"chunked") => {
                return violation("a coding", &line);
            }
            b"transfer-encoding" => chunked = true,
            b"connection" => keep &= !value.eq_ignore_ascii_case(b"close"),
            _ => {}
        }
    }
    if hosts > 1 || (hosts == 0 && version == b"HTTP/1.1") {
        return violation("not one Host", &first);
    }
    if chunked && (length.is_some() || version == b"HTTP/1.0") {
        return violation("two framings", &first);
    }
    if chunked {
        chunks(stream).await?;
    }
    skip(stream, length.unwrap_or(0)).await?;
    Ok((keep, method == b"HEAD"))
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Result<(), Stop> {
    loop {
        let line = line(stream).await?;
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(size).unwrap_or_default();
        let Some(size) = u64::from_str_radix(text, 16).ok().filter(|_| digits) else {
            return violation("a chunk size", &line);
        };
        if size == 0 {
            break;
        }
        skip(stream, size).await?;
        let end = self::line(stream).await?;
        if !end.is_empty() {
            return violation("a chunk's end", &end);
        }
    }
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            return Ok(());
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        if !token(&line[..colon]) {
            return violation("a trailer", &line);
        }
    }
}

async fn skip(stream: &mut BufReader<TcpStream>, length: u64) -> Result<(), Stop> {
    let copied = tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await;
    if copied.is_ok_and(|copied| copied == length) { Ok(()) } else { Err(Stop::BrokenOff) }
}
