//! Drafts as rows.

use serde::{Deserialize, Serialize};

use super::DraftDecision;
use crate::commit::ObjectEdit;
use crate::error::CatalogError;
use crate::fields::FieldChange;
use crate::object::{ObjectId, ObjectKind};
use crate::store::{CatalogTransaction, StoredRow};

/// What became of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftState {
    Open,
    Approved,
    Declined,
    Withdrawn,
}

const STATES: [(DraftState, &str); 4] = [
    (DraftState::Open, "open"),
    (DraftState::Approved, "approved"),
    (DraftState::Declined, "declined"),
    (DraftState::Withdrawn, "withdrawn"),
];

impl DraftState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        STATES[self as usize].1
    }

    fn named(text: &str) -> Option<Self> {
        STATES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state)
    }
}

/// What a draft would do to one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DraftedObject {
    pub kind: ObjectKind,
    pub name: String,
    /// `created`, `updated`, `deleted`, `adopted`, `released`.
    pub action: String,
    /// In the order of their paths, as they were when the draft was proposed.
    pub fields: Vec<FieldChange>,
}

/// A change that waits for somebody else, or did.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogDraft {
    /// `drf_` and 20 digits of base 62.
    pub id: String,
    pub workspace: String,
    /// A user, or a token in a user's name.
    pub author: ObjectId,
    pub title: String,
    /// The revision of the catalog when it was proposed.
    pub base_revision: u64,
    /// Each for the revision that its object had then.
    pub edits: Vec<ObjectEdit>,
    pub objects: Vec<DraftedObject>,
    pub state: DraftState,
    /// Microseconds since the Unix epoch, UTC.
    pub proposed_at_us: i64,
    pub decided_by: Option<ObjectId>,
    /// Microseconds since the Unix epoch, UTC.
    pub decided_at_us: Option<i64>,
    /// The revision that it made.
    pub revision: Option<u64>,
    /// While it is open: the first object that has changed since.
    pub stale: Option<(ObjectKind, String)>,
}

/// The columns that [`read`] reads and [`insert`] writes, in order.
pub(super) const DRAFT_COLUMNS: &str = "id, workspace, author, title, base_revision, edits, fields, state, proposed_at_us, decided_by, \
     decided_at_us, revision";

pub(super) fn read(row: &StoredRow) -> Result<CatalogDraft, CatalogError> {
    let state = row.text(7)?;
    Ok(CatalogDraft {
        id: row.text(0)?,
        workspace: row.text(1)?,
        author: ObjectId::parse(&row.text(2)?)?,
        title: row.text(3)?,
        base_revision: row.unsigned(4)?,
        edits: serde_json::from_str(&row.text(5)?)?,
        objects: serde_json::from_str(&row.text(6)?)?,
        state: DraftState::named(&state).ok_or(CatalogError::Unreadable(state))?,
        proposed_at_us: row.integer(8)?,
        decided_by: row.text_or_null(9)?.map(|id| ObjectId::parse(&id)).transpose()?,
        decided_at_us: row.integer_or_null(10)?,
        revision: row.integer_or_null(11)?.and_then(|revision| u64::try_from(revision).ok()),
        stale: None,
    })
}

pub(super) async fn insert(transaction: &mut dyn CatalogTransaction, draft: &CatalogDraft) -> Result<(), CatalogError> {
    let insert =
        format!("INSERT INTO draft ({DRAFT_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, NULL, NULL)");
    let cells = vec![
        draft.id.as_str().into(),
        draft.workspace.as_str().into(),
        draft.author.as_str().into(),
        draft.title.as_str().into(),
        draft.base_revision.into(),
        serde_json::to_string(&draft.edits)?.into(),
        serde_json::to_string(&draft.objects)?.into(),
        draft.state.name().into(),
        draft.proposed_at_us.into(),
    ];
    transaction.run(&insert, cells).await?;
    Ok(())
}

pub(super) async fn decide(
    transaction: &mut dyn CatalogTransaction,
    id: &str,
    state: DraftState,
    decision: &DraftDecision,
    revision: Option<u64>,
) -> Result<(), CatalogError> {
    let set = "UPDATE draft SET state = $1, decided_by = $2, decided_at_us = $3, revision = $4 WHERE id = $5";
    let by = decision.by.as_str();
    let cells = vec![state.name().into(), by.into(), decision.at_us.into(), revision.into(), id.into()];
    transaction.run(set, cells).await?;
    Ok(())
}
