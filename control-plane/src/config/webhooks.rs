//! Settings of the webhooks' deliveries. What they mean: `config/control-plane.toml`.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    pub timeout_seconds: u32,
    pub retry_seconds: Vec<u32>,
    pub disable_after_hours: u32,
    pub keep_days: u32,
    pub parallel: usize,
    pub parallel_per_workspace: usize,
    pub parallel_per_endpoint: usize,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            timeout_seconds: 15,
            retry_seconds: vec![5, 300, 1_800, 7_200, 18_000, 36_000, 36_000],
            disable_after_hours: 120,
            keep_days: 30,
            parallel: 256,
            parallel_per_workspace: 128,
            parallel_per_endpoint: 2,
        }
    }
}

impl Webhooks {
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let range = 1..=300;
        ensure!(range.contains(&self.timeout_seconds), "webhooks.timeout_seconds must be 1 to 300");
        ensure!(self.retry_seconds.len() <= 20, "webhooks.retry_seconds has more than 20 pauses");
        let longest = 7 * 86_400;
        ensure!(
            self.retry_seconds.iter().all(|pause| *pause <= longest),
            "webhooks.retry_seconds has a pause of more than a week"
        );
        ensure!(self.disable_after_hours > 0, "webhooks.disable_after_hours is 0");
        ensure!(self.keep_days > 0, "webhooks.keep_days is 0");
        let Self { parallel, parallel_per_workspace, parallel_per_endpoint, .. } = *self;
        ensure!(
            1 <= parallel_per_endpoint
                && parallel_per_endpoint <= parallel_per_workspace
                && parallel_per_workspace <= parallel
                && parallel <= 10_000,
            "webhooks.parallel_per_endpoint, parallel_per_workspace and parallel must rise, \
             from 1 to at most 10000"
        );
        Ok(())
    }
}
