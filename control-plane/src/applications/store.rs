//! The applications' SQL.

use authsome_shared::api_key::KeyType;
use authsome_shared::code::Code;
use authsome_shared::id::{ApplicationId, KeyId, WorkspaceId};
use sqlx::AssertSqlSafe;

use super::{Application, Filter, Status, history};
use crate::db::{Tx, is_unique_violation};
use crate::error::{Error, Result};
use crate::page::{Page, PageParams};
use crate::{execute, fetch_all, fetch_one, fetch_optional};

pub async fn by_id(tx: &mut Tx, id: &ApplicationId) -> Result<Option<Application>> {
    let select = format!("select * from applications where id = $1{}", tx.for_update());
    Ok(fetch_optional!(tx, sqlx::query_as(AssertSqlSafe(select)).bind(id))?)
}

/// Deleted ones are listed only when asked for by their status.
pub async fn list(
    tx: &mut Tx,
    workspace: &WorkspaceId,
    filter: Filter,
    page: PageParams,
) -> Result<Page<Application>> {
    const WHERE: &str = "workspace_id = $1 \
         and (cast($2 as text) is null or environment = $2) \
         and ((cast($3 as text) is null and status <> 'deleted') or status = $3)";
    let (total,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(AssertSqlSafe(format!("select count(*) from applications where {WHERE}")))
            .bind(workspace)
            .bind(filter.environment)
            .bind(filter.status)
    )?;
    let applications = fetch_all!(
        tx,
        sqlx::query_as(AssertSqlSafe(format!(
            "select * from applications where {WHERE} order by id limit $4 offset $5"
        )))
        .bind(workspace)
        .bind(filter.environment)
        .bind(filter.status)
        .bind(page.limit())
        .bind(page.offset())
    )?;
    Ok(page.of(applications, total))
}

/// Not deleted ones, of workspaces whether deleted or not.
pub async fn all_known(tx: &mut Tx) -> Result<Vec<Application>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as("select * from applications where status <> $1 order by id")
            .bind(Status::Deleted)
    )?)
}

/// Every one that has an upstream of its own, deleted or not.
pub async fn with_upstreams(tx: &mut Tx) -> Result<Vec<Application>> {
    let all: Vec<Application> =
        fetch_all!(tx, sqlx::query_as("select * from applications order by id"))?;
    Ok(all.into_iter().filter(|it| it.config.0.contains_key("upstream")).collect())
}

/// Those that are not deleted.
pub async fn of_workspace(tx: &mut Tx, workspace: &WorkspaceId) -> Result<Vec<Application>> {
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select * from applications where workspace_id = $1 and status <> $2 \
             order by created_at, id"
        )
        .bind(workspace)
        .bind(Status::Deleted)
    )?)
}

pub async fn count(tx: &mut Tx, workspace: &WorkspaceId) -> Result<u64> {
    let (count,): (i64,) = fetch_one!(
        tx,
        sqlx::query_as(
            "select count(*) from applications where workspace_id = $1 and status <> $2"
        )
        .bind(workspace)
        .bind(Status::Deleted)
    )?;
    Ok(count.unsigned_abs())
}

/// `wanted`, or `wanted` with the first free number behind it.
pub async fn free_slug(tx: &mut Tx, workspace: &WorkspaceId, wanted: &str) -> Result<String> {
    let taken: Vec<(String,)> = fetch_all!(
        tx,
        sqlx::query_as("select slug from applications where workspace_id = $1").bind(workspace)
    )?;
    Ok(crate::workspaces::first_free(wanted, |slug| taken.iter().any(|(other,)| other == slug)))
}

pub async fn insert(tx: &mut Tx, application: &Application) -> Result<()> {
    let inserted = execute!(
        tx,
        sqlx::query(
            "insert into applications \
             (id, workspace_id, name, slug, environment, region, status, generation, config, \
             created_at, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)"
        )
        .bind(&application.id)
        .bind(&application.workspace_id)
        .bind(&application.name)
        .bind(&application.slug)
        .bind(application.environment)
        .bind(&application.region)
        .bind(application.status)
        .bind(application.generation)
        .bind(&application.config)
        .bind(application.created_at)
    );
    match inserted {
        Err(error) if is_unique_violation(&error) => {
            let message = format!("The slug `{}` is taken in this workspace", application.slug);
            Err(Error::Conflict(Code::AlreadyExists, message))
        }
        other => {
            other?;
            history::note(tx, application).await
        }
    }
}

pub async fn update(tx: &mut Tx, application: &Application) -> Result<()> {
    execute!(
        tx,
        sqlx::query(
            "update applications set name = $1, status = $2, status_reason = $3, config = $4, \
             updated_at = $5, deleted_at = $6, purge_at = $7, generation = $8 where id = $9"
        )
        .bind(&application.name)
        .bind(application.status)
        .bind(&application.status_reason)
        .bind(&application.config)
        .bind(application.updated_at)
        .bind(application.deleted_at)
        .bind(application.purge_at)
        .bind(application.generation)
        .bind(&application.id)
    )?;
    history::note(tx, application).await
}

/// Deleted ones, and all of workspaces that are themselves due.
pub async fn due_for_purge(tx: &mut Tx) -> Result<Vec<(ApplicationId, WorkspaceId)>> {
    let now = tx.now();
    Ok(fetch_all!(
        tx,
        sqlx::query_as(
            "select applications.id, applications.workspace_id from applications \
             join workspaces on workspaces.id = applications.workspace_id \
             where (applications.status = 'deleted' and applications.purge_at <= $1) \
             or (workspaces.status = 'deleted' and workspaces.purge_at <= $1) \
             order by applications.id"
        )
        .bind(now)
    )?)
}

pub async fn key_ids(tx: &mut Tx, application: &ApplicationId) -> Result<Vec<KeyId>> {
    let rows: Vec<(KeyId,)> = fetch_all!(
        tx,
        sqlx::query_as("select id from keys where application_id = $1").bind(application)
    )?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub async fn delete(tx: &mut Tx, id: &ApplicationId) -> Result<()> {
    execute!(tx, sqlx::query("delete from applications where id = $1").bind(id))?;
    Ok(())
}

/// The oldest public key that stands, whole.
pub async fn public_key(tx: &mut Tx, application: &ApplicationId) -> Result<Option<String>> {
    let row: Option<(String,)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select display from keys where application_id = $1 and type = $2 \
             and revoked_at is null order by created_at, id limit 1"
        )
        .bind(application)
        .bind(KeyType::Public)
    )?;
    Ok(row.map(|(key,)| key))
}
