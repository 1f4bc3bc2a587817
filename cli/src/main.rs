//! `authsome`: the platform's command line. `authsome up` runs both planes in one process.

mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// AuthSome Cloud: keys, limits, quotas and metering in front of your HTTP API.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start control plane and proxy together, with a demo application on the first run.
    Up(up::Arguments),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Up(arguments) => up::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("authsome: {error:#}");
            ExitCode::FAILURE
        }
    }
}
