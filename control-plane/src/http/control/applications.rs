//! Applications: made, listed, changed, restarted, deleted, restored. What is measured of them and
//! what they log: `logs`, `metrics`.

pub mod logs;
pub mod metrics;

use std::collections::HashMap;

use authsome_shared::id::{ApplicationId, WorkspaceId};
use authsome_shared::secret::Secret;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::actor::Permission;
use crate::app::App;
use crate::applications::{
    self, Application, ApplicationChange, ApplicationConfig, Environment, Filter, NewApplication,
    Status, client_key,
};
use crate::config;
use crate::error::Result;
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency;
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::keys;
use crate::metering::{self, storage};
use crate::page::{self, Page, PageParams};
use crate::workspaces;
use metrics::MonthBody;

/// An application.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationBody {
    id: ApplicationId,
    workspace_id: WorkspaceId,
    name: String,
    slug: String,
    environment: Environment,
    status: Status,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    region: String,
    /// The oldest public key that is not revoked.
    public_key: Option<String>,
    /// Where its customers call it.
    api_url: String,
    dashboard_url: String,
    #[schema(value_type = Object)]
    config: Map<String, Value>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<DateTime<Utc>>,
    /// Until then it can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    purge_at: Option<DateTime<Utc>>,
}

impl ApplicationBody {
    fn new(app: &App, application: Application, public_key: Option<String>) -> Self {
        let proxy = app.config.proxy.public_url.trim_end_matches('/');
        let dashboard = app.config.platform.dashboard_url.trim_end_matches('/');
        let (id, workspace) = (&application.id, &application.workspace_id);
        Self {
            api_url: format!("{proxy}/v1/{id}"),
            dashboard_url: format!("{dashboard}/workspace/{workspace}/app/{id}"),
            public_key,
            id: application.id,
            workspace_id: application.workspace_id,
            name: application.name,
            slug: application.slug,
            environment: application.environment,
            status: application.status,
            status_reason: application.status_reason,
            region: application.region,
            config: client_key::shown(application.config.0),
            created_at: application.created_at,
            updated_at: application.updated_at,
            deleted_at: application.deleted_at,
            purge_at: application.purge_at,
        }
    }
}

/// An application with what is known of its resources and its month.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApplicationDetails {
    #[serde(flatten)]
    application: ApplicationBody,
    resources: Resources,
    metrics: MonthBody,
}

/// What the application runs on, as its owner's `config.resources` or the operator says. Nobody
/// enforces it: the upstreams are not run by the platform.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Resources {
    #[schema(example = "1000m")]
    cpu_limit: String,
    #[schema(example = "2Gi")]
    memory_limit: String,
    #[schema(example = "10Gi")]
    storage_limit: String,
    /// The upstream's URLs, unless the owner says otherwise.
    #[schema(example = 2)]
    replicas: u32,
}

impl Resources {
    fn new(config: &ApplicationConfig, platform: &config::Resources) -> Self {
        let own = &config.resources;
        let or = |own: &Option<String>, platform: &String| own.as_ref().unwrap_or(platform).clone();
        let urls = config.upstream.as_ref().map_or(1, |upstream| upstream.urls.len());
        Self {
            cpu_limit: or(&own.cpu_limit, &platform.cpu_limit),
            memory_limit: or(&own.memory_limit, &platform.memory_limit),
            storage_limit: or(&own.storage_limit, &platform.storage_limit),
            replicas: own.replicas.unwrap_or(u32::try_from(urls).unwrap_or(u32::MAX)),
        }
    }
}

/// A new application, with its first secret key: shown only here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedApplication {
    #[serde(flatten)]
    application: ApplicationBody,
    #[schema(value_type = String)]
    secret_key: Secret<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApplication {
    #[schema(example = "Production", min_length = 1, max_length = 200)]
    name: String,
    /// Made from the name when absent.
    #[schema(example = "production", max_length = 63)]
    slug: Option<String>,
    #[serde(default)]
    environment: Environment,
    #[schema(example = "us-east-1", max_length = 32)]
    region: Option<String>,
    #[serde(default)]
    #[schema(value_type = Object, example = json!({ "upstream": { "urls": ["https://api.example.com"] } }))]
    config: Map<String, Value>,
}

/// Create an application; it becomes `active` or `failed` by itself.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/applications", tag = "applications",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = CreateApplication,
    responses(
        (status = 202, description = "Being provisioned", body = CreatedApplication),
        (status = 402, description = "The plan includes no more applications", body = ErrorBody),
        (status = 409, description = "The slug is taken", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn create_application(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<CreateApplication>,
) -> Result<Response> {
    let CreateApplication { name, slug, environment, region, config } = input;
    let mut tx = idempotency::begin(&app).await?;
    let (access, workspace) =
        workspaces::access(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let new = NewApplication { name, slug, environment, region, config };
    let application = applications::create(&mut tx, &access, &workspace, new, app.seals()).await?;
    let [public, secret] = keys::first_keys();
    let public = keys::issue(&mut tx, &access, &application, public).await?;
    let secret = keys::issue(&mut tx, &access, &application, secret).await?;
    let public_key = Some(public.clear.into_inner());
    let application = ApplicationBody::new(&app, application, public_key);
    let body = CreatedApplication { application, secret_key: secret.clear };
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, body).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ListApplications {
    environment: Option<Environment>,
    /// Deleted applications are listed only when asked for.
    status: Option<Status>,
    /// From 1.
    #[serde(default = "page::first")]
    #[param(minimum = 1, default = 1)]
    page: u32,
    /// Cut to 100.
    #[serde(default = "page::usual_size")]
    #[param(minimum = 1, default = 20)]
    page_size: u32,
}

/// List a workspace's applications.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/applications", tag = "applications",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path), ListApplications),
    responses(
        (status = 200, description = "A page", body = Page<ApplicationBody>),
        Failures, Refusals,
    ),
)]
pub async fn list_applications(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Query(params): Query<ListApplications>,
) -> Result<Json<Page<ApplicationBody>>> {
    let ListApplications { environment, status, page, page_size } = params;
    let mut tx = app.db.read().await?;
    let (access, _) =
        workspaces::access(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let (filter, page) = (Filter { environment, status }, PageParams { page, page_size });
    let page = applications::list(&mut tx, &access, filter, page).await?;
    let ids: Vec<&ApplicationId> = page.data.iter().map(|application| &application.id).collect();
    let mut public: HashMap<_, _> = keys::public_keys_of(&mut tx, &ids).await?;
    Ok(Json(page.map(|application| {
        let key = public.remove(&application.id);
        ApplicationBody::new(&app, application, key)
    })))
}

/// Get an application.
#[utoipa::path(
    get, path = "/control/v1/applications/{applicationId}", tag = "applications",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path)),
    responses(
        (status = 200, description = "The application", body = ApplicationDetails),
        Failures, Refusals,
    ),
)]
pub async fn get_application(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
) -> Result<Json<ApplicationDetails>> {
    let mut tx = app.db.read().await?;
    let (access, application) =
        applications::open_any(&mut tx, &actor, &id, Permission::ViewApplications).await?;
    let public_key = keys::public_keys_of(&mut tx, &[&id]).await?.remove(&id);
    let metrics = metering::metrics::month(&mut tx, &access, &id).await?.into();
    let resources = Resources::new(&application.config()?, &app.config.applications.resources);
    let application = ApplicationBody::new(&app, application, public_key);
    Ok(Json(ApplicationDetails { application, resources, metrics }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateApplication {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Merged at every depth; `null` removes a field.
    #[schema(value_type = Option<Object>)]
    config: Option<Map<String, Value>>,
}

/// Rename an application or change its configuration.
#[utoipa::path(
    patch, path = "/control/v1/applications/{applicationId}", tag = "applications",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path)),
    request_body = UpdateApplication,
    responses(
        (status = 200, description = "The application as it is now", body = ApplicationBody),
        Failures, Refusals,
    ),
)]
pub async fn update_application(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
    Json(input): Json<UpdateApplication>,
) -> Result<Json<ApplicationBody>> {
    let UpdateApplication { name, config } = input;
    let mut tx = app.db.write().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let change = ApplicationChange { name, config };
    let application =
        applications::update(&mut tx, &access, application, change, app.seals()).await?;
    let public_key = keys::public_keys_of(&mut tx, &[&id]).await?.remove(&id);
    tx.commit().await?;
    Ok(Json(ApplicationBody::new(&app, application, public_key)))
}

/// A restart has begun.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "app_0Fh3ZqTz8Yb1cKx5WmN2vR", "status": "restarting",
    "message": "Application restart initiated",
}))]
pub struct RestartedApplication {
    id: ApplicationId,
    status: Status,
    message: &'static str,
}

/// Restart an active application: its upstream is asked for its health again, and the proxies begin
/// anew with what they know of it. It is served throughout, and becomes `active` or `failed`.
#[utoipa::path(
    post, path = "/control/v1/applications/{applicationId}/restart", tag = "applications",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path)),
    responses(
        (status = 202, description = "It restarts", body = RestartedApplication),
        (status = 409, description = "It is not active", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn restart_application(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let Application { id, status, .. } =
        applications::restart(&mut tx, &access, application).await?;
    let message = "Application restart initiated";
    let body = RestartedApplication { id, status, message };
    idempotency::answer(tx, &app, StatusCode::ACCEPTED, body).await
}

/// Delete an application. Its keys stop at once; for seven days it can be restored.
#[utoipa::path(
    delete, path = "/control/v1/applications/{applicationId}", tag = "applications",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "Its state forbids it", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn delete_application(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
) -> Result<StatusCode> {
    let mut tx = app.db.write().await?;
    let (access, application) =
        applications::open(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    applications::delete(&mut tx, &access, application).await?;
    storage::stop(&mut tx, access.workspace_id(), &id).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Restore a deleted application: it is provisioned anew, and its keys work again.
#[utoipa::path(
    post, path = "/control/v1/applications/{applicationId}/restore", tag = "applications",
    security(("bearer" = [])), params(("applicationId" = ApplicationId, Path)),
    responses(
        (status = 200, description = "The application", body = ApplicationBody),
        (status = 402, description = "The plan includes no more applications", body = ErrorBody),
        (status = 409, description = "It is not deleted", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn restore_application(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<ApplicationId>,
) -> Result<Response> {
    let mut tx = idempotency::begin(&app).await?;
    let (access, application) =
        applications::open_any(&mut tx, &actor, &id, Permission::ManageApplications).await?;
    let workspace = workspaces::get(&mut tx, &actor, access.workspace_id()).await?;
    let application = applications::restore(&mut tx, &access, &workspace, application).await?;
    keys::publish_all(&mut tx, &access, &application).await?;
    storage::resume(&mut tx, access.workspace_id(), &id).await?;
    let public_key = keys::public_keys_of(&mut tx, &[&id]).await?.remove(&id);
    let body = ApplicationBody::new(&app, application, public_key);
    idempotency::answer(tx, &app, StatusCode::OK, body).await
}
