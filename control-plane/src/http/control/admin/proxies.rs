//! The platform's proxies; reading one is in `control::proxies`.

use authsome_shared::id::NodeId;
use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::error::Result;
use crate::http::control::proxies::{ProxyBody, page_of};
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::page::{Page, PageParams};
use crate::proxies;

/// List the proxies, with revision and lag; the same as `/control/v1/proxies`.
#[utoipa::path(
    get, path = "/control/v1/admin/proxies", tag = "platform", security(("bearer" = [])),
    params(PageParams),
    responses((status = 200, description = "A page", body = Page<ProxyBody>), Failures, Refusals),
)]
pub async fn list_all_proxies(
    State(app): State<App>,
    _: PlatformAdmin,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<ProxyBody>>> {
    let mut tx = app.db.read().await?;
    Ok(Json(page_of(&mut tx, page).await?))
}

/// Forget a proxy that is gone. Its usage stays.
#[utoipa::path(
    delete, path = "/control/v1/admin/proxies/{proxyId}", tag = "platform",
    security(("bearer" = [])), params(("proxyId" = NodeId, Path)),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 409, description = "It is connected", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn forget_proxy(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<NodeId>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    proxies::forget(&mut tx, &access, &id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
