//! Charges of the operator's: what is put on a workspace's next invoice by hand, and taken off again
//! while it waits there. What late usage puts there (`late`) is not touched.

use authsome_shared::id::{PendingItemId, WorkspaceId};
use serde_json::json;

use super::invoice::store::{self, PendingItem};
use crate::actor::PlatformAccess;
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::{Checks, Error, Result};
use crate::execute;
use crate::workspaces::{self, subscription};

/// What such an item is called.
const ITEM: &str = "charge";
/// In minor units; more is a mistake, and sums of it still fit.
pub const MOST: i64 = 1_000_000_000_000;

const NOT_FOUND: Error = Error::NotFound("charge");

/// Charges with the next invoice; `amount` is minor units of the platform's currency.
pub async fn create(
    tx: &mut Tx,
    access: &PlatformAccess,
    workspace: &WorkspaceId,
    amount: i64,
    description: &str,
) -> Result<PendingItem> {
    let description = description.trim();
    let mut checks = Checks::default();
    checks.name("description", description);
    checks.check((1..=MOST).contains(&amount), "amount", "`amount` must be more than 0");
    checks.finish()?;
    workspaces::admin::get(tx, access, workspace).await?;
    // An invoice that is just being issued takes it, or leaves it whole.
    subscription::hold(tx, workspace).await?;
    let item = PendingItem {
        id: PendingItemId::new(),
        workspace_id: workspace.clone(),
        period: None,
        item: ITEM.to_owned(),
        description: description.to_owned(),
        amount,
        credit_note_id: None,
        created_at: tx.now(),
    };
    store::add_item(tx, &item).await?;
    tx.audit(entry(access, "charge.created", &item).after(audited(&item)));
    Ok(item)
}

/// What waits for the workspace's next invoice, late usage among it, oldest first.
pub async fn pending(
    tx: &mut Tx,
    access: &PlatformAccess,
    workspace: &WorkspaceId,
) -> Result<Vec<PendingItem>> {
    workspaces::admin::get(tx, access, workspace).await?;
    store::pending(tx, workspace).await
}

/// Takes a charge back that is on no invoice yet.
pub async fn delete(
    tx: &mut Tx,
    access: &PlatformAccess,
    workspace: &WorkspaceId,
    id: &PendingItemId,
) -> Result<()> {
    workspaces::admin::get(tx, access, workspace).await?;
    subscription::hold(tx, workspace).await?;
    let waiting = store::pending(tx, workspace).await?;
    let item = waiting.into_iter().find(|item| item.id == *id && item.item == ITEM);
    let item = item.ok_or(NOT_FOUND)?;
    execute!(
        tx,
        sqlx::query("delete from pending_items where id = $1 and invoice_id is null").bind(id)
    )?;
    tx.audit(entry(access, "charge.deleted", &item).before(audited(&item)));
    Ok(())
}

fn entry(access: &PlatformAccess, action: &'static str, item: &PendingItem) -> Entry {
    access.audit(action).in_workspace(&item.workspace_id).on("charge", &item.id)
}

fn audited(item: &PendingItem) -> serde_json::Value {
    json!({ "amount": item.amount, "description": item.description })
}
