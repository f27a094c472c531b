//! What the catalog must do on every store.

pub mod commits;
pub mod credentials;
pub mod leases;
pub mod log;
pub mod people;
pub mod reading;
pub mod secrets;
