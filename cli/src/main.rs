//! `authsome`: the platform's command line. `authsome up` runs both planes in one process;
//! `authsome explain` says what decided a request, `authsome audit verify` whether the audit log is
//! as it was written, `authsome admin` who is an admin of the platform, `authsome reconcile`
//! whether a month adds up, `authsome plan` and `authsome coupon` what things cost,
//! `authsome invoice` who has paid.

mod admin;
mod audit;
mod coupon;
mod database;
mod explain;
mod invoice;
mod plan;
mod reconcile;
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
    /// Say which key, limit, configuration and upstream decided a request, and why.
    Explain(explain::Arguments),
    /// Check the audit log.
    Audit(audit::Arguments),
    /// Say who is an admin of the platform, and make or unmake one.
    Admin(admin::Arguments),
    /// Check that a month adds up, from the ledger to the invoices.
    Reconcile(reconcile::Arguments),
    /// Say what the plans include and cost, and change them.
    Plan(plan::Arguments),
    /// Make coupons, and say which there are.
    Coupon(coupon::Arguments),
    /// Say which invoices there are, and settle them.
    Invoice(invoice::Arguments),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Up(arguments) => up::run(arguments).map(|()| ExitCode::SUCCESS),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Admin(arguments) => admin::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Reconcile(arguments) => reconcile::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Coupon(arguments) => coupon::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Invoice(arguments) => invoice::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("authsome: {error:#}");
            ExitCode::FAILURE
        }
    }
}
