//! What strict limits cost, and when they were not held by their store.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

/// Why a strict limit was decided by this proxy's share alone.
#[derive(Debug, Clone)]
pub struct Fallbacks {
    /// No store is configured.
    pub off: IntCounter,
    /// It is known to be away.
    pub down: IntCounter,
    /// It did not answer in time, or failed just then.
    pub late: IntCounter,
}

pub struct Strict {
    pub up: IntGauge,
    pub fallbacks: Fallbacks,
    pub call_seconds: Histogram,
    pub memory_losses: IntCounter,
}

impl Strict {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let up = IntGauge::new(
            "authsome_proxy_strict_up",
            "1 while strict limits are held by their store",
        )?;
        let fallbacks = prometheus::IntCounterVec::new(
            Opts::new(
                "authsome_proxy_strict_fallbacks_total",
                "Requests under a strict limit that this proxy's share decided, by reason",
            ),
            &["reason"],
        )?;
        let call_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "authsome_proxy_strict_call_seconds",
                "Calls to the store of strict limits; one may serve many requests",
            )
            .buckets(vec![0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0]),
        )?;
        let memory_losses = IntCounter::new(
            "authsome_proxy_strict_memory_losses_total",
            "Times that the store of strict limits was found emptied, restarted or replaced",
        )?;
        registry.register(Box::new(up.clone()))?;
        registry.register(Box::new(fallbacks.clone()))?;
        registry.register(Box::new(call_seconds.clone()))?;
        registry.register(Box::new(memory_losses.clone()))?;
        Ok(Self {
            up,
            fallbacks: Fallbacks {
                off: fallbacks.with_label_values(&["off"]),
                down: fallbacks.with_label_values(&["down"]),
                late: fallbacks.with_label_values(&["late"]),
            },
            call_seconds,
            memory_losses,
        })
    }
}
