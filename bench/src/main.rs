//! `bench`: measures what is built, beside others that do the same job. Each measurement is a
//! module and a subcommand of its own; none of them is a test. Linux only: it reads `/proc`.

mod control_plane;
mod flood;
mod ground;
mod instructions;
mod keys;
mod load;
mod machine;
mod process;
mod proxies;
mod report;
mod rig;
mod round;
mod scenario;
mod statistics;
mod strict;
mod subject;
mod upstream;
mod world;

#[path = "../../proxy/tests/it/control.rs"]
#[allow(dead_code, reason = "the proxy's tests want more of it")]
mod control;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures AuthSome Cloud beside others that do the same job.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The proxy and its peers, in alternating rounds.
    Proxies(proxies::Arguments),
    Instructions(instructions::Arguments),
    ControlPlane(control_plane::Arguments),
    /// Limits of mode `strict` over those of mode `fast`, on a key in demand.
    Strict(rig::Arguments),
    /// A key out of many over one out of few.
    Keys(keys::Arguments),
    /// Floods of refused calls: what they cost, and what others notice.
    Flood(flood::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Proxies(arguments) => proxies::run(&arguments),
        Command::ControlPlane(arguments) => control_plane::run(&arguments),
        Command::Strict(arguments) => strict::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Flood(arguments) => flood::run(&arguments),
        Command::Instructions(arguments) => {
            tokio::runtime::Runtime::new()?.block_on(instructions::run(&arguments))
        }
    }
}
