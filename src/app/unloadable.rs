//! Objects that are right as they are written and cannot be loaded: a function that refuses its settings, a table whose file is no table.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_process::telemetry::with_causes;

use super::AppError;

/// Objects that cannot be loaded, each with what was wrong.
#[derive(Debug, Default)]
pub(super) struct Unloadable(BTreeMap<ObjectRef, AppError>);

impl Unloadable {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, kind: ObjectRefKind, name: &str, error: AppError) {
        self.0.insert(ObjectRef::new(kind, name), error);
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether this can be said of all of them.
    pub(super) fn are_all(&self, is_so: impl Fn(&ObjectRef) -> bool) -> bool {
        self.0.keys().all(is_so)
    }

    /// Why each cannot be loaded.
    pub(super) fn reasons(&self) -> BTreeMap<ObjectRef, String> {
        let reason = |error: &AppError| match error {
            AppError::Function { cause, .. } => with_causes(&**cause),
            AppError::Lookup { cause, .. } => with_causes(cause),
            other => with_causes(other),
        };
        self.0.iter().map(|(object, error)| (object.clone(), reason(error))).collect()
    }

    /// What is wrong with the first that is not among `others`, or else with the first.
    fn first_but(mut self, others: &BTreeSet<ObjectRef>) -> Option<AppError> {
        let object = self.0.keys().find(|object| !others.contains(*object)).or_else(|| self.0.keys().next())?.clone();
        self.0.remove(&object)
    }
}

/// Why rules cannot be made.
#[derive(Debug)]
pub(super) enum UnloadedRules {
    /// Objects of the workspace are to blame.
    Objects(Unloadable),
    Other(AppError),
}

impl UnloadedRules {
    /// What is to be mended: of objects, one that is not among `others` if there is any.
    pub(super) fn into_error(self, others: &BTreeSet<ObjectRef>) -> AppError {
        match self {
            Self::Objects(objects) => objects.first_but(others).unwrap_or(AppError::NoWorkspace),
            Self::Other(error) => error,
        }
    }
}

impl From<Unloadable> for UnloadedRules {
    fn from(objects: Unloadable) -> Self {
        Self::Objects(objects)
    }
}

impl From<AppError> for UnloadedRules {
    fn from(error: AppError) -> Self {
        Self::Other(error)
    }
}

impl From<UnloadedRules> for AppError {
    fn from(error: UnloadedRules) -> Self {
        error.into_error(&BTreeSet::new())
    }
}
