//! Who did what, when, from where: entries that are only ever added, in the transaction of what they tell.
//!
//! Each entry has a keyed hash over its fields and the hash of the one before, so that nobody without the key changes, removes
//! or adds one unseen. A tail that was cut off together with the head shows against a **checkpoint**, which is handed outside.
//! The address of whoever asked stands outside of the hash, which covers a keyed hash of it: it can be erased.

mod attempt;
mod entry;
mod mask;
mod purge;
mod query;
mod verify;
mod write;

pub(crate) use attempt::Attempt;
pub use entry::{Actor, AuditEntry, AuditRecord, AuditResult};
pub(crate) use mask::masked;
pub use query::{AuditFilter, AuditPage};
pub use verify::{AuditBreak, AuditCheckpoint, VerifiedAudit};
pub(crate) use write::append;
