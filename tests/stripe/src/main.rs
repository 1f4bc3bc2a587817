//! The stand-in as a program: `stripe-stand-in --listen 127.0.0.1:12111`.

use std::future;
use std::net::SocketAddr;

use authsome_shared::clock::Clock;
use clap::Parser;
use stripe_stand_in::{SECRET_KEY, StandIn};

/// A stand-in for Stripe's API, for tests.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:12111")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let Arguments { listen } = Arguments::parse();
    let stand_in = StandIn::start_at(listen, Clock::system()).await?;
    println!("{} takes the key {SECRET_KEY}", stand_in.url());
    future::pending().await
}
