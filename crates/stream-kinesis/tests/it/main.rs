//! What is read from Kinesis and written to it, against a double in this process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod double;
mod leases;
mod marks;
#[path = "../../../stream/tests/it/memory_leases.rs"]
#[allow(dead_code, reason = "the tests of the trait use more of it")]
mod memory_leases;
mod order;
mod places;
mod refusals;
mod written;
