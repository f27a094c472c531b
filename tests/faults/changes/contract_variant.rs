//! The contract of the events of these stories, in its variants: which of three marks it does not declare, and leaves out, and whether it
//! is tight, and blocks some events. So a row tells which contract judged it.

use serde_json::{Map, Value, json};

/// Fields that every [`MARKED`]th event bears.
pub const MARKS: [&str; 3] = ["mark_a", "mark_b", "mark_c"];
pub const MARKED: u64 = 20;
/// A tight contract blocks every so many-th event.
const BLOCKED: u64 = 50;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContractVariant {
    /// The place of the mark that is left out.
    pub omitted: Option<usize>,
    pub is_tight: bool,
}

impl ContractVariant {
    /// The variant of a number; 0 is the one that leaves everything as it is.
    pub fn variant(number: u64) -> Self {
        let omitted = usize::try_from(number % 4).ok().and_then(|place| place.checked_sub(1));
        Self { omitted, is_tight: number / 4 % 2 == 1 }
    }

    /// The properties of an event that has all marks.
    pub fn marks() -> Map<String, Value> {
        MARKS.iter().map(|mark| ((*mark).to_owned(), json!(mark))).collect()
    }

    /// The file of the event.
    pub fn document(self) -> Value {
        let number = if self.is_tight {
            json!({"type": "integer", "not": {"multipleOf": BLOCKED}})
        } else {
            json!({"type": "integer"})
        };
        let mut properties = json!({"n": number, "said": {"type": "string"}, "big": {"type": "integer"}});
        for (place, mark) in MARKS.iter().enumerate() {
            if self.omitted != Some(place) {
                properties[*mark] = json!({"type": "string"});
            }
        }
        json!({
            "type": "track", "name": "Fault", "onSchemaViolation": "BLOCK_EVENT", "onUndeclaredFields": "OMIT_FIELDS",
            "schema": {"type": "object", "properties": {"properties": {"type": "object", "properties": properties}}},
        })
    }

    /// Reads [`ContractVariant::document`] back.
    pub fn of_document(document: &Value) -> Self {
        let properties = &document["schema"]["properties"]["properties"]["properties"];
        Self {
            omitted: MARKS.iter().position(|mark| properties[*mark].is_null()),
            is_tight: properties["n"].get("not").is_some(),
        }
    }

    /// The marks that event `n` of a client keeps, a bit for each.
    pub fn kept(self, n: u64) -> u8 {
        if !n.is_multiple_of(MARKED) {
            return 0;
        }
        let all = (1 << MARKS.len()) - 1;
        self.omitted.map_or(all, |place| all & !(1 << place))
    }

    /// Whether event `n` of a client ends in quarantine.
    pub fn blocks(self, n: u64) -> bool {
        self.is_tight && n.is_multiple_of(BLOCKED)
    }
}
