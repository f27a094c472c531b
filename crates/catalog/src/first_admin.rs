//! The first admin, of a server that has none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::audit::Actor;
use crate::catalog::Catalog;
use crate::commit::{CatalogChange, ObjectEdit};
use crate::error::CatalogError;
use crate::object::{Labels, ObjectContent, ObjectId, ObjectKind, SERVER_WORKSPACE};
use crate::rights::{GroupSpec, UserSpec};

/// The name of the group that the first admin is put into.
const GROUP: &str = "admins";

impl Catalog {
    /// Makes a user of this name who may do everything, in a group of their own. None when there is an admin already.
    ///
    /// # Errors
    /// Nobody was made.
    pub async fn make_first_admin(
        &self,
        name: &str,
        actor: &Actor,
        at_us: i64,
    ) -> Result<Option<ObjectId>, CatalogError> {
        if self.directory().await?.has_admin() {
            return Ok(None);
        }
        let content = |kind, name: &str, spec: Value| ObjectContent {
            kind,
            name: name.to_owned(),
            labels: Labels::new(),
            owner: None,
            spec,
        };
        let (user, group) = (self.new_id(ObjectKind::User), self.new_id(ObjectKind::Group));
        let members = BTreeSet::from([user.clone()]);
        let roles = BTreeMap::from([("*".to_owned(), "admin".to_owned())]);
        let (of_user, of_group) =
            (serde_json::to_value(UserSpec::default())?, serde_json::to_value(GroupSpec { members, roles })?);
        let edits = vec![
            ObjectEdit::Create { id: user.clone(), content: content(ObjectKind::User, name, of_user) },
            ObjectEdit::Create { id: group, content: content(ObjectKind::Group, GROUP, of_group) },
        ];
        let change =
            CatalogChange { actor: actor.clone(), ..CatalogChange::by_program(SERVER_WORKSPACE, edits, at_us) };
        self.commit(&change).await?;
        Ok(Some(user))
    }
}
