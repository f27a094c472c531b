//! PostgreSQL: a real server, read by psql.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod faults;
mod ledger;
mod others;
mod tls;
mod rig;

use rig::*;
use tidegate_warehouse_suite::suite;

suite!(Postgres);
