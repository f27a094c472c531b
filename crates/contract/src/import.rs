//! Tracking plans and schemas of other products as contracts. What cannot be carried over is named by file and place; nothing is
//! left out silently.

mod draft7;
mod parts;
mod schemas;
mod vendors;

pub use parts::{ImportLoss, ImportedEvent, ImportedPlan, PlanFile};

use parts::PlanDraft;

/// Whose plan it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanKind {
    /// A tracking plan of Segment: the rules as its Public API lists them, or a whole plan of the older Config API.
    Segment,
    /// A tracking plan of RudderStack with its events.
    RudderStack,
    /// Avo's export as JSON Schema.
    Avo,
    /// JSON Schemas, one event a file.
    JsonSchema,
    /// Self-describing schemas of Snowplow's Iglu.
    Iglu,
}

impl PlanKind {
    pub const ALL: [Self; 5] = [Self::Segment, Self::RudderStack, Self::Avo, Self::JsonSchema, Self::Iglu];

    /// On the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::RudderStack => "rudderstack",
            Self::Avo => "avo",
            Self::JsonSchema => "json-schema",
            Self::Iglu => "iglu",
        }
    }
}

/// Reads a plan from its files.
#[must_use]
pub fn import_plan(kind: PlanKind, files: &[PlanFile]) -> ImportedPlan {
    let mut draft = PlanDraft::default();
    for file in files {
        match kind {
            PlanKind::Segment => vendors::segment(file, &mut draft),
            PlanKind::RudderStack => vendors::rudderstack(file, &mut draft),
            PlanKind::Avo => vendors::avo(file, &mut draft),
            PlanKind::JsonSchema => schemas::json_schema(file, &mut draft),
            PlanKind::Iglu => schemas::iglu(file, &mut draft),
        }
    }
    draft.finish()
}
