//! The catalog: what exists, who may touch it, and what was done to it.
//!
//! Nouns: an **object** (a source, a sync, a user, …: a value with a kind, an id that stays, a name, labels, an owner and a spec), a
//! **revision** (a number that every change of the catalog makes higher), a **change** (edits of objects, all or nothing), a **plan** (what
//! would have to change so that a workspace says what a folder says), a **principal** (a user or a token), a **role** with its **grants**, a
//! **draft** (a change that somebody else has to approve), an **audit entry**, a **secret**.
//!
//! What holds, whenever the process dies:
//! * A change, its revision, its audit entries and the full content before it are one transaction. Nothing is ever changed in
//!   place: every value that an object had is a version.
//! * What a folder manages is changed by its files alone, unless somebody forces it; then it shows as drifted. What no folder manages, none
//!   deletes.
//! * Rights are asked in the transaction of the change. A token never has more than its maker has now; nobody grants what they lack; one
//!   admin is always left.
//! * The audit log is a chain under a key: whoever alters it without the key is found at the first altered entry.
//! * Secrets are sealed; tokens, write keys and sessions are kept as hashes. None of them is printed.
//!
//! The store is SQLite or PostgreSQL behind one trait ([`CatalogStore`]). Beside the catalog it may keep leases, by which servers divide the
//! shards of streams ([`StreamLeases`]). Time is an argument and randomness comes through [`Entropy`]. This crate does not know what a spec
//! means, but for users, groups, roles, tokens and write keys, and for the names of other objects ([`references`]).

mod audit;
mod catalog;
mod commit;
mod credential;
mod draft;
mod entropy;
mod error;
mod fields;
mod first_admin;
mod keys;
mod lease_table;
mod membership;
mod object;
mod ordered;
mod password;
mod plan;
mod postgres;
mod read;
mod references;
mod rights;
mod secret;
mod session;
mod specs;
mod sqlite;
mod store;
mod token;
mod write_key;

pub use audit::{
    Actor, AuditBreak, AuditCheckpoint, AuditEntry, AuditFilter, AuditPage, AuditRecord, AuditResult, VerifiedAudit,
};
pub use catalog::Catalog;
pub use commit::{
    Authority, CatalogChange, ChangeOrigin, Committed, CommittedObject, EditDone, IdempotencyKey, ObjectEdit,
};
pub use credential::IssuedCredential;
pub use draft::{CatalogDraft, DraftDecision, DraftState, DraftedObject};
pub use entropy::Entropy;
pub use error::{CatalogError, CredentialProblem};
pub use fields::{FieldChange, field_changes};
pub use keys::{InstanceKey, InstanceKeys, SealError, SecretValue};
pub use lease_table::{LeaseTable, LeasedStream, StreamLeases};
pub use membership::Membership;
pub use object::{
    CatalogObject, CatalogSnapshot, ContentProblem, Labels, ManagedBy, ManagingFolder, NotAnObjectId, ObjectContent,
    ObjectId, ObjectKind, SERVER_WORKSPACE, UnknownKind, check_workspace,
};
pub use ordered::{CatalogOrder, OrderPreview};
pub use password::NewPassword;
pub use plan::{CatalogPlan, PlanOptions, PlanProblem, PlannedChange, RenameCycle, WantedObject, exported, plan};
pub use postgres::{PostgresCatalog, PostgresCatalogSettings};
pub use read::{HistoryPage, ListPage, ListQuery, ManagedFilter, ObjectVersion};
pub use references::{ObjectReference, SECRET_REFERENCE, references};
pub use rights::{
    AccessGrant, AccessLevel, ActingPrincipal, CatalogAction, CreateRight, Denial, Directory, GrantScope, GroupSpec,
    MissingGrant, PREBUILT_ROLES, PrincipalProblem, RightsTarget, RoleGrants, TargetEnd, TokenForm, TokenSpec,
    UserIdentity, UserSpec, Verb, authorise, may_give, prebuilt_roles, visible,
};
pub use secret::SecretWrite;
pub use specs::WriteKeySpec;
pub use sqlite::{CatalogFile, SqliteCatalog};
pub use store::{
    CatalogStore, CatalogTransaction, Migration, StoreAccess, StoreCell, StoreError, StoreReply, StoredRow,
};
pub use token::{NewToken, is_token_text};
pub use write_key::{NewWriteKey, WriteKeyEntry, WriteKeyProblem, WriteKeyTable};
