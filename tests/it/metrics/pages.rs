//! The page of metrics, the dashboard and the alerts say what a server says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::prometheus::{PROMTOOL, of_prometheus};
use super::{scraped, workspace};
use crate::conformance::skipped;

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every metric of a scrape: its name, its kind and its sentence.
fn described(text: &str) -> BTreeSet<(String, String, String)> {
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let both = helps.zip(kinds).map(|((name, help), (same, kind))| {
        assert_eq!(name, same);
        (name.to_owned(), kind.to_owned(), help.to_owned())
    });
    both.collect()
}

/// The series that an expression names, without what a histogram adds to its name.
fn named(expression: &str, histograms: &BTreeSet<&str>) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let metrics = words.filter(|word| word.starts_with("tidegate_") || word.starts_with("process_"));
    let plain = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"];
        let of_histogram = ends.iter().find_map(|end| word.strip_suffix(end)).filter(|name| histograms.contains(name));
        of_histogram.unwrap_or(word).to_owned()
    };
    metrics.map(plain).collect()
}

/// The expressions of the alerts, each a text in JSON, which YAML takes as well.
fn alert_expressions() -> Vec<String> {
    let text = read(&packaged("prometheus/tidegate.rules.yaml"));
    let written = text.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let found: Vec<String> =
        written.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert!(found.len() >= 20, "{found:?}");
    found
}

/// The expressions of the dashboard.
fn panel_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(&packaged("grafana/tidegate.json"))).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        found.extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    let of_variable = &dashboard["templating"]["list"][1]["query"];
    found.push(of_variable.as_str().unwrap().to_owned());
    assert!(found.len() >= 30, "{found:?}");
    found
}

#[test]
fn the_page_the_dashboard_and_the_alerts_name_what_a_scrape_has() {
    let workspace = workspace();
    let server = workspace.serve();
    let text = scraped(&server);
    server.stop();
    let described = described(&text);
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let rows = rows.filter(|row| row.starts_with("tidegate_") || row.starts_with("process_"));
    let told: BTreeSet<(String, String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let [name, kind, _, help] = cells[..] else { panic!("{row}") };
            (name.trim_end_matches('`').to_owned(), kind.to_owned(), help.to_owned())
        })
        .collect();
    assert_eq!(told, described, "docs/metrics.md (left) and a scrape (right)");
    let names: BTreeSet<&str> = described.iter().map(|(name, _, _)| name.as_str()).collect();
    let of_kind = described.iter().filter(|(_, kind, _)| kind == "histogram");
    let histograms: BTreeSet<&str> = of_kind.map(|(name, _, _)| name.as_str()).collect();
    for expression in alert_expressions().iter().chain(&panel_expressions()) {
        let found = named(expression, &histograms);
        assert!(!found.is_empty(), "{expression} names nothing");
        let unknown: Vec<&String> = found.iter().filter(|name| !names.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{expression} names {unknown:?}, which no server has");
    }
}

/// Runs `promtool` of Prometheus: whether it is content, and what it said.
fn promtool(program: &Path, arguments: &[&str], input: &Path) -> (bool, String) {
    let stdin = std::fs::File::open(input).unwrap();
    let output = Command::new(program).args(arguments).stdin(stdin).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), text)
}

#[test]
fn prometheus_takes_the_text_the_alerts_and_the_expressions_of_the_dashboard() {
    let program = match of_prometheus(PROMTOOL) {
        Ok(program) => program,
        Err(lack) => return skipped("metrics::promtool", &lack),
    };
    let workspace = workspace();
    let server = workspace.serve();
    let text = scraped(&server);
    server.stop();
    let scrape = workspace.path().join("scrape.txt");
    // What has no samples yet is for the page, and Prometheus passes it over.
    std::fs::write(&scrape, text).unwrap();
    let (takes, said) = promtool(&program, &["check", "metrics"], &scrape);
    assert!(takes, "{said}");
    let alerts = packaged("prometheus/tidegate.rules.yaml");
    let (takes, said) = promtool(&program, &["check", "rules", alerts.to_str().unwrap()], &scrape);
    assert!(takes, "{said}");
    // Grafana puts these in.
    let filled = |expression: String| expression.replace("$__rate_interval", "5m").replace("$environment", ".*");
    let rules =
        panel_expressions().into_iter().filter(|expression| !expression.starts_with("label_values")).map(filled);
    let mut written = "groups:\n  - name: panels\n    rules:\n".to_owned();
    for (number, expression) in rules.enumerate() {
        let expression = serde_json::to_string(&expression).unwrap();
        written += &format!("      - record: panel:number{number}\n        expr: {expression}\n");
    }
    let recorded = workspace.path().join("panels.rules.yaml");
    std::fs::write(&recorded, written).unwrap();
    let (takes, said) = promtool(&program, &["check", "rules", recorded.to_str().unwrap()], &scrape);
    assert!(takes, "{said}");
}
