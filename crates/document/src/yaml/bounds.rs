//! What a text of YAML may cost, found out before anything is built of it.
//!
//! A few lines can mean gigabytes (an alias stands for a tree with aliases in it), and a tree that is deep enough breaks
//! whoever walks it. Parsing alone costs no more than the text, so it goes first.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};

use super::{DEPTH_MAX, YamlError};

/// Values in one file, those that aliases stand for included.
const NODES_MAX: usize = 1_000_000;
/// Bytes that aliases stand for.
const ALIASED_BYTES_MAX: usize = 16 << 20;

/// How much a part of the text means.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A list or map that has begun: its anchor (0 for none) and its cost so far.
type OpenValue = (usize, Cost);

/// Refuses a text that means too much.
pub(super) fn check(text: &str) -> Result<(), YamlError> {
    let mut open: Vec<OpenValue> = Vec::new();
    let mut anchors: HashMap<usize, Cost> = HashMap::new();
    let (mut all, mut aliased) = (Cost::default(), 0_usize);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let line = error.marker().line();
            YamlError { line, message: error.info().to_owned() }
        })?;
        let error = |message: &str| YamlError { line: span.start.line(), message: message.to_owned() };
        let (anchor, cost) = match event {
            Event::Scalar(text, _, anchor, _) => (anchor, Cost { nodes: 1, bytes: text.len() }),
            Event::Alias(anchor) => {
                let cost = anchors.get(&anchor).copied().unwrap_or_default();
                aliased = aliased.saturating_add(cost.bytes);
                (0, cost)
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if open.len() >= DEPTH_MAX {
                    return Err(error("nested too deeply"));
                }
                open.push((anchor, Cost { nodes: 1, bytes: 0 }));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().unwrap_or_default(),
            _ => continue,
        };
        if anchor > 0 {
            anchors.insert(anchor, cost);
            // What has a name is kept once more.
            aliased = aliased.saturating_add(cost.bytes);
        }
        match open.last_mut() {
            Some((_, outer)) => outer.add(cost),
            None => all.add(cost),
        }
        let nodes = open.iter().fold(all.nodes, |nodes, (_, cost)| nodes.saturating_add(cost.nodes));
        if nodes > NODES_MAX {
            return Err(error("more than 1,000,000 values, counting what aliases stand for; make the file smaller"));
        }
        if aliased > ALIASED_BYTES_MAX {
            return Err(error("aliases stand for more than 16 MiB of text; write it without them, or make it smaller"));
        }
    }
    Ok(())
}
