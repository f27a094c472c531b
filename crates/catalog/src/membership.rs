//! What a user is a member of, for people to read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize as _;

use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::object::{ObjectId, ObjectKind, SERVER_WORKSPACE};
use crate::read::{directory, snapshot};
use crate::rights::{GroupSpec, TokenSpec};
use crate::store::{CatalogTransaction, StoreAccess};

/// A user by name, with their groups and what these give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// Of the user.
    pub name: String,
    pub groups: BTreeSet<String>,
    /// By workspace (`*` for all) the names of roles.
    pub roles: BTreeMap<String, BTreeSet<String>>,
}

impl Catalog {
    /// Users and tokens by name, for people to read, also those that are gone: `ann`, and `token laptop of ann`. Other ids are left out.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn names_of(&self, ids: &BTreeSet<ObjectId>) -> Result<BTreeMap<ObjectId, String>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let mut names = BTreeMap::new();
        for id in ids.iter().filter(|id| matches!(id.kind(), ObjectKind::User | ObjectKind::Token)) {
            let Some((name, spec)) = last_said(transaction.as_mut(), id).await? else { continue };
            let Ok(token) = serde_json::from_str::<TokenSpec>(&spec) else {
                names.insert(id.clone(), name);
                continue;
            };
            let maker = last_said(transaction.as_mut(), &token.maker).await?;
            let maker = maker.map_or_else(|| token.maker.to_string(), |(maker, _)| maker);
            names.insert(id.clone(), format!("token {name} of {maker}"));
        }
        Ok(names)
    }

    /// The groups of a user, and the roles that they have by them. None when there is no such user.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn membership(&self, user: &ObjectId) -> Result<Option<Membership>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let objects = snapshot(transaction.as_mut(), SERVER_WORKSPACE).await?.objects;
        let directory = directory(transaction.as_mut()).await?;
        let Some(found) = objects.iter().find(|object| object.id == *user) else { return Ok(None) };
        let mut membership = Membership { name: found.content.name.clone(), ..Membership::default() };
        for group in objects.iter().filter(|object| object.content.kind == ObjectKind::Group) {
            let Ok(spec) = GroupSpec::deserialize(&group.content.spec) else { continue };
            if !spec.members.contains(user) {
                continue;
            }
            membership.groups.insert(group.content.name.clone());
            for (workspace, role) in spec.roles {
                // One that is gone gives nothing, wherever it is named.
                if directory.role(&workspace, &role).is_some() {
                    membership.roles.entry(workspace).or_default().insert(role);
                }
            }
        }
        Ok(Some(membership))
    }
}

/// The name and the spec that an object has, or had last.
async fn last_said(
    transaction: &mut dyn CatalogTransaction,
    id: &ObjectId,
) -> Result<Option<(String, String)>, CatalogError> {
    let sql = "SELECT name, spec FROM version WHERE id = $1 ORDER BY revision DESC LIMIT 1";
    let found = transaction.run(sql, vec![id.as_str().into()]).await?;
    let said = found.first().map(|row| Ok::<_, CatalogError>((row.text(0)?, row.text(1)?)));
    said.transpose()
}
