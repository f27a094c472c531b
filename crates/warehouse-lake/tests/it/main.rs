//! Lakes in folders and in a bucket, read by engines of others.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod crash;
mod others;
mod s3;
mod tidy;
mod rig;

use rig::*;
use tidegate_warehouse_suite::suite;

suite!(Lake);
