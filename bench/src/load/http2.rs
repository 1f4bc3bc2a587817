//! HTTP/2: several calls at once on each connection, as a browser or a service makes them.

use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::closed::{HOST, Shared};
use super::{Load, Random};

/// Calls at once on one connection.
pub const STREAMS: usize = 8;

/// Call after call until the connection ends.
pub async fn calls(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    load: &Load,
    random: &mut Random,
    tally: &Shared,
) -> anyhow::Result<()> {
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::task::spawn_local(connection);
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..STREAMS {
        let (client, load, tally) = (client.clone(), load.clone(), tally.clone());
        let random = Random::new(random.below(usize::MAX) as u64 + n as u64);
        callers.spawn_local(async move { caller(client, &load, random, &tally).await });
    }
    let ended = callers.join_next().await.context("there are callers")??;
    connection.abort();
    ended
}

async fn caller(
    client: h2::client::SendRequest<Bytes>,
    load: &Load,
    mut random: Random,
    tally: &Shared,
) -> anyhow::Result<()> {
    let uri = format!("https://{HOST}{}", load.path);
    let mut client = client.ready().await?;
    loop {
        let began = Instant::now();
        let key = &load.keys[random.below(load.keys.len())];
        let request = Request::builder()
            .version(Version::HTTP_2)
            .uri(&uri)
            .header("user-agent", "bench/1")
            .header("accept", "application/json")
            .header("authorization", format!("Bearer {key}"))
            .body(())?;
        let (response, _) = client.send_request(request, true)?;
        let response = response.await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(piece) = body.data().await {
            let piece = piece?;
            length += piece.len();
            body.flow_control().release_capacity(piece.len())?;
        }
        tally.borrow_mut().answered(status, began.elapsed(), length);
        client = client.ready().await?;
    }
}
