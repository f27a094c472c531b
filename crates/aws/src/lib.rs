//! Who we are to Amazon's services, and how a request says so.
//!
//! Nouns: **keys** (an id, a secret, and a token where they end), a **source** of keys (settings, variables, a shared file, a token of
//! Kubernetes, what a container or a machine is told), a **chain** (the sources in order, and the keys of the first that has any), a
//! **signature** (Signature Version 4 of one request).
//!
//! Guarantees:
//! * Keys never print, and stand in no error.
//! * Keys that end are renewed before they do, once however many requests wait for them; where that fails, the old ones are used to
//!   their end.
//! * What a source answers is bounded in bytes and in time.
//!
//! The room reads no environment: whoever reads configuration gives it the variables. It knows no service.

mod chain;
mod container;
mod error;
mod exchange;
mod identity;
mod instance;
mod keys;
mod profile;
mod signature;
mod web_identity;

pub use chain::AwsKeyChain;
pub use error::AwsError;
pub use identity::{AwsIdentity, AwsKeySource, ContainerKeys, ProfileKeys, WebIdentityKeys};
pub use keys::AwsKeys;
pub use signature::{RequestToSign, SigningPlace, sha256_hex, sign};
