//! The states of an application and the only moves between them (design section 9).

use authsome_shared::code::Code;
use authsome_shared::snapshot::ApplicationStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = ApplicationStatus)]
pub enum Status {
    Provisioning,
    Active,
    Failed,
    Restarting,
    Suspended,
    Deleted,
}

impl Status {
    pub const ALL: [Self; 6] = [
        Self::Provisioning,
        Self::Active,
        Self::Failed,
        Self::Restarting,
        Self::Suspended,
        Self::Deleted,
    ];

    /// The move to another state, or 409.
    pub fn to(self, next: Self) -> Result<Self> {
        use Status::{Active, Deleted, Failed, Provisioning, Restarting, Suspended};
        let legal = match self {
            Provisioning => matches!(next, Active | Failed | Deleted),
            Active => matches!(next, Restarting | Suspended | Deleted),
            Failed => matches!(next, Provisioning | Deleted),
            Restarting => matches!(next, Active | Failed),
            Suspended => matches!(next, Active | Deleted),
            Deleted => matches!(next, Provisioning),
        };
        if legal {
            return Ok(next);
        }
        let message =
            format!("The application is {}; it can't become {}", self.name(), next.name());
        Err(Error::Conflict(Code::InvalidState, message))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Failed => "failed",
            Self::Restarting => "restarting",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }

    /// How proxies see it; `None`: not at all. A restart does not interrupt service.
    pub fn to_wire(self) -> Option<ApplicationStatus> {
        match self {
            Self::Provisioning => Some(ApplicationStatus::Provisioning),
            Self::Active | Self::Restarting => Some(ApplicationStatus::Active),
            Self::Failed => Some(ApplicationStatus::Failed),
            Self::Suspended => Some(ApplicationStatus::Suspended),
            Self::Deleted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_moves_are_legal() {
        use Status::{Active, Deleted, Failed, Provisioning, Restarting, Suspended};
        let legal = [
            (Provisioning, Active),
            (Provisioning, Failed),
            // Not in the design's list: a user must be able to delete what never became ready.
            (Provisioning, Deleted),
            (Failed, Provisioning),
            (Failed, Deleted),
            (Active, Restarting),
            (Active, Suspended),
            (Active, Deleted),
            (Restarting, Active),
            (Restarting, Failed),
            (Suspended, Active),
            (Suspended, Deleted),
            (Deleted, Provisioning),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(from.to(to).is_ok(), legal.contains(&(from, to)), "{from:?} to {to:?}");
            }
        }
    }
}
