//! What is written to Kafka, against brokers in this process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod plain;
mod refusals;
mod rig;
mod transactional;
