//! Runs the corpus of HTTP/1.1 cases against any proxy, to compare it with ours:
//!
//! `cargo run -p authsome-proxy --example corpus -- HOST:PORT UPSTREAM_PORT [PATH [KEY]]`
//!
//! The proxy at `HOST:PORT` must forward everything to 127.0.0.1:`UPSTREAM_PORT`, where the strict
//! recorder listens meanwhile. `PATH` (default `/v1/app_1`) comes before every path, `KEY` is sent
//! as bearer token. It prints what was wrong, and how much was right.

use std::net::SocketAddr;

#[path = "../tests/it/corpus/mod.rs"]
mod corpus;

use corpus::Names;
use corpus::recorder::Recorder;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let address: Option<SocketAddr> = arguments.next().and_then(|it| it.parse().ok());
    let upstream: Option<u16> = arguments.next().and_then(|it| it.parse().ok());
    let (Some(address), Some(upstream)) = (address, upstream) else {
        eprintln!("usage: corpus HOST:PORT UPSTREAM_PORT [PATH [KEY]]");
        std::process::exit(2);
    };
    let path = arguments.next().unwrap_or_else(|| "/v1/app_1".into());
    let key = arguments.next().unwrap_or_else(|| "none".into());
    let names = Names { path, authorization: format!("Authorization: Bearer {key}\r\n") };
    let recorder = Recorder::start(([127, 0, 0, 1], upstream).into()).await;
    println!("{address} in front of the recorder at {}", recorder.address);
    let score = corpus::run(address, &recorder, &names).await;
    for wrong in &score.wrong {
        println!("{wrong}");
    }
    println!("{} of {} right", score.right, score.total);
    println!("{} of {} of what the RFCs demand", score.right_by_rfc, score.by_rfc);
}
