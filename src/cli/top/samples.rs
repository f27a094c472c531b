//! The text of `/metrics`, as far as it is shown.

use std::collections::BTreeMap;

use tidegate_metrics as metrics;

/// Samples that are kept; a server with more is shown in part.
const SAMPLES_MAX: usize = 100_000;

/// The samples of one environment, by the names of metrics.
#[derive(Debug, Default)]
pub(super) struct ReadSamples(BTreeMap<String, Vec<ReadSample>>);

/// A number, and the labels of its series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadSample {
    labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl ReadSample {
    /// The value of a label; nothing where it has none.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl ReadSamples {
    /// Reads the text; what is not of this environment, or nobody looks at, is passed over.
    pub(super) fn read(text: &str, environment: &str) -> Self {
        let mut samples = Self::default();
        let lines = text.lines().filter(|line| is_wanted(line));
        for (name, sample) in lines.filter_map(sample).take(SAMPLES_MAX) {
            if sample.label("environment") == environment {
                samples.0.entry(name.to_owned()).or_default().push(sample);
            }
        }
        samples
    }

    pub(super) fn of(&self, name: &str) -> &[ReadSample] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The sum of a metric over the series whose label has this value; none where there is no such series.
    pub(super) fn sum(&self, name: &str, (label, value): (&str, &str)) -> Option<f64> {
        let mut found = self.of(name).iter().filter(|sample| sample.label(label) == value).peekable();
        found.peek()?;
        Some(found.map(|sample| sample.value).sum())
    }

    /// Every value of a label of a metric, once, in order.
    pub(super) fn values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = self.of(name).iter().map(|sample| sample.label(label).to_owned()).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The counts of the buckets of a histogram whose label has this value, each with the end of its bucket; they are sums of all up to there.
    pub(super) fn buckets(&self, histogram: &str, (label, value): (&str, &str)) -> Vec<(f64, f64)> {
        let of_it = self.of(&format!("{histogram}_bucket")).iter().filter(|sample| sample.label(label) == value);
        // Rust reads `+Inf` as well.
        of_it.filter_map(|sample| Some((sample.label("le").parse().ok()?, sample.value))).collect()
    }
}

fn is_wanted(line: &str) -> bool {
    let wanted = [
        metrics::FUNCTION_EVENTS.name,
        metrics::FUNCTION_CPU.name,
        metrics::FUNCTION_ERRORS.name,
        metrics::FUNCTION_FAILED_CALLS.name,
        metrics::FUNCTION_DROPPED.name,
        metrics::FUNCTION_STOPPED.name,
        metrics::FUNCTION.name,
        metrics::FRESHNESS.name,
        metrics::DELIVERY_ANSWERS.name,
        metrics::DELIVERY_RETRIES.name,
        metrics::SYNC_FAILURES.name,
        metrics::LOG_BYTES.name,
        metrics::QUARANTINE.name,
    ];
    wanted.into_iter().any(|name| line.starts_with(name))
}

/// `name{label="value",...} number`.
fn sample(line: &str) -> Option<(&str, ReadSample)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, behind) = rest.split_once("=\"")?;
            let (value, behind) = quoted(behind)?;
            labels.insert(label.to_owned(), value);
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.trim().split(' ').next()?.parse().ok()?;
    Some((name, ReadSample { labels, value }))
}

/// The value of a label up to its quotation mark, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(if c == 'n' { '\n' } else { c });
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return Some((value, text.get(at + 1..)?)),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tidegate_metrics::{Histogram, MetricsText};

    use super::*;

    #[test]
    fn what_the_server_writes_is_read_again() {
        let mut text = MetricsText::default();
        text.add(&metrics::FUNCTION_EVENTS, &["default", "a\"\\\n,}b"], 7_u64);
        text.add(&metrics::FUNCTION_EVENTS, &["other", "f"], 9_u64);
        text.add(&metrics::DELIVERY_ANSWERS, &["default", "crm", "2xx"], 5_u64);
        text.add(&metrics::DELIVERY_ANSWERS, &["default", "crm", "5xx"], 2_u64);
        let histogram = Histogram::default();
        histogram.observe(std::time::Duration::from_millis(3));
        text.add_histogram(&metrics::FRESHNESS, &["default", "crm"], &histogram.read());
        let read = ReadSamples::read(&text.finish(), "default");
        let events = metrics::FUNCTION_EVENTS.name;
        assert_eq!(read.values(events, "function"), ["a\"\\\n,}b"]);
        assert_eq!(read.sum(events, ("function", "a\"\\\n,}b")), Some(7.0));
        assert_eq!(read.sum(events, ("function", "f")), None, "another environment's");
        assert_eq!(read.sum(metrics::DELIVERY_ANSWERS.name, ("destination", "crm")), Some(7.0));
        let buckets = read.buckets(metrics::FRESHNESS.name, ("sync", "crm"));
        assert_eq!((buckets.first(), buckets.last()), (Some(&(0.001, 0.0)), Some(&(f64::INFINITY, 1.0))));
    }

    #[test]
    fn text_that_is_no_sample_is_passed_over() {
        for line in ["", "a", "a{", "a{b", "a{b=\"c", "a{b=\"c\"", "a{b=\"c\"} x", "a{b=\"c\\", "a} 1{", "# HELP a b"] {
            assert_eq!(sample(line), None, "{line}");
        }
        assert_eq!(sample("a 1.5 1700000000").map(|(name, sample)| (name, sample.value)), Some(("a", 1.5)));
    }
}
