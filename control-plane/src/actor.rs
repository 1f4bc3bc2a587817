//! Access as a value: who acts, what a role may do, and the proof of a permission in a workspace
//! that every workspace-scoped function asks for. Where the proof comes from: `workspaces::access`.

use std::net::IpAddr;

use authsome_shared::id::{RequestId, SessionId, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit;

/// Where a call comes from, for the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub address: Option<IpAddr>,
    pub request_id: Option<RequestId>,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub user_id: UserId,
    pub session_id: SessionId,
    /// Normalised: trimmed, lower case.
    pub email: String,
    pub platform_admin: bool,
    pub origin: Origin,
}

/// A member's role in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    Owner,
    Admin,
    Developer,
    Billing,
    Viewer,
}

impl Role {
    pub const ALL: [Self; 5] =
        [Self::Owner, Self::Admin, Self::Developer, Self::Billing, Self::Viewer];

    /// The table of design sections 9 and 14.
    pub fn may(self, permission: Permission) -> bool {
        use Permission as P;
        use Role::{Admin, Billing, Developer, Owner, Viewer};
        match permission {
            P::ViewWorkspace | P::ViewMembers | P::ViewApplications => {
                matches!(self, Owner | Admin | Developer | Billing | Viewer)
            }
            P::UpdateWorkspace | P::ManageApplications | P::ManageKeys | P::ViewKeys => {
                matches!(self, Owner | Admin | Developer)
            }
            P::ManageMembers | P::ViewAudit => matches!(self, Owner | Admin),
            P::ViewUsage => matches!(self, Owner | Admin | Developer | Billing),
            P::ManageBilling => matches!(self, Owner | Admin | Billing),
            P::DeleteWorkspace | P::ManageOwners => matches!(self, Owner),
        }
    }
}

/// What can be asked for in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    ViewWorkspace,
    UpdateWorkspace,
    /// Delete and restore.
    DeleteWorkspace,
    ViewMembers,
    ManageMembers,
    /// Make, change or remove an owner.
    ManageOwners,
    ViewApplications,
    ManageApplications,
    ViewKeys,
    ManageKeys,
    ViewUsage,
    /// Plan, payment method, billing details.
    ManageBilling,
    ViewAudit,
}

/// Proof that an actor is an admin of the platform, which is apart from every workspace: it opens
/// none of them.
#[derive(Debug, Clone)]
pub struct PlatformAccess {
    actor: Actor,
}

impl PlatformAccess {
    /// `None` when the actor is no admin.
    pub fn of(actor: Actor) -> Option<Self> {
        actor.platform_admin.then_some(Self { actor })
    }

    /// A change by this actor, in the platform's log.
    pub fn audit(&self, action: &'static str) -> audit::Entry {
        audit::Entry::by(&self.actor, action)
    }

    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

/// Proof that an actor has a permission in a workspace. Only `workspaces::access` makes one.
#[derive(Debug, Clone)]
pub struct Access {
    actor: Actor,
    workspace_id: WorkspaceId,
    role: Role,
}

impl Access {
    /// Called by `workspaces::access` once it has looked the membership up; nowhere else.
    pub(crate) fn proved(actor: &Actor, workspace_id: WorkspaceId, role: Role) -> Self {
        Self { actor: actor.clone(), workspace_id, role }
    }

    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    pub fn workspace_id(&self) -> &WorkspaceId {
        &self.workspace_id
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// An entry of the workspace's audit log, by this actor.
    pub fn audit(&self, action: &'static str) -> audit::Entry {
        audit::Entry::by(&self.actor, action).in_workspace(&self.workspace_id)
    }
}
