//! Sends bytes and reads statuses. It knows as much of HTTP as it takes to tell one answer from the
//! next; what it can't read is status 999, silence where an answer was due is status 0.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;

const SILENCE: Duration = Duration::from_secs(4);

/// The statuses of all final answers until the other side closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8], due: usize, ends: bool) -> Vec<u16> {
    let stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    let (reader, mut writer) = stream.into_split();
    let bytes = bytes.to_vec();
    let head_only = bytes.starts_with(b"HEAD ");
    let sending = tokio::spawn(async move {
        // It may be refused before it is all sent.
        let _ = writer.write_all(&bytes).await;
        if ends {
            let _ = writer.shutdown().await;
        }
        writer
    });
    let mut reader = BufReader::new(reader);
    let mut statuses = Vec::new();
    let mut silent = false;
    // What is due first, then anything more until it closes.
    while statuses.len() < due {
        match timeout(SILENCE, answer(&mut reader, head_only)).await {
            Ok(Some(status)) => statuses.push(status),
            Ok(None) => return statuses,
            Err(_) => {
                silent = true;
                break;
            }
        }
    }
    if let Ok(mut writer) = sending.await {
        let _ = writer.shutdown().await;
    }
    while let Ok(Some(status)) = timeout(SILENCE, answer(&mut reader, head_only)).await {
        statuses.push(status);
    }
    if silent {
        statuses.push(0);
    }
    statuses
}

/// The next final answer; `None` at the end.
async fn answer(reader: &mut BufReader<OwnedReadHalf>, head_only: bool) -> Option<u16> {
    loop {
        let line = line(reader).await?;
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|status| status.parse().ok());
        let Some(status) = status else { return Some(999) };
        let mut length = None;
        let mut chunked = false;
        loop {
            let line = self::line(reader).await?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok();
            }
            chunked |= line.starts_with("transfer-encoding:");
        }
        if status < 200 {
            continue;
        }
        if head_only {
            return Some(status);
        }
        if chunked {
            loop {
                let size = usize::from_str_radix(&self::line(reader).await?, 16).ok()?;
                skip(reader, size + 2).await?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = length {
            skip(reader, length).await?;
        } else {
            let mut rest = Vec::new();
            let _ = reader.read_to_end(&mut rest).await;
        }
        return Some(status);
    }
}

async fn skip(reader: &mut BufReader<OwnedReadHalf>, length: usize) -> Option<()> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).await.ok().map(drop)
}

async fn line(reader: &mut BufReader<OwnedReadHalf>) -> Option<String> {
    let mut line = Vec::new();
    let read = reader.read_until(b'\n', &mut line).await.ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}
