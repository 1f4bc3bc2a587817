//! What a workspace pays with, and the ways to enter it at Stripe.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::actor::{Access, Actor, Permission};
use crate::app::App;
use crate::billing::payment_method::{self, Shown};
use crate::error::{Error, Result};
use crate::http::extract::{Json, Path};
use crate::http::openapi::{ErrorBody, Failures, Refusals};
use crate::http::session::SignedIn;
use crate::http::{cors, idempotency};
use crate::workspaces;

/// What the workspace pays with; `null` when there is nothing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentMethodAnswer {
    payment_method: Option<PaymentMethodBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentMethodBody {
    /// As Stripe calls it.
    #[serde(rename = "type")]
    #[schema(example = "card")]
    kind: String,
    /// Of a card.
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<CardBody>,
}

/// What may be shown of a card.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CardBody {
    #[schema(example = "visa")]
    brand: String,
    #[schema(example = "4242")]
    last4: String,
    #[schema(example = 12)]
    exp_month: i64,
    #[schema(example = 2034)]
    exp_year: i64,
}

impl From<Option<Shown>> for PaymentMethodAnswer {
    fn from(shown: Option<Shown>) -> Self {
        let body = |shown: Shown| {
            let Shown { kind, brand, last4, exp_month, exp_year, .. } = shown;
            let card = match (brand, last4, exp_month, exp_year) {
                (Some(brand), Some(last4), Some(exp_month), Some(exp_year)) => {
                    Some(CardBody { brand, last4, exp_month, exp_year })
                }
                _ => None,
            };
            PaymentMethodBody { kind, card }
        };
        Self { payment_method: shown.map(body) }
    }
}

/// The proof that the actor may, before anything is asked of Stripe.
async fn check(
    app: &App,
    actor: &Actor,
    id: &WorkspaceId,
    permission: Permission,
) -> Result<Access> {
    let mut tx = app.db.read().await?;
    Ok(workspaces::access(&mut tx, actor, id, permission).await?.0)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(example = json!({ "stripePaymentMethodId": "pm_1Pgc75B7WZ01zgkWlHVgdEGJ" }))]
pub struct SetPaymentMethod {
    /// Of a payment method that a browser made at Stripe, by a setup intent or by Stripe's own form.
    #[schema(pattern = "^pm_[0-9A-Za-z_]{1,250}$")]
    stripe_payment_method_id: String,
}

/// Set what the workspace pays with, in the place of what it was. Invoices that are open are tried
/// with it.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/payment-method", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = SetPaymentMethod,
    responses(
        (status = 200, description = "What the workspace pays with", body = PaymentMethodAnswer),
        (status = 402, description = "The card was declined", body = ErrorBody),
        (status = 501, description = "Stripe is not configured", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn set_payment_method(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<SetPaymentMethod>,
) -> Result<Response> {
    check(&app, &actor, &id, Permission::ManageBilling).await?;
    let stripe = app.stripe()?;
    let given = &input.stripe_payment_method_id;
    let method = payment_method::attach(&app, stripe, &id, given).await?;
    let mut tx = idempotency::begin(&app).await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    let replaced = payment_method::store(&mut tx, &access, &method).await?;
    let body = PaymentMethodAnswer::from(Some(method));
    let answer = idempotency::answer(tx, &app, StatusCode::OK, body).await?;
    if let Some(replaced) = replaced
        && let Err(error) = payment_method::discard(stripe, &replaced).await
    {
        // It is the customer's second one then, and nothing is charged to it.
        tracing::warn!(%error, workspace = %id, "a replaced payment method is still at Stripe");
    }
    Ok(answer)
}

/// Get what the workspace pays with.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/payment-method", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 200, description = "What the workspace pays with", body = PaymentMethodAnswer),
        (status = 501, description = "Stripe is not configured", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn get_payment_method(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<Json<PaymentMethodAnswer>> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    app.stripe()?;
    Ok(Json(payment_method::get(&mut tx, &access).await?.into()))
}

/// Remove what the workspace pays with. Invoices are sent to be paid from then on.
#[utoipa::path(
    delete, path = "/control/v1/workspaces/{workspaceId}/payment-method", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 204, description = "There is nothing, now or before"),
        (status = 501, description = "Stripe is not configured", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn delete_payment_method(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<StatusCode> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    let stripe = app.stripe()?;
    let method = payment_method::get(&mut tx, &access).await?;
    drop(tx);
    // At Stripe first: what is forgotten here must not be charged there.
    if let Some(method) = method {
        payment_method::discard(stripe, &method).await?;
        let mut tx = app.db.write().await?;
        let (access, _) =
            workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
        payment_method::forget(&mut tx, &access).await?;
        tx.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// For Stripe's form in a browser.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetupIntentBody {
    #[schema(example = "seti_1Pgag7B7WZ01zgkWSgwGdb8Z_secret_QXg2AQLdBxJwtY51IkwvUaBVsnCqPSp")]
    client_secret: String,
    #[schema(example = "seti_1Pgag7B7WZ01zgkWSgwGdb8Z")]
    setup_intent_id: String,
    /// What Stripe's script is to be started with, if the platform has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "pk_live_51PgafTB7WZ01zgkW")]
    publishable_key: Option<String>,
}

/// Begin to enter a payment method: a browser confirms the setup intent at Stripe, and the payment
/// method that comes of it is then set here.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/payment-method/setup-intent",
    tag = "billing", security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 201, description = "The setup intent", body = SetupIntentBody),
        (status = 501, description = "Stripe is not configured", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn create_setup_intent(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<Response> {
    check(&app, &actor, &id, Permission::ManageBilling).await?;
    let stripe = app.stripe()?;
    let intent = payment_method::begin_setup(&app, stripe, &id).await?;
    let mut tx = idempotency::begin(&app).await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    tx.audit(access.audit("setup_intent.created").on("setup_intent", &intent.id));
    let body = SetupIntentBody {
        client_secret: intent.client_secret,
        setup_intent_id: intent.id,
        publishable_key: stripe.publishable_key.clone(),
    };
    idempotency::answer(tx, &app, StatusCode::CREATED, body).await
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[schema(example = json!({}))]
pub struct OpenBillingPortal {
    /// Where the way back leads: a page of the dashboard, or of an allowed origin. The workspace's
    /// page in the dashboard when absent.
    #[schema(format = "uri", max_length = 2048)]
    return_url: Option<String>,
}

/// A page of Stripe's that is open for a while.
#[derive(Debug, Serialize, ToSchema)]
pub struct BillingPortalBody {
    #[schema(example = "https://billing.stripe.com/p/session/live_YWNjdF8xUGdhZlRC")]
    url: String,
}

/// Open Stripe's billing portal, where a member sees receipts and changes the payment method.
#[utoipa::path(
    post, path = "/control/v1/workspaces/{workspaceId}/billing-portal", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = Option<OpenBillingPortal>,
    responses(
        (status = 201, description = "Where it is", body = BillingPortalBody),
        (status = 501, description = "Stripe is not configured", body = ErrorBody),
        Failures, Refusals,
    ),
)]
pub async fn open_billing_portal(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    input: Option<Json<OpenBillingPortal>>,
) -> Result<Response> {
    let OpenBillingPortal { return_url } = input.map(|Json(input)| input).unwrap_or_default();
    check(&app, &actor, &id, Permission::ManageBilling).await?;
    let stripe = app.stripe()?;
    let return_url = own_page(&app, &id, return_url)?;
    let session = payment_method::open_portal(&app, stripe, &id, &return_url).await?;
    let mut tx = idempotency::begin(&app).await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    tx.audit(access.audit("billing_portal.opened").on("workspace", &id));
    let body = BillingPortalBody { url: session.url };
    idempotency::answer(tx, &app, StatusCode::CREATED, body).await
}

/// The way back must not lead to somebody else's page.
fn own_page(app: &App, id: &WorkspaceId, given: Option<String>) -> Result<String> {
    let Some(given) = given else {
        let dashboard = app.config.platform.dashboard_url.trim_end_matches('/');
        return Ok(format!("{dashboard}/workspace/{id}"));
    };
    let origins = cors::origins(&app.config);
    let own = Url::parse(&given).is_ok_and(|url| {
        let origin = url.origin().ascii_serialization();
        url.username().is_empty() && url.password().is_none() && origins.contains(&origin)
    });
    if own && given.len() <= 2_048 {
        return Ok(given);
    }
    let message = format!("`returnUrl` must begin with one of {}", origins.join(", "));
    Err(Error::invalid("returnUrl", "invalid_value", message))
}
