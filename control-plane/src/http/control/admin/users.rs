//! Accounts.

use authsome_shared::id::UserId;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::searched;
use crate::app::App;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::PlatformAdmin;
use crate::identity::admin::{self, Account, AccountChange, Filter};
use crate::page::{self, Page, PageParams};

/// An account, as the platform's admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "usr_0352BzK1sipBK5mYlLMDcU", "email": "ada@example.com", "name": "Ada Lovelace",
    "platformAdmin": false, "disabled": false, "disabledAt": null,
    "createdAt": "2026-01-15T09:30:00Z",
}))]
pub struct AccountBody {
    id: UserId,
    email: String,
    name: String,
    platform_admin: bool,
    /// It can't sign in, and no session of it stands.
    disabled: bool,
    disabled_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Account> for AccountBody {
    fn from(account: Account) -> Self {
        let Account { id, email, name, platform_admin, disabled_at, created_at } = account;
        let disabled = disabled_at.is_some();
        Self { id, email, name, platform_admin, disabled, disabled_at, created_at }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ListUsers {
    /// Part of the address or name, or the id.
    #[param(max_length = 200, example = "ada")]
    search: Option<String>,
    platform_admin: Option<bool>,
    disabled: Option<bool>,
    /// From 1.
    #[serde(default = "page::first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Cut to 100.
    #[serde(default = "page::usual_size")]
    #[param(minimum = 1, default = 20)]
    page_size: u32,
}

/// Search accounts.
#[utoipa::path(
    get, path = "/control/v1/admin/users", tag = "platform", security(("bearer" = [])),
    params(ListUsers),
    responses((status = 200, description = "A page", body = Page<AccountBody>), Failures, Refusals),
)]
pub async fn list_users(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Query(params): Query<ListUsers>,
) -> Result<Json<Page<AccountBody>>> {
    let ListUsers { search, platform_admin, disabled, page, page_size } = params;
    let filter = Filter { search: searched(search)?, platform_admin, disabled };
    let mut tx = app.db.read().await?;
    let page = admin::search(&mut tx, &access, &filter, PageParams { page, page_size }).await?;
    Ok(Json(page.map(Into::into)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "disabled": true }))]
pub struct UpdateUser {
    platform_admin: Option<bool>,
    /// `true` ends all its sessions at once.
    disabled: Option<bool>,
}

/// Make or unmake a platform admin; disable or enable an account. Not one's own.
#[utoipa::path(
    patch, path = "/control/v1/admin/users/{userId}", tag = "platform", security(("bearer" = [])),
    params(("userId" = UserId, Path)), request_body = UpdateUser,
    responses(
        (status = 200, description = "The account as it is now", body = AccountBody),
        (status = 409, description = "It is the caller's own", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn update_user(
    State(app): State<App>,
    PlatformAdmin(access): PlatformAdmin,
    Path(id): Path<UserId>,
    Json(input): Json<UpdateUser>,
) -> Result<Json<AccountBody>> {
    let UpdateUser { platform_admin, disabled } = input;
    let mut tx = app.db.write().await?;
    let change = AccountChange { platform_admin, disabled };
    let account = admin::change(&mut tx, &access, &id, change).await?;
    tx.commit().await?;
    Ok(Json(account.into()))
}
