//! The control plane's own metrics, for `/metrics`. What a scrape has to ask the database for is
//! made anew each time; an answer that does not come is told as such, and the rest all the same.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::db::Db;
use crate::error::Result;
use crate::{platform, proxies};

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
pub async fn text(db: &Db) -> String {
    LazyLock::force(&REQUESTS);
    let mut families = prometheus::gather();
    match standing(db).await {
        Ok(more) => families.extend(more.gather()),
        Err(error) => tracing::error!(%error, "the metrics can't be made"),
    }
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

/// How the platform stands just now.
async fn standing(db: &Db) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    let gauge = |name: &str, help: &str, value: i64| -> prometheus::Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(value);
        registry.register(Box::new(gauge))
    };
    let options = Opts::new("authsome_control_build_info", "1, with the version as a label");
    let build = IntGaugeVec::new(options, &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    let asked = ask(db).await;
    gauge(
        "authsome_control_database_up",
        "1 if the database answered this scrape",
        asked.is_ok().into(),
    )?;
    if let Ok((revision, connected)) = asked {
        gauge("authsome_control_revision", "The configuration's newest revision", revision)?;
        gauge(
            "authsome_control_proxies_connected",
            "Proxies whose stream is open",
            i64::try_from(connected).unwrap_or(i64::MAX),
        )?;
    }
    Ok(registry)
}

async fn ask(db: &Db) -> Result<(i64, usize)> {
    let mut tx = db.read().await?;
    let (_, revision) = platform::head(&mut tx).await?;
    Ok((revision, proxies::connected(&mut tx).await?.len()))
}
