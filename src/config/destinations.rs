//! `destinations/<name>.yaml`: a warehouse or a plugin, by its `kind`.

use tidegate_document::fields::Fields;

use super::around::Around;
use super::plugin::{self, PluginConfig};
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
}

impl DestinationConfig {
    /// What its plugin is given, if it is one.
    #[must_use]
    pub fn plugin(&self) -> Option<&PluginConfig> {
        match &self.kind {
            DestinationKind::Plugin(plugin) => Some(plugin),
            DestinationKind::Warehouse(_) => None,
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
        kind => DestinationKind::Warehouse(Box::new(warehouse(fields, kind, around)?)),
    };
    Some(DestinationConfig { kind, paused })
}
