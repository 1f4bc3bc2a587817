//! The types of events. A type is never renamed once released; what its data holds may grow.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum EventType {
    #[serde(rename = "application.provisioned")]
    ApplicationProvisioned,
    #[serde(rename = "application.failed")]
    ApplicationFailed,
    #[serde(rename = "application.updated")]
    ApplicationUpdated,
    #[serde(rename = "application.restarted")]
    ApplicationRestarted,
    #[serde(rename = "application.suspended")]
    ApplicationSuspended,
    #[serde(rename = "application.deleted")]
    ApplicationDeleted,
    #[serde(rename = "application.restored")]
    ApplicationRestored,
    #[serde(rename = "key.created")]
    KeyCreated,
    #[serde(rename = "key.rotated")]
    KeyRotated,
    #[serde(rename = "key.revoked")]
    KeyRevoked,
    #[serde(rename = "member.invited")]
    MemberInvited,
    #[serde(rename = "member.joined")]
    MemberJoined,
    #[serde(rename = "member.role_changed")]
    MemberRoleChanged,
    #[serde(rename = "member.removed")]
    MemberRemoved,
    #[serde(rename = "usage.threshold")]
    UsageThreshold,
    #[serde(rename = "invoice.created")]
    InvoiceCreated,
    #[serde(rename = "invoice.paid")]
    InvoicePaid,
    #[serde(rename = "invoice.failed")]
    InvoiceFailed,
    /// Asked for by `POST …/test`, and sent to that webhook whatever it subscribes to.
    #[serde(rename = "webhook.test")]
    WebhookTest,
}

impl EventType {
    /// What can be subscribed to.
    pub const ALL: [Self; 18] = [
        Self::ApplicationProvisioned,
        Self::ApplicationFailed,
        Self::ApplicationUpdated,
        Self::ApplicationRestarted,
        Self::ApplicationSuspended,
        Self::ApplicationDeleted,
        Self::ApplicationRestored,
        Self::KeyCreated,
        Self::KeyRotated,
        Self::KeyRevoked,
        Self::MemberInvited,
        Self::MemberJoined,
        Self::MemberRoleChanged,
        Self::MemberRemoved,
        Self::UsageThreshold,
        Self::InvoiceCreated,
        Self::InvoicePaid,
        Self::InvoiceFailed,
    ];

    /// As on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApplicationProvisioned => "application.provisioned",
            Self::ApplicationFailed => "application.failed",
            Self::ApplicationUpdated => "application.updated",
            Self::ApplicationRestarted => "application.restarted",
            Self::ApplicationSuspended => "application.suspended",
            Self::ApplicationDeleted => "application.deleted",
            Self::ApplicationRestored => "application.restored",
            Self::KeyCreated => "key.created",
            Self::KeyRotated => "key.rotated",
            Self::KeyRevoked => "key.revoked",
            Self::MemberInvited => "member.invited",
            Self::MemberJoined => "member.joined",
            Self::MemberRoleChanged => "member.role_changed",
            Self::MemberRemoved => "member.removed",
            Self::UsageThreshold => "usage.threshold",
            Self::InvoiceCreated => "invoice.created",
            Self::InvoicePaid => "invoice.paid",
            Self::InvoiceFailed => "invoice.failed",
            Self::WebhookTest => "webhook.test",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_the_same_on_the_wire_and_in_the_database() {
        for kind in EventType::ALL.into_iter().chain([EventType::WebhookTest]) {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
