//! The one integration binary: behaviour seen from outside, over HTTP, on the command line and in tables.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod adapter;
mod author;
mod bodies;
mod body_limits;
mod cli;
mod conformance;
mod connections;
mod contract;
mod crash;
mod declared;
mod delivery;
mod everywhere;
mod fields;
mod function;
mod house;
mod import;
mod isolation;
mod large_events;
mod lineup;
mod log;
mod lookup;
mod outbound;
mod plugins;
mod poison;
mod process;
mod reliability;
mod sdk;
mod same_end;
mod shipped;
mod store;
mod support;
mod swap;
mod violations;
mod warehouse;
mod wire;
