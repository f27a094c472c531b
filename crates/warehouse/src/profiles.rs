//! Views of the latest known traits: `users` of the table `identifies`, `accounts` of `groups`.
//!
//! A view has one row for each user or group: the id, `timestamp` of the latest event, and each trait with its latest value
//! that is not null. It is made when its table gets rows and made anew when the table's columns change. Whoever else has the
//! name keeps it, an event called `users` has the table `_users`, and a view that cannot be made stops nothing. This module
//! does no I/O.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::table::{Column, Family, Table};

/// One such view.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whose rows it reads.
    pub family: Family,
    pub view: &'static str,
    /// One row for each.
    pub key: &'static str,
}

pub const PROFILES: [Profile; 2] = [
    Profile { family: Family::Identifies, view: "users", key: "user_id" },
    Profile { family: Family::Groups, view: "accounts", key: "group_id" },
];

/// In the text or the comment of a view that is made here.
pub const MARK: &str = "Kept by Tidegate: the latest traits";

/// What became of a view.
#[derive(Debug, PartialEq, Eq)]
pub enum ViewOutcome {
    /// It was as it shall be.
    Kept,
    Made,
    /// It is not, for something is in the way, and is tried again later; what an operator should hear.
    Left(Option<String>),
}

/// The view of tables of this family.
#[must_use]
pub fn of(family: Family) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.family == family)
}

/// Whether a view is called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    PROFILES.iter().any(|profile| profile.view == name)
}

impl Profile {
    /// The view's name beside the table, which may have a prefix.
    #[must_use]
    pub fn beside(&self, table: &Table) -> String {
        let prefix = table.name.strip_suffix(self.family.table().unwrap_or_default()).unwrap_or_default();
        format!("{prefix}{}", self.view)
    }

    /// The columns of the table that hold traits and are there.
    pub fn traits<'t>(&self, table: &'t Table) -> impl Iterator<Item = &'t Column> + use<'t> {
        let family = self.family;
        table.columns.iter().filter(move |column| column.declared.is_some() && !family.takes(&column.name))
    }

    /// What a view of this query over this table is marked with: another mark, another view.
    #[must_use]
    pub fn mark(&self, table: &Table, query: &str) -> String {
        let mut hash = Sha256::new_with_prefix(query);
        for column in self.traits(table) {
            hash.update(column.declared.map_or("", super::evolve::Type::as_str));
        }
        format!("{MARK} {}", HEXLOWER.encode(&hash.finalize()[..4]))
    }

    /// What becomes of the view without more ado where something has its name: a view with this `comment`, or another
    /// object. `None`: it is an earlier view of the router's, to be made anew.
    #[must_use]
    pub fn found(&self, name: &str, is_view: bool, comment: &str, mark: &str) -> Option<ViewOutcome> {
        if !is_view || !comment.starts_with(MARK) {
            return Some(self.taken(name));
        }
        (comment == mark).then_some(ViewOutcome::Kept)
    }

    /// Something else has the name.
    #[must_use]
    pub fn taken(&self, name: &str) -> ViewOutcome {
        let (view, table) = (self.view, self.family.table().unwrap_or_default());
        ViewOutcome::Left(Some(format!(
            "{name} is there already and is not the view of the latest traits of {table}: it is left as it is, and there is \
             no view {view}; rename it, or write `profiles: false` in the destination's file"
        )))
    }

    /// The warehouse does not make it.
    #[must_use]
    pub fn refused(&self, name: &str, words: &str) -> ViewOutcome {
        ViewOutcome::Left(Some(format!(
            "the view {name} of the latest traits cannot be made yet; rows are written without it, and it is tried again: {words}"
        )))
    }
}
