//! Where finished requests are told to operators, in one hand: the access log, the memory of recent
//! decisions, and traces; and to applications' owners. What is told is made by `gateway::report` and `listener::refusal`.

use std::sync::Arc;

use authsome_shared::clock::Clock;
use authsome_shared::id::NodeId;

use crate::access_log::AccessLog;
use crate::application_log::ApplicationLog;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::recent::Recent;
use crate::sync::client::Client;
use crate::trace::Tracer;
use crate::trace::export::{self, Exporter};

pub struct Reports {
    pub access_log: AccessLog,
    pub application_log: Arc<ApplicationLog>,
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
        client: &Client,
        clock: &Clock,
    ) -> anyhow::Result<(Arc<Self>, Option<Exporter>)> {
        let access_log = AccessLog::open(&config.log, metrics.clone())?;
        let application_log = Arc::new(ApplicationLog::new(
            &config.application_log,
            client.clone(),
            node.clone(),
            clock.clone(),
            metrics.clone(),
        ));
        let (tracer, exporter) = export::start(&config.tracing, node.clone(), metrics.clone())?;
        let recent = Recent::new(config.explain.max_bytes);
        let reports = Self { access_log, application_log, recent, tracer, node: node.clone() };
        Ok((Arc::new(reports), exporter))
    }
}
