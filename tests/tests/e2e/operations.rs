//! The dashboard and the alert rules ask for metrics that exist, by labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops");
const METRICS: &str = include_str!("../../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../../ops/grafana/authsome.json");
const ALERTS: &str = include_str!("../../../ops/prometheus/alerts.yml");
const SCRAPES: &str = include_str!("../../../ops/prometheus/prometheus.yml");

/// What Prometheus adds to every series.
const ADDED: [&str; 2] = ["instance", "job"];

/// By metric: its labels with their values, `None` for any.
type Metrics = BTreeMap<String, BTreeMap<String, Option<BTreeSet<String>>>>;

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Every metric that the document lists, histograms by the names of their series.
fn known() -> Metrics {
    let mut known = Metrics::from([("up".to_owned(), BTreeMap::new())]);
    for name in quoted(METRICS).filter(|name| name.starts_with("process_")) {
        known.insert(name.to_owned(), BTreeMap::new());
    }
    for row in METRICS.lines().filter(|line| line.starts_with("| `authsome_")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let name = quoted(cells[0]).next().expect("a name");
        let mut labels = BTreeMap::new();
        for label in cells[2].split(';').filter(|label| !label.is_empty()) {
            let (label, values) = label.split_once(':').expect("`label`: values");
            let values: BTreeSet<_> = quoted(values).map(str::to_owned).collect();
            let label = quoted(label).next().expect("a name").to_owned();
            labels.insert(label, (!values.is_empty()).then_some(values));
        }
        if cells[1] == "histogram" {
            known.insert(format!("{name}_sum"), labels.clone());
            known.insert(format!("{name}_count"), labels.clone());
            labels.insert("le".into(), None);
            known.insert(format!("{name}_bucket"), labels);
        } else {
            known.insert(name.to_owned(), labels);
        }
    }
    assert!(known.len() > 50, "{known:?}");
    known
}

/// Fails unless an expression's metrics, labels and label values exist. It reads no more of `PromQL`
/// than it must: `promtool` judges the grammar.
#[track_caller]
fn check(expression: &str, known: &Metrics) {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    let mut rest = expression;
    let mut asked = Vec::new();
    let mut grouped = Vec::new();
    while let Some(at) = rest.find(|it: char| is_part(it) || it == '[' || it == '"') {
        rest = &rest[at..];
        if let Some(range) = rest.strip_prefix('[') {
            rest = range.split_once(']').expect("a range's end").1;
            continue;
        }
        let length = rest.find(|it| !is_part(it)).unwrap_or(rest.len());
        assert!(length > 0, "a text outside of braces in {expression}");
        let (word, after) = rest.split_at(length);
        let after = after.trim_start();
        rest = after;
        if word.starts_with(|it: char| it.is_ascii_digit())
            || ["and", "or", "unless"].contains(&word)
        {
            continue;
        }
        if let Some(inside) = after.strip_prefix('(') {
            if ["by", "on", "without", "ignoring"].contains(&word) {
                let (labels, end) = inside.split_once(')').expect("the labels' end");
                grouped.extend(labels.split(',').map(str::trim));
                rest = end;
            }
            continue;
        }
        if word == "by" || after.starts_with("by (") {
            continue;
        }
        let mut matchers = Vec::new();
        if let Some(inside) = after.strip_prefix('{') {
            let (inside, end) = inside.split_once('}').expect("the matchers' end");
            matchers.extend(inside.split(',').filter(|it| !it.is_empty()));
            rest = end;
        }
        asked.push((word, matchers));
    }
    assert!(!asked.is_empty(), "no metric in {expression}");
    for (metric, matchers) in &asked {
        let labels = known.get(*metric).unwrap_or_else(|| panic!("{metric} of {expression}"));
        for matcher in matchers {
            let (label, value) = matcher.split_once('=').expect("a matcher");
            let Some(values) = labels.get(label.trim_end_matches('!')) else {
                assert!(ADDED.contains(&label), "{label} of {metric} in {expression}");
                continue;
            };
            let value = value.trim_start_matches('~').trim_matches('"');
            for value in value.split('|') {
                let exists = values.as_ref().is_none_or(|values| values.contains(value));
                assert!(exists, "{label} is never {value}: {expression}");
            }
        }
    }
    for label in grouped {
        let exists = ADDED.contains(&label)
            || asked.iter().any(|(metric, _)| known[*metric].contains_key(label));
        assert!(exists, "no metric has the label {label}: {expression}");
    }
}

#[test]
fn the_check_of_expressions_finds_what_is_wrong() {
    let known = known();
    for good in [
        "up{job=\"authsome-proxy\"} == 0",
        "sum by (outcome) (rate(authsome_proxy_requests_total{outcome=~\"5xx|bad_gateway\"}[5m]))",
        "time() - authsome_proxy_ready > 1e3 and authsome_proxy_connections",
        "histogram_quantile(0.9, sum by (le) (rate(authsome_proxy_request_seconds_bucket[1m])))",
    ] {
        check(good, &known);
    }
    for bad in [
        "authsome_proxy_request_total",
        "authsome_proxy_request_seconds",
        "authsome_proxy_requests_total{outcome=\"6xx\"}",
        "authsome_proxy_requests_total{cause=\"scope\"}",
        "sum by (cause) (authsome_proxy_requests_total)",
        "1 + 1",
    ] {
        let refused = std::panic::catch_unwind(|| check(bad, &known));
        assert!(refused.is_err(), "{bad}");
    }
}

#[test]
fn the_dashboard_asks_for_what_the_planes_expose() {
    let known = known();
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let of = |name: &str| variables.iter().find(|it| it["name"] == name).expect("a variable");
    assert_eq!(of("datasource")["type"], "datasource");
    let instances = of("instance")["definition"].as_str().expect("a query");
    assert!(known.keys().any(|name| instances.contains(name)), "{instances}");

    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|it| it["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let mut asked = BTreeSet::new();
    for panel in panels.iter().filter(|it| it["type"] != "row") {
        let title = panel["title"].as_str().expect("a title");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().expect(title);
        assert!(!unit.is_empty(), "{title}");
        let targets = panel["targets"].as_array().expect(title);
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let expression = target["expr"].as_str().expect(title);
            check(
                &expression.replace("$__rate_interval", "5m").replace("=~\"$instance\"", "=\"i\""),
                &known,
            );
            asked.extend(known.keys().filter(|name| expression.contains(name.as_str())));
        }
    }
    let shown = |name: &&String| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        base.is_some_and(|base| asked.iter().any(|it| it.starts_with(base))) || asked.contains(name)
    };
    let missing: Vec<_> =
        known.keys().filter(|name| name.starts_with("authsome_proxy_") && !shown(name)).collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn the_alerts_ask_for_what_the_planes_expose_and_say_what_it_means() {
    let known = known();
    let rules: Value = serde_yaml::from_str(ALERTS).expect("YAML");
    let groups = rules["groups"].as_array().expect("groups");
    let mut names = BTreeSet::new();
    for rule in groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")) {
        let name = rule["alert"].as_str().expect("a name");
        assert!(names.insert(name), "{name} is there twice");
        check(rule["expr"].as_str().expect(name), &known);
        let severity = rule["labels"]["severity"].as_str().expect(name);
        assert!(["critical", "warning"].contains(&severity), "{name}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|it| !it.is_empty()), "{name}");
        }
    }
    assert!(names.len() >= 20, "{names:?}");
    let scrapes: Value = serde_yaml::from_str(SCRAPES).expect("YAML");
    let jobs: Vec<_> = scrapes["scrape_configs"]
        .as_array()
        .expect("jobs")
        .iter()
        .map(|job| job["job_name"].as_str().expect("a name"))
        .collect();
    for job in ["authsome-proxy", "authsome-control-plane"] {
        assert!(jobs.contains(&job) && ALERTS.contains(&format!("job=\"{job}\"")), "{job}");
    }
}

/// With Prometheus' own tool, where it is installed: `scripts/test` sees to that.
#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should() {
    let folder = Path::new(FOLDER).join("prometheus");
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = match Command::new("promtool").args(arguments).current_dir(&folder).output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return eprintln!("promtool is not installed: the rules are not run");
            }
            Err(error) => panic!("promtool: {error}"),
        };
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
}
