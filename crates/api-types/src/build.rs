use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::version::Version;

/// Whether a component that fails its own fixtures is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PushQuery {
    /// The environment; `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Take it all the same, and note the failure.
    #[serde(default)]
    pub force: bool,
}

/// An upload that was taken and is being built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pushed {
    /// The id of the build.
    pub build: String,
    /// The path that says how far it is.
    pub follow: String,
}

/// How long to wait for news of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BuildQuery {
    /// The environment; `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Wait up to so many milliseconds for the end of the build, at most 25,000.
    #[serde(default)]
    pub wait_ms: u64,
    /// Answer as soon as the state is another than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// Its id.
    pub build: String,
    pub state: BuildState,
    /// How long the compiler has been at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What it came to, when it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<BuildRefusal>,
}

/// The states of a build, in their order; the last two are ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BuildState {
    Queued,
    Inspecting,
    Compiling,
    Smoke,
    Ready,
    Failed,
}

impl BuildState {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Inspecting => "inspecting",
            Self::Compiling => "compiling",
            Self::Smoke => "smoke",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BuildError)]
pub struct BuildRefusal {
    /// Which check it did not pass, e.g. `limits` or `smoke`.
    pub code: String,
    pub message: String,
    pub fix: String,
}
