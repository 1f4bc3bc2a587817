//! `authsome admin grant|revoke|list`: who is an admin of the platform, on its database itself, so
//! that it works when nobody is one yet. It needs no key, and changes nothing else. A running
//! control plane knows at once.
//!
//! An address without an account, and a folder without a platform, are errors; exit code 1.

use anyhow::bail;
use authsome_control_plane::app::App;
use authsome_control_plane::identity::admin;
use clap::{Args, Subcommand};

use crate::database::Platform;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    platform: Platform,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the account of this address a platform admin.
    Grant { email: String },
    /// Make it an ordinary account again.
    Revoke { email: String },
    /// Say who is one.
    List,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.platform.with(async |app| act(app, &arguments.action).await)
}

async fn act(app: &App, action: &Action) -> anyhow::Result<()> {
    let mut tx = app.db.write().await?;
    match action {
        Action::Grant { email } => {
            if !admin::set(&mut tx, email, true, "cli").await? {
                bail!("there is no account with the address {email}: register it first");
            }
            println!("{email} is a platform admin");
        }
        Action::Revoke { email } => {
            if !admin::set(&mut tx, email, false, "cli").await? {
                bail!("there is no account with the address {email}");
            }
            println!("{email} is no platform admin");
        }
        Action::List => {}
    }
    let admins = admin::all(&mut tx).await?;
    tx.commit().await?;
    if admins.is_empty() {
        eprintln!("nobody is a platform admin; `authsome admin grant EMAIL` makes one");
    } else if matches!(action, Action::List) {
        for account in admins {
            let disabled = if account.disabled_at.is_some() { "  (disabled)" } else { "" };
            println!("{}  {}{disabled}", account.id, account.email);
        }
    }
    Ok(())
}
