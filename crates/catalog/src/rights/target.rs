//! What a right is asked for.

use std::collections::BTreeMap;

use crate::object::{CatalogObject, Labels, ObjectContent, ObjectId, ObjectKind};
use crate::references::{ObjectReference, references};

/// An object as rights see it: the object itself, or an end of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetEnd {
    pub kind: ObjectKind,
    pub name: String,
    /// None while there is no such object: then only grants for all of its kind count.
    pub id: Option<ObjectId>,
    pub labels: Labels,
    pub owner: Option<ObjectId>,
}

impl TargetEnd {
    #[must_use]
    pub fn of(object: &CatalogObject) -> Self {
        Self { id: Some(object.id.clone()), ..Self::of_content(&object.content) }
    }

    /// Of an object that is about to be made. It has no owner yet.
    fn of_content(content: &ObjectContent) -> Self {
        let ObjectContent { kind, name, labels, owner, .. } = content.clone();
        Self { kind, name, id: None, labels, owner }
    }

    fn absent(reference: ObjectReference) -> Self {
        Self { kind: reference.kind, name: reference.name, id: None, labels: BTreeMap::new(), owner: None }
    }
}

/// An object, or what shall become one, with what its rights depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightsTarget {
    pub workspace: String,
    pub object: TargetEnd,
    /// Of a sync: its source, destination, functions and lookups, before and after the change. Of a write key: its source.
    pub ends: Vec<TargetEnd>,
}

impl RightsTarget {
    /// An object as it is. `named` finds the living object of a kind and name in its workspace.
    #[must_use]
    pub fn of<'o>(object: &CatalogObject, named: impl Fn(ObjectKind, &str) -> Option<&'o CatalogObject>) -> Self {
        let mut target = Self::of_new(&object.workspace, &object.content, named);
        target.object = TargetEnd::of(object);
        target
    }

    /// An object that is about to be made.
    #[must_use]
    pub fn of_new<'o>(
        workspace: &str,
        content: &ObjectContent,
        named: impl Fn(ObjectKind, &str) -> Option<&'o CatalogObject>,
    ) -> Self {
        let found = match content.kind {
            ObjectKind::Sync | ObjectKind::WriteKey => references(content),
            _ => Default::default(),
        };
        let is_end = |reference: &ObjectReference| reference.kind != ObjectKind::Secret;
        let ends = found.into_iter().filter(is_end).map(|reference| {
            named(reference.kind, &reference.name).map_or_else(|| TargetEnd::absent(reference.clone()), TargetEnd::of)
        });
        Self { workspace: workspace.to_owned(), object: TargetEnd::of_content(content), ends: ends.collect() }
    }

    /// What a spec names, whether it is there or not.
    #[must_use]
    pub fn of_named<'o>(
        workspace: &str,
        reference: ObjectReference,
        named: impl Fn(ObjectKind, &str) -> Option<&'o CatalogObject>,
    ) -> Self {
        let found = named(reference.kind, &reference.name);
        let object = found.map_or_else(|| TargetEnd::absent(reference), TargetEnd::of);
        Self { workspace: workspace.to_owned(), object, ends: Vec::new() }
    }

    /// A workspace itself, for what is about no object: to read its audit log.
    #[must_use]
    pub fn of_workspace(workspace: &str) -> Self {
        let reference = ObjectReference { kind: ObjectKind::Role, name: workspace.to_owned() };
        Self { workspace: workspace.to_owned(), object: TargetEnd::absent(reference), ends: Vec::new() }
    }

    /// The same with the ends of `after` as well: to point a sync elsewhere needs the rights on old and new ends.
    #[must_use]
    pub fn and_ends_of(mut self, after: Self) -> Self {
        for end in after.ends {
            if !self.ends.contains(&end) {
                self.ends.push(end);
            }
        }
        self
    }
}
