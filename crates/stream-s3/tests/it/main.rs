//! Files of events in folders and in a bucket.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod bucket;
mod folder;
mod ledger;
#[path = "../../../warehouse-lake/tests/it/rig/reader.rs"]
mod reader;
