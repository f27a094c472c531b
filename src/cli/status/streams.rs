//! Streams that sources read, by the data directory: how far they are, and what went wrong.

use std::path::Path;

use serde_json::{Map, Value, json};
use tidegate_api_types::stream::ShownStream;

use crate::app::paths;
use crate::app::stream_report::{self, KeptStreams};
use crate::cli::style;

/// What the streams said last.
pub(super) struct StreamLines(Option<KeptStreams>);

impl StreamLines {
    pub(super) fn read(data: &Path) -> Self {
        let path = paths::streams(data);
        Self(stream_report::read(&path).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), error = %error, "how the streams are is not known");
            None
        }))
    }

    /// The sources whose streams could not be read last.
    pub(super) fn failing(&self) -> impl Iterator<Item = &str> {
        let streams = self.0.iter().flat_map(|kept| &kept.streams);
        streams.filter(|stream| stream.error.is_some()).map(|stream| stream.source.as_str())
    }

    /// By the name of the source.
    pub(super) fn to_json(&self) -> Value {
        let Some(kept) = &self.0 else { return json!({}) };
        let line = |stream: &ShownStream| {
            let mut shown = serde_json::to_value(stream).unwrap_or_default();
            if let Value::Object(fields) = &mut shown {
                fields.insert("as_of".to_owned(), kept.at.clone().into());
            }
            (stream.source.clone(), shown)
        };
        Value::Object(kept.streams.iter().map(line).collect::<Map<_, _>>())
    }

    pub(super) fn print(&self) {
        let Some(kept) = &self.0 else { return };
        let names = ["stream", "kind", "state", "messages", "messages/s", "quarantined", "lag", "behind"];
        let mut table = style::table(&names);
        for stream in &kept.streams {
            let lag = stream.lag.map_or_else(|| "unknown".to_owned(), style::count);
            let behind = stream.behind_seconds.map_or_else(String::new, |seconds| format!("{seconds:.0} s"));
            let texts = [&stream.source, &stream.kind, &stream.state].map(|text| style::plain(text, 100));
            let rate = format!("{:.1}", stream.messages_per_second);
            let numbers = [style::count(stream.messages), rate, style::count(stream.quarantined), lag, behind];
            table.add_row(texts.into_iter().chain(numbers));
        }
        println!("{table}");
        println!("Streams as of {}.", style::plain(&kept.at, 40));
        for stream in &kept.streams {
            let (source, place) = (style::plain(&stream.source, 100), style::plain(&stream.place, 300));
            for told in stream.error.iter().chain(&stream.notices) {
                println!("{} source {source}, {place}: {}", style::bold("stream:"), style::plain(told, 1_000));
            }
        }
    }
}
