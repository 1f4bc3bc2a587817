//! The platform's proxies, for its admins.

use authsome_shared::id::NodeId;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::db::Tx;
use crate::error::Result;
use crate::http::extract::{Json, Query};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::page::{Page, PageParams};
use crate::{platform, proxies};

/// A proxy, as last heard of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyBody {
    id: NodeId,
    version: String,
    address: Option<String>,
    connected: bool,
    /// Its store of strict limits: `up`; `down`, it holds its share of them meanwhile; `off`, none
    /// is configured.
    strict: String,
    /// The configuration that it decides by.
    revision: i64,
    /// How many revisions it is behind.
    lag: i64,
    /// Entities that it could not read and does not serve.
    quarantined: i64,
    /// Usage records that it has not shipped yet.
    unshipped: i64,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

/// List the proxies, with revision and lag.
#[utoipa::path(
    get, path = "/control/v1/proxies", tag = "platform", security(("bearer" = [])),
    params(PageParams),
    responses((status = 200, description = "A page", body = Page<ProxyBody>), Failures, Refusals),
)]
pub async fn list_proxies(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<ProxyBody>>> {
    let mut tx = app.db.read().await?;
    Ok(Json(page_of(&mut tx, page).await?))
}

/// A page of them, as both of their paths answer it.
pub(super) async fn page_of(tx: &mut Tx, page: PageParams) -> Result<Page<ProxyBody>> {
    let now = tx.now();
    let (_, newest) = platform::head(tx).await?;
    let page = proxies::list(tx, page).await?;
    Ok(page.map(|proxy| ProxyBody {
        connected: proxy.is_connected(now),
        lag: (newest - proxy.revision).max(0),
        strict: proxy.strict,
        id: proxy.id,
        version: proxy.version,
        address: proxy.address,
        revision: proxy.revision,
        quarantined: proxy.quarantined,
        unshipped: proxy.unshipped,
        first_seen_at: proxy.first_seen_at,
        last_seen_at: proxy.last_seen_at,
    }))
}
