//! A real Prometheus scrapes a running server, computes with its numbers and has its alerts begin and end.
//!
//! `tests/sdk/setup` provides the programs; where they are not there, the test says so and is skipped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use url::form_urlencoded::Serializer;

use super::{TOKEN, ask, workspace};
use crate::api::sdk_cache;
use crate::conformance::skipped;
use crate::support::Server;
use crate::support::http::try_request;
use crate::support::waiting::{PATIENCE, seldom, within};

const PROMETHEUS: &str = "prometheus";
pub const PROMTOOL: &str = "promtool";
/// How often another port is tried when somebody else has taken the chosen one.
const TRIES: usize = 5;

/// A program of Prometheus: that of the cache of `tests/sdk/setup`, or that of the path.
pub fn of_prometheus(name: &str) -> Result<PathBuf, String> {
    let cached = sdk_cache().join("prometheus/usr/bin").join(name);
    let program = if cached.exists() { cached } else { PathBuf::from(name) };
    let runs = Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success());
    if runs { Ok(program) } else { Err(format!("{name} is not installed; `tests/sdk/setup` says why")) }
}

/// A running Prometheus in a temporary folder; killed when dropped.
struct ScrapingPrometheus {
    child: Child,
    address: String,
    folder: TempDir,
}

impl ScrapingPrometheus {
    /// One that scrapes a server each second, and itself, and looks at the packaged alerts each second.
    fn of(program: &Path, server: &Server) -> Self {
        let mut said = String::new();
        for _ in 0..TRIES {
            let mut started = Self::start(program, server);
            match started.wait_until_ready() {
                Ok(()) => return started,
                Err(log) => said = log,
            }
        }
        panic!("Prometheus does not start: {said}");
    }

    fn start(program: &Path, server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It takes no port 0.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/tidegate.rules.yaml");
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [
                {
                    "job_name": "tidegate",
                    "authorization": {"credentials": TOKEN},
                    "static_configs": [{"targets": [server.admin]}],
                },
                {"job_name": "prometheus", "static_configs": [{"targets": [address]}]},
            ],
        });
        // JSON is YAML too.
        let file = folder.path().join("prometheus.yaml");
        std::fs::write(&file, configuration.to_string()).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, address, folder }
    }

    /// Waits until it answers; what it said when it ended instead.
    fn wait_until_ready(&mut self) -> Result<(), String> {
        within(PATIENCE, "Prometheus is ready or ends", || {
            if self.child.try_wait().unwrap().is_some() {
                return Ok(Err(self.log()));
            }
            match try_request(&self.address, "GET", "/-/ready", &[], b"") {
                Ok(reply) if reply.status == 200 => Ok(Ok(())),
                Ok(reply) => Err(reply.text()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// What an expression is now: each series with its labels, and its value as Prometheus writes it.
    fn query(&self, expression: &str) -> Vec<(Value, String)> {
        let body = Serializer::new(String::new()).append_pair("query", expression).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let reply = try_request(&self.address, "POST", "/api/v1/query", &headers, body.as_bytes());
        let reply = reply.unwrap_or_else(|error| panic!("{expression}: {error}: {}", self.log()));
        assert_eq!(reply.status, 200, "{expression}: {}", reply.text());
        let answer = reply.json();
        let series = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}"));
        let found = series.iter().map(|one| (one["metric"].clone(), one["value"][1].as_str().unwrap().to_owned()));
        found.collect()
    }

    /// Waits until an expression is one series of this value.
    #[track_caller]
    fn wait_for(&self, expression: &str, value: &str) {
        seldom(&format!("{expression} is {value}"), || {
            let found = self.query(expression);
            if found.len() == 1 && found[0].1 == value { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }

    /// Waits until an alert is pending, or fires already; its labels.
    #[track_caller]
    fn wait_for_alert(&self, name: &str) -> Value {
        seldom(&format!("{name} is pending"), || {
            let found = self.alerts(name);
            if found.len() == 1 { Ok(found[0].0.clone()) } else { Err(format!("{found:?}")) }
        })
    }

    /// Waits until an alert is in order.
    #[track_caller]
    fn wait_for_end_of(&self, name: &str) {
        seldom(&format!("{name} is inactive"), || {
            let found = self.alerts(name);
            if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }

    fn alerts(&self, name: &str) -> Vec<(Value, String)> {
        self.query(&format!("ALERTS{{alertname=\"{name}\"}}"))
    }
}

impl Drop for ScrapingPrometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_scrapes_what_was_sent_and_its_alerts_begin_and_end() {
    let program = match of_prometheus(PROMETHEUS) {
        Ok(program) => program,
        Err(lack) => return skipped("metrics::prometheus", &lack),
    };
    let workspace = workspace();
    workspace
        .write("destinations/away.yaml", "kind: postgres\nurl: postgres://me:hush@127.0.0.1:1/db\nsslmode: disable\n");
    workspace.write("syncs/web-to-away.yaml", "source: web\ndestination: away\n");
    let server = workspace.serve();
    let prometheus = ScrapingPrometheus::of(&program, &server);
    prometheus.wait_for("up{job=\"tidegate\"}", "1");
    // It may have been pending until the first scrape.
    prometheus.wait_for_end_of("TidegateDown");
    let events = ["a", "b", "c"].map(|id| json!({"type": "page", "messageId": id, "userId": "u"}));
    assert_eq!(server.batch(&events).status, 200);
    prometheus.wait_for("tidegate_accepted_events_total{environment=\"default\",source=\"web\"}", "3");
    let delivered = |sync: &str| format!("tidegate_sync_events_total{{sync=\"{sync}\",fate=\"delivered\"}}");
    prometheus.wait_for(&delivered("web-to-warehouse"), "3");
    // Prometheus takes the buckets for a histogram.
    let quantile = "histogram_quantile(0.5, tidegate_acknowledge_seconds_bucket{source=\"web\"})";
    prometheus.wait_for(&format!("count({quantile} > 0)"), "1");

    // The one sync whose destination is away, and no other.
    let alert = prometheus.wait_for_alert("TidegateSyncFailing");
    let labels = [&alert["sync"], &alert["environment"], &alert["severity"]];
    assert_eq!(labels, ["web-to-away", "default", "critical"], "{alert}");
    workspace.write("destinations/away.yaml", "kind: sqlite\npath: data/near.db\n");
    server.signal("HUP");
    prometheus.wait_for_end_of("TidegateSyncFailing");
    prometheus.wait_for(&delivered("web-to-away"), "3");

    // Every alert could be computed, again and again.
    prometheus.wait_for("sum(prometheus_rule_evaluations_total) > bool 100", "1");
    prometheus.wait_for("sum(prometheus_rule_evaluation_failures_total)", "0");
    assert_eq!(ask(&server, "/livez", None).status, 200);
    server.stop();
    prometheus.wait_for("up{job=\"tidegate\"}", "0");
    prometheus.wait_for_alert("TidegateDown");
    assert!(!prometheus.log().contains("level=error"), "{}", prometheus.log());
}
