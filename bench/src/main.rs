//! `bench`: measures what is built, beside others that do the same job. Each measurement is a
//! module and a subcommand of its own; none of them is a test.

mod control_plane;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures AuthSome Cloud.
#[derive(Debug, Parser)]
enum Command {
    ControlPlane(control_plane::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::ControlPlane(arguments) => control_plane::run(&arguments),
    }
}
