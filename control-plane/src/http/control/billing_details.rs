//! Who a workspace's invoices go to.

use authsome_shared::id::WorkspaceId;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::invoices::AddressBody;
use crate::actor::Permission;
use crate::app::App;
use crate::billing::details::{self, Details};
use crate::billing::party::{Address, Exemption, Profile};
use crate::error::{Error, Result, Violation};
use crate::http::extract::{Json, Path};
use crate::http::openapi::{Failures, Refusals};
use crate::http::session::SignedIn;
use crate::workspaces;

/// What stands on the invoices to come. What is `null` is taken from the workspace and its owner.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BillingDetailsBody {
    name: Option<String>,
    email: Option<String>,
    address: AddressBody,
    #[schema(example = "DE123456789")]
    tax_id: Option<String>,
    /// Set by the platform's admins.
    tax_exempt: Exemption,
}

impl From<Profile> for BillingDetailsBody {
    fn from(profile: Profile) -> Self {
        let Profile { name, email, address, tax_id, tax_exempt } = profile;
        Self { name, email, address: address.into(), tax_id, tax_exempt }
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(example = json!({
    "name": "Acme GmbH", "email": "accounts@acme.example", "taxId": "DE123456789",
    "address": {
        "line1": "Hauptstraße 1", "postalCode": "10827", "city": "Berlin", "country": "DE",
    },
}))]
pub struct ReplaceBillingDetails {
    /// Of the company; the workspace's when absent.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Gets the mails about invoices besides those who look after the bill.
    #[schema(format = Email)]
    email: Option<String>,
    /// Its country decides on taxes.
    #[schema(value_type = Option<AddressBody>)]
    address: Option<Map<String, Value>>,
    /// Such as a VAT number.
    #[schema(max_length = 50)]
    tax_id: Option<String>,
}

/// Read apart: a list would pass for an object all of whose fields may be left out.
fn address(given: Map<String, Value>) -> Result<Address> {
    let body: AddressBody =
        serde_path_to_error::deserialize(Value::Object(given)).map_err(|error| {
            let path = match error.path().to_string().as_str() {
                "." => "address".to_owned(),
                path => format!("address.{path}"),
            };
            Error::Invalid(vec![Violation::from_serde(&path, &error.inner().to_string())])
        })?;
    Ok(body.into())
}

/// Get a workspace's billing details.
#[utoipa::path(
    get, path = "/control/v1/workspaces/{workspaceId}/billing-details", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    responses(
        (status = 200, description = "The details", body = BillingDetailsBody),
        Failures, Refusals,
    ),
)]
pub async fn get_billing_details(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
) -> Result<Json<BillingDetailsBody>> {
    let mut tx = app.db.read().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ViewUsage).await?;
    Ok(Json(details::get(&mut tx, &access).await?.into()))
}

/// Replace a workspace's billing details, from the next invoice on.
#[utoipa::path(
    put, path = "/control/v1/workspaces/{workspaceId}/billing-details", tag = "billing",
    security(("bearer" = [])), params(("workspaceId" = WorkspaceId, Path)),
    request_body = ReplaceBillingDetails,
    responses(
        (status = 200, description = "The details", body = BillingDetailsBody),
        Failures, Refusals,
    ),
)]
pub async fn replace_billing_details(
    State(app): State<App>,
    SignedIn(actor): SignedIn,
    Path(id): Path<WorkspaceId>,
    Json(input): Json<ReplaceBillingDetails>,
) -> Result<Json<BillingDetailsBody>> {
    let ReplaceBillingDetails { name, email, address: given, tax_id } = input;
    let address = address(given.unwrap_or_default())?;
    let new = Details { name, email, address, tax_id };
    let mut tx = app.db.write().await?;
    let (access, _) = workspaces::access(&mut tx, &actor, &id, Permission::ManageBilling).await?;
    let profile = details::replace(&mut tx, &access, new).await?;
    tx.commit().await?;
    Ok(Json(profile.into()))
}
