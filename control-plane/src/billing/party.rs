//! Who issues an invoice and to whom: copied onto each invoice, so that it stays as it was issued.

use authsome_shared::id::WorkspaceId;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::config::Issuer;
use crate::db::Tx;
use crate::error::Result;
use crate::fetch_optional;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Party {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    pub address: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax_id: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Two capital letters (ISO 3166-1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// Who is on an invoice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parties {
    pub issuer: Party,
    pub customer: Party,
    /// Why there is no tax, where that must be said.
    pub tax_exempt: Exemption,
}

/// Whether a customer pays taxes on invoices.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = TaxExemption)]
pub enum Exemption {
    #[default]
    None,
    Exempt,
    /// The customer accounts for it: reverse charge.
    Reverse,
}

/// What a workspace says of who pays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    pub name: Option<String>,
    pub email: Option<String>,
    pub address: Address,
    pub tax_id: Option<String>,
    pub tax_exempt: Exemption,
}

#[derive(sqlx::FromRow)]
struct Row {
    name: Option<String>,
    email: Option<String>,
    address: Json<Address>,
    tax_id: Option<String>,
    tax_exempt: Exemption,
}

/// An empty one when nothing was said.
pub async fn profile(tx: &mut Tx, workspace: &WorkspaceId) -> Result<Profile> {
    let row: Option<Row> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select name, email, address, tax_id, tax_exempt from billing_profiles \
             where workspace_id = $1"
        )
        .bind(workspace)
    )?;
    Ok(row.map_or_else(Profile::default, |row| Profile {
        name: row.name,
        email: row.email,
        address: row.address.0,
        tax_id: row.tax_id,
        tax_exempt: row.tax_exempt,
    }))
}

/// Issuer and customer as they are now. A workspace that says nothing is called by its name, and
/// reached at its owner's address.
pub async fn parties(tx: &mut Tx, issuer: &Issuer, workspace: &WorkspaceId) -> Result<Parties> {
    let Profile { name, email, address, tax_id, tax_exempt } = profile(tx, workspace).await?;
    let owner: Option<(String, String)> = fetch_optional!(
        tx,
        sqlx::query_as(
            "select workspaces.name, users.email from workspaces \
             join users on users.id = workspaces.owner_id where workspaces.id = $1"
        )
        .bind(workspace)
    )?;
    let (workspace_name, owner_email) = owner.unzip();
    let customer = Party {
        name: name.or(workspace_name).unwrap_or_default(),
        email: email.or(owner_email),
        address,
        tax_id,
    };
    Ok(Parties { issuer: Party::from(issuer), customer, tax_exempt })
}

impl From<&Issuer> for Party {
    fn from(issuer: &Issuer) -> Self {
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            name: issuer.name.clone(),
            email: given(&issuer.email),
            address: Address {
                line1: given(&issuer.line1),
                line2: given(&issuer.line2),
                postal_code: given(&issuer.postal_code),
                city: given(&issuer.city),
                state: given(&issuer.state),
                country: given(&issuer.country),
            },
            tax_id: given(&issuer.tax_id),
        }
    }
}
