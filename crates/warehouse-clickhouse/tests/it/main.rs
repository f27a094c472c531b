//! ClickHouse: its engine behind an HTTP face of the tests' own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod cuts;
mod ledger;
mod own;
mod rig;

use rig::*;
use tidegate_warehouse_suite::suite;

suite!(ClickHouse);
