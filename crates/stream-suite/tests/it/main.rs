//! The suite itself, through a far side in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod rig;
mod violations;
mod with_ledger;
mod without_ledger;
