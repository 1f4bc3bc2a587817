//! A workspace's balance as its members read it: what is owed to it, and each movement of it. What
//! moves it: `credit`.

use authsome_shared::id::{BalanceEntryId, CreditNoteId, InvoiceId};
use chrono::{DateTime, Utc};

use super::credit;
use crate::actor::Access;
use crate::db::Tx;
use crate::error::Result;
use crate::page::{Page, PageParams};
use crate::{fetch_all, fetch_one};

/// A movement.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Entry {
    pub id: BalanceEntryId,
    /// Positive: in the workspace's favour.
    pub amount: i64,
    pub reason: String,
    pub credit_note_id: Option<CreditNoteId>,
    pub invoice_id: Option<InvoiceId>,
    pub created_at: DateTime<Utc>,
}

/// What is owed to the workspace in minor units, and its movements, newest first.
pub async fn get(tx: &mut Tx, access: &Access, page: PageParams) -> Result<(i64, Page<Entry>)> {
    let id = access.workspace_id();
    let balance = credit::balance(tx, id).await?;
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as("select count(*) from balance_entries where workspace_id = $1").bind(id)
    )?;
    let rows = fetch_all!(
        tx,
        sqlx::query_as(
            "select id, amount, reason, credit_note_id, invoice_id, created_at \
             from balance_entries where workspace_id = $1 \
             order by created_at desc, id desc limit $2 offset $3"
        )
        .bind(id)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok((balance, page.of(rows, total)))
}
