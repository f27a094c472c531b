//! Sends spans to a collector of OpenTelemetry: OTLP over HTTP, in JSON.
//!
//! It is written here: it is one request, and a library for it brings a dozen others. Nobody waits for a collector. What it does not take at once is
//! dropped and counted, and said once.

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tidegate_metrics::{FinishedSpan, SpanBoard, SpanCounts, SpanKind, SpanValue};
use tidegate_process::telemetry::{Healed, Streak};
use tokio::sync::watch;

use crate::config::TracesConfig;

/// Between two looks for spans.
const PAUSE: Duration = Duration::from_secs(1);
/// Spans of one request.
const SPANS_MAX: usize = 512;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Spans on their way to a collector.
pub(super) struct SpanExport {
    spans: SpanBoard,
    client: Client,
    headers: HeaderMap,
    config: TracesConfig,
    streak: Streak,
}

impl SpanExport {
    /// Prepares the client; connects to nothing.
    ///
    /// # Errors
    /// A sentence: TLS cannot be set up, or a header cannot be sent.
    pub(super) fn open(config: &TracesConfig) -> Result<Self, String> {
        let builder = config.web.client().map_err(|error| error.to_string())?;
        let builder = builder.connect_timeout(CONNECT_TIME_MAX).timeout(config.timeout);
        let client = builder.build().map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            // What a header says may be a secret.
            let wrong = || format!("the header {name} cannot be sent");
            let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let spans = SpanBoard::following(f64::from(config.share_percent) / 100.0);
        Ok(Self { spans, client, headers, config: config.clone(), streak: Streak::default() })
    }

    /// Where requests are followed.
    pub(super) fn board(&self) -> SpanBoard {
        self.spans.clone()
    }

    /// Sends what there is, again and again, until `stop` turns true; then once more.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let is_over = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = tokio::time::sleep(PAUSE) => false,
            };
            while self.send_some().await {}
            if is_over {
                return;
            }
        }
    }

    /// Sends some of the spans; whether there may be more.
    async fn send_some(&mut self) -> bool {
        let spans = self.spans.take(SPANS_MAX);
        if spans.is_empty() {
            return false;
        }
        let count = spans.len() as u64;
        let body = request_body(&self.config.service_name, &spans).to_string();
        let request = self.client.post(self.config.url.clone()).headers(self.headers.clone()).body(body);
        let outcome = match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(format!("the collector answered {}", response.status())),
            Err(error) => Err(error.without_url().to_string()),
        };
        match outcome {
            Ok(()) => {
                self.spans.note(SpanCounts { sent: count, dropped: 0 });
                if let Some(Healed { seconds, attempts }) = self.streak.heals(Instant::now()) {
                    tracing::info!(failed_for_s = seconds, attempts, "the collector takes spans again");
                }
            }
            Err(reason) => {
                self.spans.note(SpanCounts { sent: 0, dropped: count });
                if self.streak.fails(&reason, Instant::now()) {
                    let url = self.config.url.as_str();
                    tracing::warn!(
                        url,
                        error = reason,
                        "spans cannot be sent and are dropped; events are not touched by it"
                    );
                }
            }
        }
        spans.len() == SPANS_MAX
    }
}

/// An `ExportTraceServiceRequest`.
fn request_body(service_name: &str, spans: &[FinishedSpan]) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [text("service.name", service_name), text("service.version", version)];
    let spans: Vec<Value> = spans.iter().map(shown_span).collect();
    let scope = json!({"name": "tidegate", "version": version});
    json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
}

fn shown_span(span: &FinishedSpan) -> Value {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Producer => 4,
    };
    let attribute = |(name, value): &(&'static str, SpanValue)| match value {
        SpanValue::Text(value) => text(name, value),
        SpanValue::Number(value) => json!({"key": name, "value": {"intValue": value.to_string()}}),
    };
    let attributes: Vec<Value> = span.attributes.iter().map(attribute).collect();
    let mut shown = json!({
        "traceId": HEXLOWER.encode(&span.trace_id), "spanId": HEXLOWER.encode(&span.span_id),
        "name": span.name, "kind": kind, "attributes": attributes,
        "startTimeUnixNano": nanoseconds(span.began_us), "endTimeUnixNano": nanoseconds(span.ended_us),
    });
    if let Some(parent) = &span.parent_id {
        shown["parentSpanId"] = HEXLOWER.encode(parent).into();
    }
    if let Some(error) = &span.error {
        shown["status"] = json!({"code": 2, "message": error});
    }
    shown
}

fn text(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

/// As the protocol has 64-bit numbers in JSON.
fn nanoseconds(us: i64) -> String {
    format!("{}000", us.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_what_the_protocol_says() {
        let spans = SpanBoard::following(1.0);
        let told = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = spans.begin(Some(told), "web", 7).unwrap();
        let mut span = trace.own("accept", (7, 9)).text("tidegate.source", "web").number("n", 3);
        span.error = Some("no".to_owned());
        let body = request_body("shop", &[span]);
        let sent = &body["resourceSpans"][0];
        assert_eq!(sent["resource"]["attributes"][0]["value"]["stringValue"], "shop");
        let span = &sent["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((&span["parentSpanId"], &span["kind"]), (&json!("00f067aa0ba902b7"), &json!(2)));
        assert_eq!((&span["startTimeUnixNano"], &span["endTimeUnixNano"]), (&json!("7000"), &json!("9000")));
        assert_eq!(span["attributes"][1], json!({"key": "n", "value": {"intValue": "3"}}));
        assert_eq!(span["status"]["code"], 2);
    }
}
