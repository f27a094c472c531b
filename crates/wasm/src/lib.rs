//! The one room that knows wasmtime.
//!
//! Nouns: an **engine** (compiler settings, a pool of instance slots, a ticker), the **limits** (every bound on a
//! guest, none of them optional), a **module** (a component that is within every limit and is compiled), a **call** (one
//! batch through one fresh instance), a **stop reason** (how a guest broke out of its limits and was stopped), a
//! **call log** (what a guest said about itself, bounded), the **limits** (what a component may have before it is compiled), an
//! **artifact** (compiled code under our seal).
//!
//! What holds, whatever the guest does:
//! * A call ends: the CPU budget and the wall limit are set before the guest's first instruction, start functions
//!   included. The budget is thread CPU time, so a busy machine does not make an honest guest look guilty.
//! * A call uses no more memory, table elements, output or log than its limits say.
//! * Nothing survives a call: an instance lives for one batch, and its slot is reset. (A caller may let one instance serve
//!   several of its calls; what it then remembers, it remembers of that caller's calls.)
//! * A guest can ask for a log line, a counter, the time and seed that the caller chose, and what the caller's
//!   **services** grant. There is no file, no network, no clock and no randomness behind any import; a component that
//!   wants one is refused by its name.
//! * What a guest says of itself has no secret in it that its settings or tables name, however it is written (`hidden_texts`).
//!
//! This room does not know what an event is: a batch is a list of texts or of JSON maps, and answers are handed up
//! unread.

mod artifact;
mod bindings;
mod stop_reason;
mod call;
mod call_failure;
mod delivery;
mod editing;
mod engine;
mod field_edit;
mod fields;
mod forget;
mod guest;
mod guest_answer;
mod guest_path;
mod hidden_texts;
mod host;
mod host_trap;
mod inspect;
mod instance;
mod legible;
mod component_limits;
mod call_log;
mod limits;
mod memory;
mod meter;
mod module;
mod module_calls;
mod module_error;
mod pre;
mod warm;
mod services;
mod trap;
mod wasi;
mod world;
/// The `transform` world: run a function over a batch of events.
pub mod function;
/// Tables that a workspace grants to plugins: addresses, names.
pub mod lookup;

pub use artifact::{ArtifactError, ArtifactOrigin, Code, Seal, compiler_id, precompile};
pub use call::{Call, Called};
pub use call_failure::{CallFailure, CallStage};
pub use call_log::{CallLog, Level, LogLine};
pub use component_limits::ComponentLimits;
pub use delivery::{AnsweredRequest, DeliveryVerdict, DestinationExport, GuestPlan, GuestRequest, GuestResponse};
pub use editing::Mark;
pub use engine::{Engine, EngineError};
pub use guest_answer::{GuestAnswer, GuestError, GuestErrorKind};
pub use hidden_texts::HiddenTexts;
pub use inspect::inspect;
pub use legible::legible;
pub use limits::CallLimits;
pub use module::Module;
pub use module_error::ModuleError;
pub use services::{Lookup, MacKey, Services, Signer};
pub use stop_reason::StopReason;
pub use tidegate_document::revealed::RevealedJson;
