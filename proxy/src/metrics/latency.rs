//! How long the phases of a request take, in seconds. Each histogram has the buckets that its phase
//! needs: what is ours takes microseconds, what is the upstream's up to minutes.

use prometheus::{Histogram, HistogramOpts, Registry};

/// From five microseconds to ten milliseconds: work in memory.
const OURS: [f64; 11] =
    [0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01];

/// From ten microseconds to a second: work that may touch the disk.
const DISK: [f64; 10] =
    [0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.01, 0.1, 1.0];

/// From half a millisecond to a minute: what goes over a network.
const NETWORK: [f64; 16] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

pub struct Latency {
    /// From a request's head to the decision about it, the limiter included.
    pub admission: Histogram,
    pub rate_limit: Histogram,
    /// Of new connections only.
    pub connect: Histogram,
    /// From the connection to the response's head.
    pub first_byte: Histogram,
    /// From the first attempt to the response's end.
    pub upstream: Histogram,
    pub ledger: Histogram,
    /// The whole of a request.
    pub request: Histogram,
}

impl Latency {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str, buckets: &[f64]| -> prometheus::Result<_> {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(opts)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        Ok(Self {
            admission: histogram(
                "authsome_proxy_admission_seconds",
                "From a request's head to the decision about it",
                &OURS,
            )?,
            rate_limit: histogram(
                "authsome_proxy_rate_limit_seconds",
                "The check of a request's rate limit",
                &DISK,
            )?,
            connect: histogram(
                "authsome_proxy_upstream_connect_seconds",
                "A new connection to an upstream, with its TLS handshake",
                &NETWORK,
            )?,
            first_byte: histogram(
                "authsome_proxy_upstream_first_byte_seconds",
                "From an upstream's connection to the head of its response",
                &NETWORK,
            )?,
            upstream: histogram(
                "authsome_proxy_upstream_seconds",
                "From the first attempt to the end of the upstream's response",
                &NETWORK,
            )?,
            ledger: histogram(
                "authsome_proxy_ledger_append_seconds",
                "Writing usage records to the journal: one, or all that waited",
                &DISK,
            )?,
            request: histogram(
                "authsome_proxy_request_seconds",
                "From a request's head to its response's end",
                &NETWORK,
            )?,
        })
    }
}
