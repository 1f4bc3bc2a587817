//! How a workspace stands with its bills: active, past due, suspended until it pays. Told by billing;
//! what the platform's admins decide by hand is `admin`, and is not undone from here.

use authsome_shared::id::WorkspaceId;
use serde_json::json;

use super::{Status, SuspendedBy, Workspace, publish, store};
use crate::audit::Entry;
use crate::db::Tx;
use crate::error::Result;

/// It has not paid in time.
pub async fn past_due(tx: &mut Tx, id: &WorkspaceId) -> Result<()> {
    if let Some(mut workspace) = store::by_id(tx, id).await? {
        let now = workspace.status_beneath();
        if *now == Status::Active {
            *now = Status::PastDue;
            change(tx, workspace, "workspace.past_due", None).await?;
        }
    }
    Ok(())
}

/// It has not paid for long: proxies answer 503 with the reason `past_due`. `false` when it was
/// suspended already.
pub async fn suspend(tx: &mut Tx, id: &WorkspaceId, reason: &str) -> Result<bool> {
    let Some(mut workspace) = store::by_id(tx, id).await? else { return Ok(false) };
    let deleted = workspace.status == Status::Deleted;
    let now = if deleted {
        workspace.status_before_deletion.unwrap_or(Status::Active)
    } else {
        workspace.status
    };
    if now == Status::Suspended {
        return Ok(false);
    }
    workspace.status_before_suspension = Some(Status::PastDue);
    workspace.suspended_by = Some(SuspendedBy::Billing);
    workspace.suspended_reason = Some(reason.to_owned());
    if deleted {
        workspace.status_before_deletion = Some(Status::Suspended);
    } else {
        workspace.status = Status::Suspended;
    }
    change(tx, workspace, "workspace.suspended", Some(reason)).await?;
    Ok(true)
}

/// Everything that was due is paid. `true` when it was suspended for it, and goes on.
pub async fn settled(tx: &mut Tx, id: &WorkspaceId) -> Result<bool> {
    let Some(mut workspace) = store::by_id(tx, id).await? else { return Ok(false) };
    let suspended = workspace.suspended_by == Some(SuspendedBy::Billing);
    if suspended {
        let before = workspace.status_before_suspension.take();
        debug_assert!(before.is_some(), "a suspension keeps what was before");
        workspace.suspended_by = None;
        workspace.suspended_reason = None;
        if workspace.status == Status::Deleted {
            workspace.status_before_deletion = Some(Status::Active);
        } else {
            workspace.status = Status::Active;
        }
        change(tx, workspace, "workspace.unsuspended", None).await?;
        return Ok(true);
    }
    let now = workspace.status_beneath();
    if *now == Status::PastDue {
        *now = Status::Active;
        change(tx, workspace, "workspace.settled", None).await?;
    }
    Ok(false)
}

async fn change(
    tx: &mut Tx,
    mut workspace: Workspace,
    action: &'static str,
    reason: Option<&str>,
) -> Result<()> {
    workspace.updated_at = tx.now();
    store::update(tx, &workspace).await?;
    let entry = Entry::by_system("billing", action).in_workspace(&workspace.id);
    let after = json!({ "status": workspace.status, "reason": reason });
    tx.audit(entry.on("workspace", &workspace.id).after(after));
    publish(tx, &workspace).await
}
