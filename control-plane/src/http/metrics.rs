//! The control plane's own metrics, for `/metrics`.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, TextEncoder};

static REQUESTS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let options = HistogramOpts::new(
        "authsome_control_request_seconds",
        "Duration of answered requests, by route and status",
    );
    let histogram = HistogramVec::new(options, &["route", "status"]).expect("valid names");
    prometheus::default_registry().register(Box::new(histogram.clone())).expect("registered once");
    histogram
});

/// Counts an answered request.
pub fn observe(route: &str, status: u16, took: Duration) {
    let labels = [route, &status.to_string()];
    REQUESTS.with_label_values(&labels).observe(took.as_secs_f64());
}

/// All metrics of the process, in Prometheus' text format.
pub fn text() -> String {
    LazyLock::force(&REQUESTS);
    TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_default()
}
