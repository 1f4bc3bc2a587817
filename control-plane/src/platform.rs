//! The platform's own row: its identity, and the settings that every proxy must know. Settings that
//! the configuration does not give stay as they were, so that planes run apart over a data
//! directory keep what `authsome up` chose for it.

use authsome_shared::id::PlatformId;
use authsome_shared::snapshot::{Change, Settings};
use sqlx::types::Json;

use crate::config::Config;
use crate::db::Tx;
use crate::{execute, fetch_one, revisions};

/// Creates the row on a new database, and appends a revision when the settings have changed.
pub async fn settle(tx: &mut Tx, config: &Config) -> anyhow::Result<()> {
    let now = tx.now();
    // Two replicas may meet a new database at once: one row wins, both read it.
    execute!(
        tx,
        sqlx::query(
            "insert into platform (only_row, id, revision, settings, created_at) \
             values (true, $1, 0, $2, $3) on conflict (only_row) do nothing"
        )
        .bind(PlatformId::new())
        .bind(Json(Settings::default()))
        .bind(now)
    )?;
    let stored = settings(tx).await?;
    let mut wanted = stored.clone();
    if let Some(upstream) = config.applications.default_upstream()? {
        wanted.default_upstream = upstream;
    }
    if let Some(allow) = &config.egress.allow {
        wanted.egress_allow.clone_from(allow);
    }
    if wanted != stored {
        execute!(tx, sqlx::query("update platform set settings = $1").bind(Json(&wanted)))?;
        revisions::append(tx, vec![Change::Settings(wanted)]).await?;
    }
    Ok(())
}

/// The platform's identity and newest revision.
pub async fn head(tx: &mut Tx) -> sqlx::Result<(PlatformId, i64)> {
    fetch_one!(tx, sqlx::query_as("select id, revision from platform"))
}

pub async fn settings(tx: &mut Tx) -> sqlx::Result<Settings> {
    let row: (Json<Settings>,) = fetch_one!(tx, sqlx::query_as("select settings from platform"))?;
    Ok(row.0.0)
}
