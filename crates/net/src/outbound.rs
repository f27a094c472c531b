//! The house's way out: HTTP requests to hosts on the internet, sent on behalf of guests that nobody trusts.
//!
//! Nouns: an **origin** (scheme, host and port), a **policy** (what a plugin asks for and what the workspace grants), a
//! **refusal** (a request that must not be sent, and why), a **secret** (a value behind a placeholder), a **client**
//! (one pool of connections for one destination), an **error** (a request without an answer).
//!
//! What holds, whatever a request says:
//! * It goes to an origin and with a method that both the plugin's manifest and the workspace name, over https unless
//!   the workspace names that very http origin.
//! * It goes to an address that was looked at: names are resolved here, every address that is not global is dropped
//!   unless the workspace grants that very host, and the connection is made to what is left. A name that changes its
//!   address between the look and the connection gains nothing, because there is no second look-up.
//! * Redirects are answers like any other: never followed. There is no proxy: behind one, the proxy would
//!   look names up, and what it connects to could not be looked at.
//! * Secrets are put in last, after the place was checked, and only where the far side alone can read them: path,
//!   query, header values, text bodies. They are taken out of every answer before anybody sees it.
//! * Everything is bounded: the URL, headers, bodies, the whole exchange in time, the answer in bytes.
//!
//! This room does not know events, plugins or retries.

mod address;
mod answer;
mod client;
mod placeholder;
mod policy;
mod reach;
mod request;
mod resolve;
mod secret;
mod sign;

pub use address::is_global;
pub use answer::{OutboundError, OutboundResponse};
pub use client::{OutboundClient, OutboundSettings};
pub use placeholder::{has_placeholder, placeholder};
pub use policy::{AllowedOrigin, OutboundRule, Policy, PolicyRefusal};
pub use reach::{Unreachable, reach};
pub use request::OutboundRequest;
pub use resolve::{Resolve, SystemResolver};
pub use secret::Secrets;
pub use sign::{RequestSigning, SigningDigest, mac};

/// The methods of requests.
pub use hyper::Method;
