//! How fast a plugin is, beside one of the same world that does nothing: what is left is the author's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_document::file;
use tidegate_plugin::{ManifestKind, Package};
use tidegate_wasm::function::{CallLimits, services};
use tidegate_wasm::{Engine, Module};

use super::build::{self, BuildError};
use super::fixtures::{self, TestError};
use super::runner::Runner;

/// One size of batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub batch: usize,
    pub events_per_second: f64,
    /// Wall time of one batch, microseconds.
    pub p50_us: f64,
    pub p99_us: f64,
    pub batches: usize,
}

/// The plugin and the no-op beside it, for each size of batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchReport {
    pub rows: Vec<(Measured, Measured)>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(transparent)]
    Fixtures(#[from] TestError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("there are no events to measure: the *.in.json in {} hold none", dir.display())]
    NoEvents { dir: PathBuf },
    #[error("the plugin does not get through its own fixtures, so there is nothing to measure: {0}")]
    Broken(String),
}

/// Batches that the figures are taken from, and how long that may take.
const BATCHES_MAX: usize = 400;
const TIME_MAX: Duration = Duration::from_secs(2);

/// Runs the events of the fixtures in `dir` through `component` again and again, in turns with a no-op.
///
/// # Errors
/// There are no fixtures, or the plugin fails on them.
pub async fn bench(dir: &Path, component: &Path, limits: CallLimits) -> Result<BenchReport, BenchError> {
    let bytes = file::read(component, file::COMPONENT_BYTES_MAX)
        .map_err(|cause| TestError::File { path: component.to_owned(), cause })?;
    let manifest = Package::read(&bytes).ok().map(|package| package.manifest);
    let kind = manifest.as_ref().map_or(ManifestKind::Transform, |manifest| manifest.kind);
    let cases = fixtures::inputs(&dir.join("fixtures"), manifest.as_ref())?;
    let settings = cases.first().map_or_else(|| "{}".to_owned(), |(_, settings)| settings.clone());
    let events: Vec<String> = cases.iter().flat_map(|(events, _)| events.iter().cloned()).collect();
    if events.is_empty() {
        return Err(BenchError::NoEvents { dir: dir.join("fixtures") });
    }
    let limits = CallLimits { batch_events_max: 1_000, batch_bytes_max: 64 << 20, ..limits };
    let engine = Engine::new(&CallLimits { calls_at_once_max: 1, ..limits.clone() }).map_err(TestError::from)?;
    let runner = |bytes: &[u8]| -> Result<Runner, BenchError> {
        let module = Module::compile(&engine, bytes, kind).map_err(TestError::from)?;
        let services = services(manifest.as_ref(), json!({}));
        Ok(Runner { kind, module, limits: Arc::new(limits.clone()), services, manifest: manifest.clone() })
    };
    let (plugin, noop) = (runner(&bytes)?, runner(&build::noop(kind).map_err(BuildError::from)?)?);
    let mut rows = Vec::new();
    for size in [100, 1_000] {
        let batch: Vec<String> = events.iter().cycle().take(size).cloned().collect();
        let came = plugin.run(&batch, &settings).await;
        if came.stats.calls_failed > 0 {
            return Err(BenchError::Broken(came.notes.join("; ")));
        }
        rows.push(measured(&plugin, &noop, &batch, &settings).await);
    }
    Ok(BenchReport { rows })
}

/// In turns, so that a busy machine is busy for both.
async fn measured(plugin: &Runner, noop: &Runner, batch: &[String], settings: &str) -> (Measured, Measured) {
    let (mut times, mut noop_times) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while times.len() < BATCHES_MAX && (times.len() < 10 || began.elapsed() < TIME_MAX) {
        let start = Instant::now();
        plugin.run(batch, settings).await;
        times.push(start.elapsed());
        let start = Instant::now();
        noop.run(batch, settings).await;
        noop_times.push(start.elapsed());
    }
    (figures(times, batch.len()), figures(noop_times, batch.len()))
}

fn figures(mut times: Vec<Duration>, batch: usize) -> Measured {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let total: f64 = times.iter().map(Duration::as_secs_f64).sum();
    let events_per_second = if total > 0.0 { (times.len() * batch) as f64 / total } else { 0.0 };
    Measured { batch, events_per_second, p50_us: at(0.5), p99_us: at(0.99), batches: times.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_batches() {
        let times = (1..=100).map(Duration::from_micros).collect();
        let figures = figures(times, 10);
        assert!((figures.p50_us - 51.0).abs() < 0.01 && (figures.p99_us - 100.0).abs() < 0.01, "{figures:?}");
        assert!((figures.events_per_second - 1_000.0 / 5_050e-6).abs() < 1.0, "{figures:?}");
    }
}
