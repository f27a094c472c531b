//! Alerts: conditions on what a server counts, and messages to people when one begins to hold and when it does so no more.
//!
//! Nouns: a **rule** (a condition, and for how long it must hold), a **snapshot** (what is counted at one moment), a **reading** (whether a
//! condition holds for one object, and the number that says so), the **memory** of a rule (how each of its objects is, kept over restarts), a
//! **change** (an object begins to fire, or recovers), a **message** (changes of one rule, told together), a **channel** (who is told, and how).
//!
//! Guarantees:
//! * [`evaluate`] is a pure function of a rule, its memory, a snapshot and the time in it. Of each object firing and recovery are told in turn,
//!   each once, whatever happens in between: a memory that was kept and read again goes on where it was.
//! * While nobody looked (the server was down) no time passes for a condition.
//! * A message quotes no secret of a channel, and neither does an error of one.
//! * Everything is bounded: objects, marks, texts, answers of far sides, and the time that they may take.
//!
//! This room does not know where counts come from, nor where memories and messages are kept.

mod certificate;
mod channel;
mod delivery;
mod evaluate;
mod memory;
mod message;
mod reading;
mod rule;
mod smtp;
mod snapshot;
mod wire;

pub use certificate::ends_us;
pub use channel::{AlertChannel, AlertEmail, ChannelKind, SmtpTls};
pub use delivery::{DeliveredMessage, UndeliveredMessage, deliver};
pub use evaluate::{EvaluatedAlert, evaluate};
pub use memory::{AlertMemory, AlertPhase, CountMark, MissedHours, ObjectMemory};
pub use message::{AlertChange, AlertMessage, advice};
pub use rule::{AlertCondition, AlertRule, AlertSeverity, ShareBound, default_rules};
pub use snapshot::{AlertSnapshot, DiskSeen, FunctionSeen, SourceSeen, SyncSeen};
