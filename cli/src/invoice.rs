//! `authsome invoice list|pay|void`: the invoices of all workspaces, on the platform's database
//! itself, with the rules of the API. An invoice is named by its number or its id.
//!
//! What can't be, such as paying a draft, is refused with the reason; exit code 1.

use anyhow::{Context, bail};
use authsome_control_plane::app::App;
use authsome_control_plane::billing::invoice::settle::By;
use authsome_control_plane::billing::invoice::{Filter, Invoice, Status, overseen, store};
use authsome_control_plane::db::Tx;
use authsome_control_plane::http::control::InvoiceBody;
use authsome_control_plane::page::PageParams;
use authsome_control_plane::period::Period;
use authsome_shared::id::{InvoiceId, WorkspaceId};
use clap::{Args, Subcommand, ValueEnum};

use crate::database::{Platform, print_table, whole};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    platform: Platform,
    /// For scripts: JSON, as the API writes it.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say which invoices there are, the newest month first.
    List(List),
    /// Note that an invoice was paid.
    Pay {
        /// Its number or id.
        invoice: String,
        /// How, such as a bank's reference; for the audit log.
        #[arg(long, value_name = "TEXT")]
        reference: Option<String>,
    },
    /// Void an invoice that was a mistake: nothing of it is owed.
    Void {
        /// Its number or id.
        invoice: String,
        /// Why; for the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct List {
    #[arg(long, value_enum)]
    status: Option<State>,
    /// The month, such as 2026-01.
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    #[arg(long, value_name = "ID")]
    workspace: Option<WorkspaceId>,
    /// Of a hundred each.
    #[arg(long, value_name = "N", default_value_t = 1)]
    page: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Draft,
    Pending,
    Paid,
    Failed,
    Void,
}

impl From<State> for Status {
    fn from(state: State) -> Self {
        match state {
            State::Draft => Self::Draft,
            State::Pending => Self::Pending,
            State::Paid => Self::Paid,
            State::Failed => Self::Failed,
            State::Void => Self::Void,
        }
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let json = arguments.json;
    arguments.platform.with(async |app| match &arguments.action {
        Action::List(filter) => list(app, filter, json).await,
        Action::Pay { invoice, reference } => {
            let mut tx = app.db.write().await?;
            let id = named(&mut tx, invoice).await?;
            let reference = reference.as_deref();
            let paid = overseen::pay(&mut tx, By::CommandLine, &id, reference).await;
            let paid = paid.map_err(whole)?;
            tx.commit().await?;
            told(app, paid, json)
        }
        Action::Void { invoice, reason } => {
            let mut tx = app.db.write().await?;
            let id = named(&mut tx, invoice).await?;
            let void = overseen::void(&mut tx, By::CommandLine, &id, reason).await;
            let void = void.map_err(whole)?;
            tx.commit().await?;
            told(app, void, json)
        }
    })
}

/// The id of what was named by id or number.
async fn named(tx: &mut Tx, name: &str) -> anyhow::Result<InvoiceId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let filter = Filter { number: Some(name.to_owned()), ..Filter::default() };
    let found = store::list(tx, &filter, PageParams::default()).await?;
    let invoice = found.data.into_iter().next();
    Ok(invoice.with_context(|| format!("there is no invoice {name}"))?.id)
}

fn told(app: &App, invoice: Invoice, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(&InvoiceBody::new(app, invoice))?);
    } else {
        println!("{} is {}", invoice.name(), invoice.status.as_str());
    }
    Ok(())
}

async fn list(app: &App, asked: &List, as_json: bool) -> anyhow::Result<()> {
    if let Some(period) = asked.period.as_deref().filter(|it| Period::parse(it).is_none()) {
        bail!("{period:?} is no month such as 2026-01");
    }
    let filter = Filter {
        workspace_id: asked.workspace.clone(),
        status: asked.status.map(Into::into),
        period: asked.period.clone(),
        number: None,
    };
    let mut tx = app.db.read().await?;
    let params = PageParams { page: asked.page, page_size: 100 };
    let found = store::list(&mut tx, &filter, params).await?;
    if as_json {
        let page = found.map(|invoice| InvoiceBody::new(app, invoice));
        println!("{}", serde_json::to_string_pretty(&page)?);
        return Ok(());
    }
    if found.total == 0 {
        eprintln!("there are no such invoices");
        return Ok(());
    }
    let now = app.clock.now();
    let row = |invoice: &Invoice| {
        let late = if invoice.is_past_due(now) { ", past due" } else { "" };
        vec![
            invoice.number.clone().unwrap_or_else(|| invoice.id.to_string()),
            invoice.period.clone(),
            invoice.workspace_id.to_string(),
            invoice.currency.format(invoice.total),
            invoice.currency.format(if invoice.status.is_open() { invoice.amount_due } else { 0 }),
            invoice.due_at.map_or_else(String::new, |due| due.format("%Y-%m-%d").to_string()),
            format!("{}{late}", invoice.status.as_str()),
        ]
    };
    let rows: Vec<Vec<String>> = found.data.iter().map(row).collect();
    print_table(&["INVOICE", "MONTH", "WORKSPACE", "TOTAL", "OPEN", "DUE", "STATUS"], &rows);
    let shown = i64::from(asked.page.max(1)) * 100;
    if shown < found.total {
        eprintln!("{} more: --page {}", found.total - shown, asked.page.max(1) + 1);
    }
    Ok(())
}
