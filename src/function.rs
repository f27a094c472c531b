//! The `transform` world: run a function over a batch of events.
//!
//! Nouns: a **function** (a module with its settings), an **outcome** (what it made of one event: kept, replaced,
//! several, dropped on purpose, failed), a **fault** (the function broke, and this event was in its hands).
//!
//! Guarantees: exactly one outcome for each event, in order. A batch that breaks the function is halved until the
//! events behind it stand alone as faults; their neighbours get their real outcomes. The work that this takes is
//! bounded. This room knows JSON texts, not what is in them.

mod component;
mod project;
mod run;
mod trial;

use std::sync::Arc;

pub use component::{EncodeError, encode};
pub use project::{BuildError, Built, build};
pub use trial::{Case, Trial, TrialError, trial};

use crate::wasm::{Engine, Limits, Module};
pub use crate::wasm::{Line, LoadError, Stats};

/// A component with its settings, ready to run.
pub struct Function {
    name: Arc<str>,
    module: Module,
    settings_json: String,
    limits: Limits,
}

/// What a function made of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Keep,
    Replace(String),
    Emit(Vec<String>),
    /// Left out on purpose, with a reason code.
    Drop(String),
    /// The function says that it cannot take this event.
    Fail {
        code: String,
        message: String,
    },
    /// The function broke with this event in its hands.
    Fault {
        code: String,
        message: String,
    },
}

/// What stays the same when a batch is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunContext {
    /// The guest's clock, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The guest's randomness.
    pub seed: u64,
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct Ran {
    /// One for each event, in order.
    pub outcomes: Vec<Outcome>,
    pub lines: Vec<Line>,
    pub stats: Stats,
}

impl Function {
    /// Checks and compiles a component.
    ///
    /// # Errors
    /// It may not run here.
    pub fn load(
        engine: &Engine,
        name: &str,
        component: &[u8],
        settings_json: String,
        limits: Limits,
    ) -> Result<Self, LoadError> {
        let module = Module::compile(engine, component, &limits)?;
        Ok(Self { name: name.into(), module, settings_json, limits })
    }

    /// Its name in the workspace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bounds that it runs under.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
