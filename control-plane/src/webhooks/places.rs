//! The places that attempts at deliveries have: so many for an endpoint, a workspace and in all, and
//! at most half of the last two for endpoints that fail. Counts only; what is sent is for
//! `dispatcher`.

use std::collections::HashMap;

use authsome_shared::id::{WebhookId, WorkspaceId};

use super::queue::Full;
use crate::config;

/// Whose place an attempt has.
#[derive(Debug, Clone)]
pub struct Place {
    pub webhook: WebhookId,
    pub workspace: WorkspaceId,
    pub failing: bool,
}

/// The attempts under way, against their bounds.
#[derive(Debug)]
pub struct Places {
    total: usize,
    per_workspace: usize,
    per_endpoint: usize,
    taken: usize,
    failing: usize,
    webhooks: HashMap<WebhookId, usize>,
    /// All, and those to webhooks that fail.
    workspaces: HashMap<WorkspaceId, (usize, usize)>,
}

impl Places {
    pub fn new(settings: &config::Webhooks) -> Self {
        Self {
            total: settings.parallel,
            per_workspace: settings.parallel_per_workspace,
            per_endpoint: settings.parallel_per_endpoint,
            taken: 0,
            failing: 0,
            webhooks: HashMap::new(),
            workspaces: HashMap::new(),
        }
    }

    /// At most half, and always one.
    fn half(bound: usize) -> usize {
        (bound / 2).max(1)
    }

    pub fn room(&self) -> usize {
        self.total - self.taken
    }

    pub fn room_for(&self, place: &Place) -> usize {
        let webhook = self.webhooks.get(&place.webhook).copied().unwrap_or_default();
        let (all, failing) = self.workspaces.get(&place.workspace).copied().unwrap_or_default();
        let mut room = self.room().min(self.per_workspace - all).min(self.per_endpoint - webhook);
        if place.failing {
            room = room
                .min(Self::half(self.total).saturating_sub(self.failing))
                .min(Self::half(self.per_workspace).saturating_sub(failing));
        }
        room
    }

    pub fn full(&self) -> Full {
        let workspaces = |is_full: &dyn Fn(usize, usize) -> bool| {
            let full = self.workspaces.iter().filter(|(_, (all, failing))| is_full(*all, *failing));
            full.map(|(id, _)| id.clone()).collect()
        };
        let webhooks = self.webhooks.iter().filter(|(_, taken)| **taken >= self.per_endpoint);
        Full {
            webhooks: webhooks.map(|(id, _)| id.clone()).collect(),
            workspaces: workspaces(&|all, _| all >= self.per_workspace),
            failing_in: workspaces(&|_, failing| failing >= Self::half(self.per_workspace)),
            failing: self.failing >= Self::half(self.total),
        }
    }

    pub fn take(&mut self, place: &Place) {
        self.taken += 1;
        *self.webhooks.entry(place.webhook.clone()).or_default() += 1;
        let (all, failing) = self.workspaces.entry(place.workspace.clone()).or_default();
        *all += 1;
        if place.failing {
            *failing += 1;
            self.failing += 1;
        }
    }

    pub fn leave(&mut self, place: &Place) {
        self.taken -= 1;
        if let Some(taken) = self.webhooks.get_mut(&place.webhook) {
            *taken -= 1;
            if *taken == 0 {
                self.webhooks.remove(&place.webhook);
            }
        }
        if let Some((all, failing)) = self.workspaces.get_mut(&place.workspace) {
            *all -= 1;
            *failing -= usize::from(place.failing);
            if *all == 0 {
                self.workspaces.remove(&place.workspace);
            }
        }
        self.failing -= usize::from(place.failing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let settings = config::Webhooks {
            parallel: 8,
            parallel_per_workspace: 4,
            parallel_per_endpoint: 2,
            ..config::Webhooks::default()
        };
        Places::new(&settings)
    }

    fn place(workspace: &WorkspaceId, failing: bool) -> Place {
        Place { webhook: WebhookId::new(), workspace: workspace.clone(), failing }
    }

    #[test]
    fn an_endpoint_and_a_workspace_have_their_bounds() {
        let mut places = places();
        let (one, other) = (WorkspaceId::new(), WorkspaceId::new());
        let (first, second) = (place(&one, false), place(&one, false));
        for _ in 0..2 {
            places.take(&first);
            places.take(&second);
        }
        assert_eq!(places.room_for(&first), 0);
        assert_eq!(places.room_for(&place(&one, false)), 0);
        assert_eq!(places.room_for(&place(&other, false)), 2);
        let full = places.full();
        assert_eq!((full.webhooks.len(), full.workspaces), (2, vec![one.clone()]));
        places.leave(&first);
        assert_eq!(places.room_for(&first), 1);
    }

    #[test]
    fn failing_endpoints_leave_half_of_the_places() {
        let mut places = places();
        let workspaces = [WorkspaceId::new(), WorkspaceId::new(), WorkspaceId::new()];
        let failing: Vec<Place> = workspaces.iter().map(|id| place(id, true)).collect();
        for place in &failing[..2] {
            assert_eq!(places.room_for(place), 2);
            places.take(place);
            places.take(place);
        }
        assert!(places.full().failing);
        assert_eq!(places.room_for(&failing[2]), 0);
        assert_eq!(places.full().failing_in.len(), 2);
        assert_eq!(places.room_for(&place(&workspaces[0], true)), 0);
        assert_eq!(places.room_for(&place(&workspaces[0], false)), 2);
        for place in &failing[..2] {
            places.leave(place);
            places.leave(place);
        }
        assert_eq!((places.room(), places.failing), (8, 0));
        assert!(places.webhooks.is_empty() && places.workspaces.is_empty());
    }
}
