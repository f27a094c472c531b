//! How much may come of a message while it is read by a schema: a few bytes can say a great deal.

use tidegate_event::decode::DEPTH_MAX;

use crate::limits::MessageLimits;

/// What of the bounds is left.
#[derive(Debug)]
pub(crate) struct ReadBudget {
    depth_max: usize,
    depth: usize,
    keys_max: usize,
    keys: usize,
    items_max: usize,
    items: usize,
}

impl ReadBudget {
    /// For a message of so many bytes. An item of a list that takes none counts as a key does.
    pub(crate) fn new(limits: &MessageLimits, bytes: usize) -> Self {
        Self {
            depth_max: limits.depth_max.min(DEPTH_MAX),
            depth: 0,
            keys_max: limits.keys_max,
            keys: 0,
            items_max: bytes.saturating_add(limits.keys_max),
            items: 0,
        }
    }

    /// A container begins within those that are open.
    pub(crate) fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > self.depth_max {
            return Err(format!("it is nested more than {} levels deep", self.depth_max));
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// An object gets one more key.
    pub(crate) fn key(&mut self) -> Result<(), String> {
        self.keys += 1;
        if self.keys > self.keys_max {
            return Err(format!("it has more than {} keys", self.keys_max));
        }
        Ok(())
    }

    /// A list gets one more item.
    pub(crate) fn item(&mut self) -> Result<(), String> {
        self.items += 1;
        if self.items > self.items_max {
            return Err(format!("its lists have more than {} items", self.items_max));
        }
        Ok(())
    }
}
