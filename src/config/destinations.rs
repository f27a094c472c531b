//! `destinations/<name>.yaml`: a warehouse, a stream or a plugin, by its `kind`.

use tidegate_document::fields::Fields;

use super::around::Around;
use super::plugin::{self, PluginConfig};
use super::streams_out::{self, STREAM_OUT_KINDS, StreamDestinationConfig};
use super::warehouses::warehouse;
use crate::warehouses::WarehouseSettings;

/// `destinations/<name>.yaml`.
#[derive(Debug, Clone)]
pub struct DestinationConfig {
    pub kind: DestinationKind,
    /// Nothing is delivered to it for now.
    pub paused: bool,
}

/// What a destination is.
#[derive(Debug, Clone)]
pub enum DestinationKind {
    Warehouse(Box<WarehouseSettings>),
    Plugin(Box<PluginConfig>),
    Stream(Box<StreamDestinationConfig>),
}

impl DestinationKind {
    /// As a file has it under `kind`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Warehouse(settings) => settings.capabilities().kind,
            Self::Plugin(_) => "plugin",
            Self::Stream(stream) => stream.target.kind(),
        }
    }

    /// Whether the state alone says how far a sync to it is: nothing at the far side does.
    #[must_use]
    pub fn has_cursor_in_state(&self) -> bool {
        match self {
            Self::Warehouse(_) => false,
            Self::Plugin(_) => true,
            Self::Stream(stream) => !stream.target.keeps_ledger(),
        }
    }

    /// Whether a sync whose destination becomes `other` is the same sync: what is pending waits in the state for a plugin, and where a sync
    /// is in a warehouse or a stream is known there.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl DestinationConfig {
    /// What its plugin is given, if it is one.
    #[must_use]
    pub fn plugin(&self) -> Option<&PluginConfig> {
        match &self.kind {
            DestinationKind::Plugin(plugin) => Some(plugin),
            DestinationKind::Warehouse(_) | DestinationKind::Stream(_) => None,
        }
    }
}

pub(super) fn destination(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<DestinationConfig> {
    let Some(kind) = fields.required("kind", "sqlite") else {
        fields.leave_rest();
        return None;
    };
    let paused = fields.flag("paused").unwrap_or(false);
    let kind = match kind.as_str() {
        "plugin" => DestinationKind::Plugin(Box::new(plugin::plugin(fields, around)?)),
        kind if STREAM_OUT_KINDS.contains(&kind) => {
            DestinationKind::Stream(Box::new(streams_out::stream(fields, kind, around)?))
        }
        kind => DestinationKind::Warehouse(Box::new(warehouse(fields, kind, around)?)),
    };
    Some(DestinationConfig { kind, paused })
}
