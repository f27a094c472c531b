//! Leases of shards: who takes which, over a double of a store, with a clock that the tests move.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod leases;
mod memory_leases;
