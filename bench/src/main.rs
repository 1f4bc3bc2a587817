//! `bench`: measures what is built, beside others that do the same job. Each measurement is a
//! module and a subcommand of its own; none of them is a test.

mod instructions;
mod upstream;
mod world;

use clap::{Parser, Subcommand};

/// Measures what is built.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Instructions(instructions::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Instructions(arguments) => instructions::run(&arguments).await,
    }
}
