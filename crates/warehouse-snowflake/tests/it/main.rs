//! Snowflake: an emulator, recorded answers and stand-ins.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod cut;
mod ledger;
mod live;
mod recorded;
mod streaming;
mod rig;

use rig::*;
use tidegate_warehouse_suite::suite;

suite!(Snowflake);
