use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A version: what was uploaded once and never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    pub sha256: String,
    pub name: String,
    /// `transform`, `fields` or `destination`.
    pub kind: String,
    pub bytes: u64,
    /// Size of the compiled code.
    pub code_bytes: u64,
    pub uploaded_at: String,
    pub compile_ms: u64,
    pub smoke: ShownSmoke,
    /// From the manifest.
    pub description: Option<String>,
    /// JSON Schema of its settings, from the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub settings_schema: Option<Value>,
}

/// What the fixtures that a version carries came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Smoke)]
pub struct ShownSmoke {
    /// Fixtures that were run and compared.
    pub passed: u64,
    /// Fixtures without an expectation: they were run, and broke nothing.
    pub ran: u64,
    pub ms: u64,
    /// Which fixture failed, of a version that was taken by force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A version in use, with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Placed)]
pub struct ShownPlaced {
    pub sha256: String,
    /// Those marked secret are shown as `(secret)`; `null` where the manifest cannot be read.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
}

/// A version that is tried beside the live one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Canary {
    pub sha256: String,
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// The share of the batches that it gets, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u8>,
    /// It runs beside the live version and is only compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<bool>,
}

/// Makes a version live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeLive {
    #[schema(min_length = 64, max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub sha256: String,
    /// Those that are live, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Value>,
    /// Also when it looks up a table that nobody grants it.
    #[serde(default)]
    pub force: bool,
}

/// Changes the settings of the live version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSettings {
    #[schema(value_type = Object)]
    pub settings: Value,
}

/// Goes back to the version before. It has no fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBack {}
