//! What an upstream may say, and which field a refusal names.

use serde_json::{Value, json};

use super::*;
use crate::error::Error;

/// A certificate authority that has signed nothing of use.
const CA: &str = include_str!("../../../../../tests/tls/ca.pem");

/// The configuration with these fields besides two URLs; or the fields that are refused.
fn read(fields: Value) -> Result<Upstream, Vec<String>> {
    let mut upstream = json!({ "urls": ["https://a.example", "https://b.example"] });
    let Value::Object(fields) = fields else { panic!("not an object") };
    upstream.as_object_mut().unwrap().extend(fields);
    let config = json!({ "upstream": upstream });
    let read = || {
        let config = super::super::ApplicationConfig::parse(config.as_object().unwrap())?;
        config.validate(&[])?;
        Ok(config.upstream.unwrap())
    };
    read().map_err(|error: Error| match error {
        Error::Invalid(violations) => violations.into_iter().map(|it| it.field).collect(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn urls_alone_mean_the_wires_defaults() {
    let wire = read(json!({})).unwrap().to_wire();
    assert_eq!(wire, snapshot::Upstream { urls: wire.urls.clone(), ..Default::default() });
    let value = json!({ "urls": wire.urls });
    assert_eq!(serde_json::from_value::<snapshot::Upstream>(value).unwrap(), wire);
}

#[test]
fn empty_objects_switch_on_with_the_wires_defaults() {
    let wire = read(json!({ "healthCheck": {}, "breaker": {}, "tls": {} })).unwrap().to_wire();
    assert_eq!(wire.health_check, Some(snapshot::HealthCheck::default()));
    assert_eq!(wire.breaker, Some(snapshot::Breaker::default()));
    assert_eq!(wire.tls, snapshot::UpstreamTls::default());
}

#[test]
fn everything_reaches_the_wire() {
    let wire = read(json!({
        "weights": [1, 1000],
        "balance": "least_requests",
        "protocol": "http2",
        "preserveHost": true,
        "timeouts": { "connectMs": 1, "firstByteMs": 2, "idleMs": 3 },
        "retries": 3,
        "healthCheck": {
            "path": "/up?deep=1", "intervalMs": 1000, "timeoutMs": 4, "healthy": 5, "unhealthy": 6
        },
        "breaker": { "failures": 7, "failurePercent": 8, "windowMs": 9000, "openMs": 1000 },
        "tls": { "caPem": CA, "sni": "api.internal" },
    }));
    assert_eq!(
        wire.unwrap().to_wire(),
        snapshot::Upstream {
            urls: vec!["https://a.example".into(), "https://b.example".into()],
            weights: vec![1, 1000],
            balance: Balance::LeastRequests,
            protocol: snapshot::Protocol::Http2,
            preserve_host: true,
            timeouts: Timeouts { connect_ms: 1, first_byte_ms: 2, idle_ms: 3 },
            retries: 3,
            health_check: Some(snapshot::HealthCheck {
                path: "/up?deep=1".into(),
                interval_ms: 1000,
                timeout_ms: 4,
                healthy: 5,
                unhealthy: 6,
            }),
            breaker: Some(snapshot::Breaker {
                failures: 7,
                failure_percent: 8,
                window_ms: 9000,
                open_ms: 1000,
            }),
            tls: snapshot::UpstreamTls {
                ca_pem: Some(CA.into()),
                sni: Some("api.internal".into()),
                ..snapshot::UpstreamTls::default()
            },
        }
    );
}

#[test]
fn refusals_name_the_field() {
    let pem = |text: &str| json!({ "tls": { "caPem": text } });
    let sni = |text: &str| json!({ "tls": { "sni": text } });
    let key = CA.replace("CERTIFICATE", "PRIVATE KEY");
    for (fields, wanted) in [
        (json!({ "weights": [1] }), "weights"),
        (json!({ "weights": [1, 2, 3] }), "weights"),
        (json!({ "weights": [0, 1] }), "weights[0]"),
        (json!({ "weights": [1, 1001] }), "weights[1]"),
        (json!({ "weights": [1, -1] }), "weights[1]"),
        (json!({ "urls": ["http://a.b", "http://a.b"] }), "urls[1]"),
        (json!({ "balance": "random" }), "balance"),
        (json!({ "protocol": "http3" }), "protocol"),
        (json!({ "retries": 4 }), "retries"),
        (json!({ "retries": -1 }), "retries"),
        (json!({ "timeouts": { "connectMs": 0 } }), "timeouts.connectMs"),
        (json!({ "healthCheck": { "path": "health" } }), "healthCheck.path"),
        (json!({ "healthCheck": { "path": "/a b" } }), "healthCheck.path"),
        (json!({ "healthCheck": { "path": "/#a" } }), "healthCheck.path"),
        (json!({ "healthCheck": { "intervalMs": 999 } }), "healthCheck.intervalMs"),
        (json!({ "healthCheck": { "timeoutMs": 60_001 } }), "healthCheck.timeoutMs"),
        (json!({ "healthCheck": { "healthy": 0 } }), "healthCheck.healthy"),
        (json!({ "healthCheck": { "unhealthy": 11 } }), "healthCheck.unhealthy"),
        (json!({ "healthCheck": { "port": 1 } }), "healthCheck.port"),
        (json!({ "breaker": { "failures": 0 } }), "breaker.failures"),
        (json!({ "breaker": { "failurePercent": 101 } }), "breaker.failurePercent"),
        (json!({ "breaker": { "windowMs": 10 } }), "breaker.windowMs"),
        (json!({ "breaker": { "openMs": 10 } }), "breaker.openMs"),
        (sni(""), "tls.sni"),
        (sni("10.0.0.1"), "tls.sni"),
        (sni("under_score.example"), "tls.sni"),
        (sni("a.example:443"), "tls.sni"),
        (pem(""), "tls.caPem"),
        (pem("hello"), "tls.caPem"),
        (pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "tls.caPem"),
        (pem(&key), "tls.caPem"),
        (pem(&CA.repeat(33)), "tls.caPem"),
        (json!({ "tls": { "clientKeyPem": "x" } }), "tls.clientKeyPem"),
        (json!({ "tls": { "verify": false } }), "tls.verify"),
    ] {
        let refused = read(fields.clone()).expect_err(&fields.to_string());
        assert_eq!(refused, [format!("config.upstream.{wanted}")], "{fields}");
    }
}
