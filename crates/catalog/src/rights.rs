//! Who may do what: one question, [`authorise`], asked before everything that is done to an object.
//!
//! A **principal** is a user or a token. A user is in groups, and a group has one role in a workspace. A role has **creation grants** for a
//! workspace, **access grants** (`view < connect < manage`) on objects by kind, id or label, and grants of their own to reveal secrets and
//! to see payloads. A token has at most the rights of its maker at the time of use.
//!
//! A sync has no grants: viewing one needs to view either end, and all else needs to connect on its source, its destination and each function
//! and lookup that it names. A write key has those of its source. Whatever a spec names anew, a secret above all, it takes `connect` to
//! name. What is not known is denied.

mod authorise;
mod change;
mod denial;
mod directory;
mod give;
mod grant;
mod principal;
mod role;
mod target;
mod verb;
mod visible;

pub use authorise::authorise;
pub(crate) use change::{ChangedObject, authorise_change};
pub use denial::{Denial, MissingGrant};
pub use directory::{Directory, GroupSpec, PrincipalProblem, TokenForm, TokenSpec, UserIdentity, UserSpec};
pub use give::may_give;
pub use grant::{AccessGrant, AccessLevel, CreateRight, GrantScope, RoleGrants};
pub use principal::ActingPrincipal;
pub use role::{PREBUILT_ROLES, prebuilt_roles};
pub use target::{RightsTarget, TargetEnd};
pub use verb::{CatalogAction, Verb};
pub use visible::visible;
