//! The one integration binary: behaviour seen from outside, over HTTP, on the command line and in tables.

mod bodies;
mod cli;
mod contract;
mod crash;
mod function;
mod house;
mod poison;
mod sdk;
mod support;
mod warehouse;
mod wire;
