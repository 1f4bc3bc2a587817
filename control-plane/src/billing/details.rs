//! Billing details: the name, address and tax id that a workspace's invoices go to, as its members
//! give them. They are copied onto each invoice when it is issued (`party`): a change is for the
//! invoices to come. Whether a customer pays taxes is for the platform's admins alone.

use authsome_shared::id::WorkspaceId;
use serde_json::{Value, json};
use sqlx::types::Json;

use super::country;
use super::party::{Address, Exemption, Profile, profile};
use crate::actor::{Access, PlatformAccess};
use crate::db::Tx;
use crate::error::{Checks, Result};
use crate::execute;
use crate::identity::user::is_email;
use crate::workspaces;

/// What members say. What is left out, or blank, is as if it had never been said.
#[derive(Debug, Clone, Default)]
pub struct Details {
    pub name: Option<String>,
    pub email: Option<String>,
    pub address: Address,
    pub tax_id: Option<String>,
}

impl Details {
    /// Trimmed, with countries and e-mail addresses in their usual letters.
    fn tidied(self) -> Self {
        let tidy = |text: Option<String>| {
            text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let Address { line1, line2, postal_code, city, state, country } = self.address;
        Self {
            name: tidy(self.name),
            email: self.email.map(|email| email.trim().to_lowercase()),
            address: Address {
                line1: tidy(line1),
                line2: tidy(line2),
                postal_code: tidy(postal_code),
                city: tidy(city),
                state: tidy(state),
                country: country.map(|country| country.trim().to_uppercase()),
            },
            tax_id: tidy(self.tax_id),
        }
    }

    fn check(&self) -> Result<()> {
        let mut checks = Checks::default();
        let Address { line1, line2, postal_code, city, state, country } = &self.address;
        for (field, text, most) in [
            ("name", &self.name, 200),
            ("address.line1", line1, 200),
            ("address.line2", line2, 200),
            ("address.postalCode", postal_code, 20),
            ("address.city", city, 100),
            ("address.state", state, 100),
            ("taxId", &self.tax_id, 50),
        ] {
            let fine = text.as_deref().is_none_or(|text| {
                text.chars().count() <= most && !text.chars().any(char::is_control)
            });
            let rule = format!("`{field}` must have at most {most} printable characters");
            checks.check(fine, field, rule);
        }
        let email = self.email.as_deref();
        checks.check(email.is_none_or(is_email), "email", "`email` must be an e-mail address");
        let known = country.as_deref().is_none_or(|code| country::name(code).is_some());
        let rule = "`address.country` must be a country's two letters (ISO 3166-1), such as DE";
        checks.check(known, "address.country", rule);
        checks.finish()
    }
}

/// What the workspace says of who pays; empty while it has said nothing.
pub async fn get(tx: &mut Tx, access: &Access) -> Result<Profile> {
    profile(tx, access.workspace_id()).await
}

/// Replaces all that members say.
pub async fn replace(tx: &mut Tx, access: &Access, details: Details) -> Result<Profile> {
    let details = details.tidied();
    details.check()?;
    let id = access.workspace_id();
    let before = profile(tx, id).await?;
    let Details { name, email, address, tax_id } = details;
    let after = Profile { name, email, address, tax_id, tax_exempt: before.tax_exempt };
    put(tx, id, &after).await?;
    let entry = access.audit("billing_details.replaced").on("workspace", id);
    tx.audit(entry.change(audited(&before), audited(&after)));
    Ok(after)
}

/// Says whether the workspace pays taxes; from its next invoice on.
pub async fn exempt(
    tx: &mut Tx,
    access: &PlatformAccess,
    id: &WorkspaceId,
    tax_exempt: Exemption,
) -> Result<Profile> {
    workspaces::admin::get(tx, access, id).await?;
    let before = profile(tx, id).await?;
    let after = Profile { tax_exempt, ..before.clone() };
    put(tx, id, &after).await?;
    let entry = access.audit("billing_details.tax_exemption_changed").in_workspace(id);
    let entry = entry.on("workspace", id);
    tx.audit(entry.change(audited(&before), audited(&after)));
    Ok(after)
}

async fn put(tx: &mut Tx, id: &WorkspaceId, profile: &Profile) -> Result<()> {
    let now = tx.now();
    execute!(
        tx,
        sqlx::query(
            "insert into billing_profiles \
             (workspace_id, name, email, address, tax_id, tax_exempt, updated_at) \
             values ($1, $2, $3, $4, $5, $6, $7) \
             on conflict (workspace_id) do update set name = excluded.name, \
             email = excluded.email, address = excluded.address, tax_id = excluded.tax_id, \
             tax_exempt = excluded.tax_exempt, updated_at = excluded.updated_at"
        )
        .bind(id)
        .bind(&profile.name)
        .bind(&profile.email)
        .bind(Json(&profile.address))
        .bind(&profile.tax_id)
        .bind(profile.tax_exempt)
        .bind(now)
    )?;
    Ok(())
}

fn audited(profile: &Profile) -> Value {
    let Profile { name, email, address, tax_id, tax_exempt } = profile;
    json!({
        "name": name, "email": email, "address": address, "taxId": tax_id,
        "taxExempt": tax_exempt,
    })
}
