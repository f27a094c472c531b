//! OpenID Connect: people sign in at a provider that their company has already.
//!
//! Nouns: a **provider** (an issuer with its endpoints and keys), the **code flow** (a browser is sent to the provider and comes back
//! with a code), the **device flow** (a person types a short code of a terminal into a browser), an **ID token** (what the provider says of
//! a person, signed), **claims** (its fields), a **proven identity** (issuer and subject, with what else the claims say).
//!
//! What holds:
//! * Nobody is believed but the issuer: the signature is verified under a key of its own, by an algorithm of a short list that has
//!   neither `none` nor one with a shared key; issuer, audience, times and nonce are compared before a claim is read.
//! * The flow is bound to the browser that began it (state, nonce, PKCE with S256), by a text that [`Sealer`] seals.
//! * What is fetched is bounded in time and bytes, follows no redirect, and goes to the issuer or, over https, out of this network.
//!   Keys are fetched anew at most once a minute.
//! * Secrets, codes and tokens are printed by nobody.
//!
//! Time and randomness are arguments. This crate knows neither users nor groups of a catalog, and no HTTP server.

mod algorithm;
mod error;
mod fetch;
mod id_token;
mod identity;
mod provider;
mod sealer;
mod settings;

pub use error::{OidcError, TokenProblem};
pub use identity::ProvenIdentity;
pub use provider::{CodeRequest, DevicePoll, DeviceStart, OidcProvider};
pub use sealer::Sealer;
pub use settings::{ClientSecret, LoginSettings, ProviderSettings, issuer_problem};
