//! What a plugin says about itself, and how it carries that with it.
//!
//! Nouns: a **manifest** (`plugin.yaml`: name, kind, settings, hosts, limits asked for, how to deliver), a **package**
//! (a component that carries its manifest and its fixtures in custom sections, so that one file is the whole plugin
//! and its sha-256 covers all of it).
//!
//! What holds: a [`Manifest`] cannot be wrong; whatever text or bytes it is read from, every problem is found and named
//! with its place. A manifest asks; what is granted is for the workspace to say.
//!
//! This room does not know what WebAssembly does: of a component it reads the custom sections only.

mod manifest;
mod package;
mod script;
mod settings;

pub use manifest::{
    ApiVersion, AskedLimits, Authentication, Batching, Digest, HostRule, Language, Manifest, ManifestKind, Order,
    Retry, SigningMethod, Traffic,
};
pub use package::{Fixture, NotAPackage, Package, embed, embed_with_lookups};
pub use script::{SCRIPT_UNITS_MAX, ScriptError, check_script_length, with_script};
pub use settings::settings_problems;
