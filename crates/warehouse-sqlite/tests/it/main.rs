//! The embedded warehouse through real files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod disk;
mod files;
mod rig;

use rig::*;
use tidegate_warehouse_suite::suite;

suite!(Sqlite);
