//! `sources/<name>.yaml`: where events enter.

use tidegate_document::fields::Fields;
use tidegate_source::http::Rate;

/// `sources/<name>.yaml`.
#[derive(Clone)]
pub struct SourceConfig {
    pub write_key: String,
    pub functions: Vec<(String, usize)>,
    /// How much may come in.
    pub rate: Rate,
}

impl std::fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets never print.
        f.debug_struct("SourceConfig")
            .field("functions", &self.functions)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

pub(super) fn source(fields: &mut Fields<'_>) -> Option<SourceConfig> {
    if let Some(kind) = fields.required("kind", "http").filter(|kind| kind != "http") {
        let message = format!("a source of kind {kind:?} is not known");
        fields.problem("kind", message, "write `kind: http`");
    }
    let write_key = fields.required("write_key", "<a secret of 16 characters or more>");
    let functions = fields.texts_and_lines("functions");
    let mut rate = Rate { events: fields.per_second("rate", "5000/s"), ..Rate::default() };
    rate.bytes = fields.per_second("rate_bytes", "10 MB/s");
    if let Some(burst) = fields.duration("rate_burst") {
        rate.burst = burst;
    }
    let write_key = write_key?;
    if write_key.len() < 16 {
        let message = "the write key is shorter than 16 characters and could be guessed";
        fields.problem("write_key", message, "write a random one, e.g. from `openssl rand -hex 16`");
    }
    Some(SourceConfig { write_key, functions, rate })
}
