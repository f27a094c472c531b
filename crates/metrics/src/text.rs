//! The text that Prometheus reads: format 0.0.4.
//!
//! It is written here rather than by a library: it is a page of code, nothing of it is in the lock file yet, and most numbers are asked of the state
//! when somebody scrapes, for which registries of counters have no use.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};

use super::definitions::{METRICS, MetricDefinition};
use super::series::{BUCKETS_US, HistogramReading};

/// The samples of a scrape.
#[derive(Debug, Default)]
pub struct MetricsText {
    samples: HashMap<&'static str, String>,
}

impl MetricsText {
    /// The media type of the text.
    pub const MEDIA_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// A sample; the values of labels are in the order of the definition.
    pub fn add(&mut self, metric: &MetricDefinition, labels: &[&str], value: impl Display) {
        let out = self.samples.entry(metric.name).or_default();
        write_sample(out, (metric.name, ""), &pairs(metric, labels), value);
    }

    /// All samples of a histogram.
    pub fn add_histogram(&mut self, metric: &MetricDefinition, labels: &[&str], read: &HistogramReading) {
        let out = self.samples.entry(metric.name).or_default();
        let (labels, mut count) = (pairs(metric, labels), 0_u64);
        let ends = BUCKETS_US.iter().map(|end| seconds(*end).to_string()).chain(["+Inf".to_owned()]);
        for (end, of_bucket) in ends.zip(read.counts) {
            count += of_bucket;
            let mut labels = labels.clone();
            labels.push(("le", end.as_str()));
            write_sample(out, (metric.name, "_bucket"), &labels, count);
        }
        write_sample(out, (metric.name, "_sum"), &labels, seconds(read.sum_us));
        write_sample(out, (metric.name, "_count"), &labels, count);
    }

    /// Every metric with its sentence, also one that has no samples.
    #[must_use]
    pub fn finish(self) -> String {
        let mut text = String::new();
        for metric in METRICS {
            let (name, kind) = (metric.name, metric.kind.as_str());
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
            text.push_str(self.samples.get(name).map_or("", String::as_str));
        }
        text
    }
}

/// Microseconds as seconds.
fn seconds(us: u64) -> f64 {
    std::time::Duration::from_micros(us).as_secs_f64()
}

fn pairs<'a>(metric: &MetricDefinition, values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    metric.labels.iter().copied().zip(values.iter().copied()).collect()
}

fn write_sample(out: &mut String, (name, ending): (&str, &str), labels: &[(&str, &str)], value: impl Display) {
    out.push_str(name);
    out.push_str(ending);
    for (at, (label, value)) in labels.iter().enumerate() {
        out.push(if at == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ACKNOWLEDGE, BUILD_INFO, DISK_FREE, Histogram};

    #[test]
    fn samples_stand_below_their_metric_and_values_are_escaped() {
        let mut text = MetricsText::default();
        text.add(&BUILD_INFO, &["1\"\\\n"], 1);
        text.add(&DISK_FREE, &["default"], 7_u64);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(1_500));
        text.add_histogram(&ACKNOWLEDGE, &["default", "web"], &histogram.read());
        let text = text.finish();
        assert!(
            text.contains("# TYPE tidegate_build_info gauge\ntidegate_build_info{version=\"1\\\"\\\\\\n\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("\ntidegate_disk_free_bytes{environment=\"default\"} 7\n"), "{text}");
        for line in [
            "_bucket{environment=\"default\",source=\"web\",le=\"0.001\"} 0",
            "_bucket{environment=\"default\",source=\"web\",le=\"0.0025\"} 1",
            "_bucket{environment=\"default\",source=\"web\",le=\"+Inf\"} 1",
            "_sum{environment=\"default\",source=\"web\"} 0.0015",
            "_count{environment=\"default\",source=\"web\"} 1",
        ] {
            assert!(text.contains(&format!("\ntidegate_acknowledge_seconds{line}\n")), "{line} in {text}");
        }
    }
}
