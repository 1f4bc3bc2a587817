//! The invoices' SQL.

use authsome_shared::id::{CreditNoteId, InvoiceId, PendingItemId, WorkspaceId};
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;

use super::{Filter, Invoice, Status, StoredLine};
use crate::billing::price::Line;
use crate::db::Tx;
use crate::error::Result;
use crate::page::{Page, PageParams};
use crate::workspaces::subscription;
use crate::{execute, fetch_all, fetch_one, fetch_optional};

/// As it is.
pub async fn by_id(tx: &mut Tx, id: &InvoiceId) -> Result<Option<Invoice>> {
    Ok(fetch_optional!(tx, sqlx::query_as("select * from invoices where id = $1").bind(id))?)
}

/// To be changed: with its workspace held, which alone guards all of the workspace's bills.
pub async fn hold(tx: &mut Tx, id: &InvoiceId) -> Result<Option<Invoice>> {
    let Some(invoice) = by_id(tx, id).await? else { return Ok(None) };
    subscription::hold(tx, &invoice.workspace_id).await?;
    by_id(tx, id).await
}

/// The month's.
pub async fn of_period(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: &str,
) -> Result<Option<Invoice>> {
    Ok(fetch_optional!(
        tx,
        sqlx::query_as("select * from invoices where workspace_id = $1 and period = $2")
            .bind(workspace)
            .bind(period)
    )?)
}

pub async fn list(tx: &mut Tx, filter: &Filter, page: PageParams) -> Result<Page<Invoice>> {
    const FROM: &str = "from invoices where (cast($1 as text) is null or workspace_id = $1) \
         and (cast($2 as text) is null or status = $2) \
         and (cast($3 as text) is null or period = $3) \
         and (cast($4 as text) is null or number = $4)";
    let count = format!("select count(*) {FROM}");
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(AssertSqlSafe(count.clone()))
            .bind(&filter.workspace_id)
            .bind(filter.status)
            .bind(&filter.period)
            .bind(&filter.number)
    )?;
    let select = format!("select * {FROM} order by period desc, id desc limit $5 offset $6");
    let rows = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(select.clone()))
            .bind(&filter.workspace_id)
            .bind(filter.status)
            .bind(&filter.period)
            .bind(&filter.number)
            .bind(page.limit())
            .bind(page.offset())
    )?;
    Ok(page.of(rows, total))
}

/// In the order in which they are read.
pub async fn lines(tx: &mut Tx, id: &InvoiceId) -> Result<Vec<StoredLine>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as("select * from invoice_lines where invoice_id = $1 order by position")
            .bind(id)
    )?)
}

/// Inserts or replaces; its lines are apart.
pub async fn put(tx: &mut Tx, invoice: &Invoice) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into invoices (id, workspace_id, period, number, status, currency, subtotal, \
             discount, tax, total, balance_applied, credited, amount_due, parties, collector, \
             failure, finalize_at, created_at, finalized_at, due_at, paid_at, voided_at, \
             dunning_step, dunning_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
             $18, $19, $20, $21, $22, $23, $24, $25) \
             on conflict (id) do update set number = excluded.number, status = excluded.status, \
             currency = excluded.currency, subtotal = excluded.subtotal, \
             discount = excluded.discount, tax = excluded.tax, total = excluded.total, \
             balance_applied = excluded.balance_applied, credited = excluded.credited, \
             amount_due = excluded.amount_due, parties = excluded.parties, \
             collector = excluded.collector, failure = excluded.failure, \
             finalized_at = excluded.finalized_at, due_at = excluded.due_at, \
             paid_at = excluded.paid_at, voided_at = excluded.voided_at, \
             dunning_step = excluded.dunning_step, dunning_at = excluded.dunning_at, \
             updated_at = excluded.updated_at"
        )
        .bind(&invoice.id)
        .bind(&invoice.workspace_id)
        .bind(&invoice.period)
        .bind(&invoice.number)
        .bind(invoice.status)
        .bind(invoice.currency.as_str())
        .bind(invoice.subtotal)
        .bind(invoice.discount)
        .bind(invoice.tax)
        .bind(invoice.total)
        .bind(invoice.balance_applied)
        .bind(invoice.credited)
        .bind(invoice.amount_due)
        .bind(&invoice.parties)
        .bind(invoice.collector)
        .bind(&invoice.failure)
        .bind(invoice.finalize_at)
        .bind(invoice.created_at)
        .bind(invoice.finalized_at)
        .bind(invoice.due_at)
        .bind(invoice.paid_at)
        .bind(invoice.voided_at)
        .bind(invoice.dunning_step)
        .bind(invoice.dunning_at)
        .bind(invoice.updated_at)
    )?;
    Ok(())
}

/// Removes a draft.
pub async fn delete(tx: &mut Tx, id: &InvoiceId) -> Result<()> {
    execute!(
        tx,
        sqlx::query("delete from invoices where id = $1 and status = $2")
            .bind(id)
            .bind(Status::Draft)
    )?;
    Ok(())
}

/// Replaces the lines.
pub async fn put_lines(tx: &mut Tx, id: &InvoiceId, lines: &[Line]) -> Result<()> {
    execute!(tx, sqlx::query("delete from invoice_lines where invoice_id = $1").bind(id))?;
    for (position, line) in lines.iter().enumerate() {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        execute!(
            tx,
            sqlx::query(
                "insert into invoice_lines (invoice_id, position, kind, item, description, \
                 starts_at, ends_at, quantity, unit_micros, share_of, share_in, rate_micros, \
                 amount) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
            )
            .bind(id)
            .bind(position)
            .bind(line.kind)
            .bind(&line.item)
            .bind(&line.description)
            .bind(line.starts_at)
            .bind(line.ends_at)
            .bind(line.quantity)
            .bind(line.unit_micros)
            .bind(line.share.map(|(of, _)| of))
            .bind(line.share.map(|(_, whole)| whole))
            .bind(line.rate_micros)
            .bind(line.amount)
        )?;
    }
    Ok(())
}

/// Drafts that are to be made final by now.
pub async fn drafts_due(tx: &mut Tx, limit: i64) -> Result<Vec<InvoiceId>> {
    let now = tx.now();
    let rows: Vec<(InvoiceId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select id from invoices where status = 'draft' and finalize_at <= $1 \
             order by finalize_at, id limit $2"
        )
        .bind(now)
        .bind(limit)
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Those that dunning must look at by now.
pub async fn dunning_due(tx: &mut Tx, limit: i64) -> Result<Vec<InvoiceId>> {
    let now = tx.now();
    let rows: Vec<(InvoiceId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select id from invoices where dunning_at is not null and dunning_at <= $1 \
             order by dunning_at, id limit $2"
        )
        .bind(now)
        .bind(limit)
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// When the next draft is final, or dunning has something to do.
pub async fn next_due(tx: &mut Tx) -> Result<Option<DateTime<Utc>>> {
    let (draft, dunning): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = fetch_one!(
        tx,
        sqlx::query_as(
            "select (select min(finalize_at) from invoices where status = 'draft'), \
             (select min(dunning_at) from invoices where dunning_at is not null)"
        )
    )?;
    Ok([draft, dunning].into_iter().flatten().min())
}

/// How many of a workspace's are unpaid after their due date.
pub async fn past_due(tx: &mut Tx, workspace: &WorkspaceId) -> Result<i64> {
    let now = tx.now();
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from invoices where workspace_id = $1 \
             and status in ('pending', 'failed') and due_at <= $2"
        )
        .bind(workspace)
        .bind(now)
    )?;
    Ok(count)
}

/// A charge that waits for the next invoice.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct PendingItem {
    pub id: PendingItemId,
    pub workspace_id: WorkspaceId,
    /// The month that it belongs to; `None` for a charge of the operator's.
    pub period: Option<String>,
    pub item: String,
    pub description: String,
    pub amount: i64,
    /// Settled by it instead of by an invoice.
    pub credit_note_id: Option<CreditNoteId>,
    pub created_at: DateTime<Utc>,
}

pub async fn add_item(tx: &mut Tx, item: &PendingItem) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "insert into pending_items \
             (id, workspace_id, period, item, description, amount, credit_note_id, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)"
        )
        .bind(&item.id)
        .bind(&item.workspace_id)
        .bind(&item.period)
        .bind(&item.item)
        .bind(&item.description)
        .bind(item.amount)
        .bind(&item.credit_note_id)
        .bind(item.created_at)
    )?;
    Ok(())
}

/// What waits for the workspace's next invoice, oldest first.
pub async fn pending(tx: &mut Tx, workspace: &WorkspaceId) -> Result<Vec<PendingItem>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select * from pending_items where workspace_id = $1 and invoice_id is null \
             and credit_note_id is null order by created_at, id"
        )
        .bind(workspace)
    )?)
}

/// What was charged or credited of a month after it was invoiced, by item.
pub async fn adjusted(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    period: &str,
) -> Result<Vec<(String, i64)>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select item, cast(sum(amount) as bigint) from pending_items \
             where workspace_id = $1 and period = $2 group by item order by item"
        )
        .bind(workspace)
        .bind(period)
    )?)
}

/// What was put onto an invoice of what waited for it.
pub async fn taken(tx: &mut Tx, invoice: &InvoiceId) -> Result<i64> {
    let (sum,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select cast(coalesce(sum(amount), 0) as bigint) from pending_items \
             where invoice_id = $1"
        )
        .bind(invoice)
    )?;
    Ok(sum)
}

/// They are on the invoice now.
pub async fn take_items(tx: &mut Tx, items: &[PendingItem], invoice: &InvoiceId) -> Result<()> {
    for item in items {
        execute!(
            tx,
            sqlx::query("update pending_items set invoice_id = $1 where id = $2")
                .bind(invoice)
                .bind(&item.id)
        )?;
    }
    Ok(())
}
