//! Where finished requests are told to operators, in one hand: the access log, the memory of recent
//! decisions, and traces. What is told is made by `gateway::report` and `listener::refusal`.

use std::sync::Arc;

use authsome_shared::id::NodeId;

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::recent::Recent;
use crate::trace::Tracer;
use crate::trace::export::{self, Exporter};

pub struct Reports {
    pub access_log: AccessLog,
    /// The latest decisions.
    pub recent: Recent,
    pub tracer: Tracer,
    /// Who reports.
    pub node: NodeId,
}

impl Reports {
    /// Opens them all; also gives the task that exports traces, if they are exported.
    pub fn open(
        config: &Config,
        node: &NodeId,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<(Arc<Self>, Option<Exporter>)> {
        let access_log = AccessLog::open(&config.log, metrics.clone())?;
        let (tracer, exporter) = export::start(&config.tracing, node.clone(), metrics.clone())?;
        let recent = Recent::new(config.explain.max_bytes);
        let reports = Self { access_log, recent, tracer, node: node.clone() };
        Ok((Arc::new(reports), exporter))
    }
}
