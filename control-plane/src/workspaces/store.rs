//! The workspaces' SQL.

use authsome_shared::id::{UserId, WorkspaceId};
use sqlx::AssertSqlSafe;

use super::{Status, Workspace};
use crate::actor::Role;
use crate::db::Tx;
use crate::error::Result;
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

pub async fn by_id(tx: &mut Tx, id: &WorkspaceId) -> Result<Option<Workspace>> {
    let select = format!("select * from workspaces where id = $1{}", tx.for_update());
    Ok(fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(id))?)
}

pub async fn all(tx: &mut Tx) -> Result<Vec<Workspace>> {
    Ok(fetch_all!(tx, sqlx::query_as("select * from workspaces order by id"))?)
}

pub async fn of_user(
    tx: &mut Tx,
    user: &UserId,
    page: PageParams,
) -> Result<Page<(Workspace, Role)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        workspace: Workspace,
        role: Role,
    }
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from members join workspaces on workspaces.id = members.workspace_id \
             where members.user_id = $1 and members.status = 'active' and workspaces.status <> $2"
        )
        .bind(user)
        .bind(Status::Deleted)
    )?;
    let rows: Vec<Row> = fetch_all!(
        tx,
        sqlx::query_as(
            "select workspaces.*, members.role from members \
             join workspaces on workspaces.id = members.workspace_id \
             where members.user_id = $1 and members.status = 'active' and workspaces.status <> $2 \
             order by workspaces.created_at, workspaces.id limit $3 offset $4"
        )
        .bind(user)
        .bind(Status::Deleted)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(rows.into_iter().map(|row| (row.workspace, row.role)).collect(), total))
}

/// `wanted`, or `wanted` with the first free number behind it.
pub async fn free_slug(tx: &mut Tx, wanted: &str) -> Result<String> {
    let taken: Vec<(String,)> = fetch_all!(
        tx,
        sqlx::query_as("select slug from workspaces where slug = $1 or slug like $2")
            .bind(wanted)
            .bind(format!("{wanted}-%"))
    )?;
    Ok(super::first_free(wanted, |slug| taken.iter().any(|(other,)| other == slug)))
}

/// `false` when the slug is taken.
pub async fn insert(tx: &mut Tx, workspace: &Workspace) -> Result<bool> {
    let inserted = execute!(
        tx,
        sqlx::query(
            "insert into workspaces \
             (id, name, slug, plan, status, owner_id, metadata, created_at, updated_at, limits, \
              plan_version) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (slug) do nothing"
        )
        .bind(&workspace.id)
        .bind(&workspace.name)
        .bind(&workspace.slug)
        .bind(workspace.plan)
        .bind(workspace.status)
        .bind(&workspace.owner_id)
        .bind(&workspace.metadata)
        .bind(workspace.created_at)
        .bind(workspace.updated_at)
        .bind(&workspace.limits)
        .bind(workspace.plan_version)
    )?;
    Ok(inserted == 1)
}

pub async fn update(tx: &mut Tx, workspace: &Workspace) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "update workspaces set name = $1, status = $2, owner_id = $3, metadata = $4, \
             updated_at = $5, deleted_at = $6, purge_at = $7, plan = $8, limits = $9, \
             status_before_deletion = $10, status_before_suspension = $11, \
             suspended_reason = $12, plan_version = $13, suspended_by = $14 where id = $15"
        )
        .bind(&workspace.name)
        .bind(workspace.status)
        .bind(&workspace.owner_id)
        .bind(&workspace.metadata)
        .bind(workspace.updated_at)
        .bind(workspace.deleted_at)
        .bind(workspace.purge_at)
        .bind(workspace.plan)
        .bind(&workspace.limits)
        .bind(workspace.status_before_deletion)
        .bind(workspace.status_before_suspension)
        .bind(&workspace.suspended_reason)
        .bind(workspace.plan_version)
        .bind(workspace.suspended_by)
        .bind(&workspace.id)
    )?;
    Ok(())
}

pub async fn due_for_purge(tx: &mut Tx) -> Result<Vec<WorkspaceId>> {
    let now = tx.now();
    let rows: Vec<(WorkspaceId,)> = fetch_all!(
        tx,
        sqlx::query_as(
            "select id from workspaces where status = $1 and purge_at <= $2 and not exists \
             (select 1 from subscriptions where workspace_id = workspaces.id \
              and next_close_at is not null)"
        )
        .bind(Status::Deleted)
        .bind(now)
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn delete(tx: &mut Tx, id: &WorkspaceId) -> Result<()> {
    execute!(tx, sqlx::query("delete from workspaces where id = $1").bind(id))?;
    Ok(())
}
