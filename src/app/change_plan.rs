//! What a change of the configuration takes: which parts go on as they are, and what is done to the others.
//!
//! Pure: two resolved workspaces go in, what follows comes out. Objects are told apart by what they are made of, not by their
//! files, so a comment, the order of fields or a file that was written again are no change.
//!
//! ```text
//! write key, rate ───────────► door
//! contract files ────────────► rules; the columns that they declare for a sync to a warehouse ─► reopen it
//! lookup ─► functions that borrow it, uploaded ones that are granted it ─► rules
//! secret ─► what names it; uploaded functions that name it in their settings ─► rules
//! function ─► the chains that name it ─► rules
//! destination, a warehouse ──► each sync that names it: reopen      warehouse ◄─► plugin ─► replace
//! destination, a plugin ─────► its runtime; how events are gathered for it ─► regather its syncs
//! sync: categories of consent that no other asks for ─► rules
//! sync: filter, mapping, batch, consent, functions ─► regather │ schema, destination ─► reopen │ source ─► replace
//! sync or destination, paused ─► pause, and resume
//! sync that drained, and another of its name ─► replace
//! source, paused or at its end ─► door │ one that reads a stream, and any change of it ─► its stream begins anew
//! ```

use std::collections::{BTreeMap, BTreeSet};

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::SecretValue;
use tidegate_registry::{PluginKind, Releases};

use super::{declare, destinations};
use crate::config::{DestinationKind, InstanceKeySetting, PortTlsConfig, Workspace};

/// What is done to a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncChange {
    /// It is new.
    Start,
    /// It has come to its end: it reads no further, and what is pending is tried on.
    Settle,
    /// It goes on where it was.
    Resume,
    /// Its events are gathered in another way, for the same destination.
    Regather,
    /// Its destination is opened anew; it goes on at its ledger.
    Reopen,
    /// It stops where it is, and its destination is closed.
    Pause,
    /// It is another sync under the same name: the old one ends, and what waits for it must be delivered or given up.
    Replace,
    /// It is gone.
    End,
}

impl SyncChange {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Settle => "settle",
            Self::Resume => "resume",
            Self::Regather => "regather",
            Self::Reopen => "reopen",
            Self::Pause => "pause",
            Self::Replace => "replace",
            Self::End => "end",
        }
    }

    /// Whether a sync is at its end by it.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Replace | Self::End)
    }
}

/// What is done so that what runs is what another workspace says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangePlan {
    /// Tables that are read anew.
    pub lookups: BTreeSet<String>,
    /// Functions of files that are loaded anew.
    pub functions: BTreeSet<String>,
    /// What events are judged by and run through is another one.
    pub rules: bool,
    /// Sources, their keys or their limits are others.
    pub door: bool,
    /// Destination plugins whose runtime is opened anew.
    pub runtimes: BTreeSet<String>,
    /// Syncs that do not go on as they are.
    pub syncs: BTreeMap<String, SyncChange>,
    /// The bounds of the quarantine are others, or other fields of events are masked.
    pub quarantine: bool,
    /// Settings of `tidegate.yaml` that count from the next start.
    pub needs_restart: Vec<&'static str>,
}

impl ChangePlan {
    /// From `old` to `new`, which are both right; `releases` are what is live in the store.
    #[must_use]
    pub fn between(old: &Workspace, new: &Workspace, releases: &Releases) -> Self {
        let change = TwoWorkspaces { old, new };
        let lookups = change.lookups(releases);
        let functions = change.functions(&lookups);
        Self {
            rules: change.rules(&lookups, &functions, releases),
            door: change.any_differs(ObjectRefKind::Source)
                || closed(old) != closed(new)
                || !old.left_out_keys().eq(new.left_out_keys()),
            runtimes: change.runtimes(),
            syncs: change.syncs(),
            quarantine: old.quarantine != new.quarantine || old.masked != new.masked,
            needs_restart: needs_restart(old, new),
            lookups,
            functions,
        }
    }

    /// Everything goes on as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

struct TwoWorkspaces<'a> {
    old: &'a Workspace,
    new: &'a Workspace,
}

impl TwoWorkspaces<'_> {
    /// Whether an object is made of something else, or is in one of both alone.
    fn differs(&self, kind: ObjectRefKind, key: &str) -> bool {
        let object = ObjectRef::new(kind, key);
        let hash = |of: &Workspace| of.specs.get(&object).map(|spec| spec.hash);
        hash(self.old) != hash(self.new)
    }

    fn any_differs(&self, kind: ObjectRefKind) -> bool {
        let both = self.old.specs.keys().chain(self.new.specs.keys());
        both.filter(|object| object.kind == kind).any(|object| self.differs(kind, &object.key))
    }

    /// Tables that differ and that somebody borrows.
    fn lookups(&self, releases: &Releases) -> BTreeSet<String> {
        let borrowed = |table: &str| {
            let borrows = self.new.functions.values().flat_map(|function| &function.lookups);
            borrows.filter_map(|borrowed| borrowed.table.as_deref()).any(|name| name == table)
        };
        let differ = self.new.lookups.keys().filter(|table| self.differs(ObjectRefKind::Lookup, table));
        let used = differ.filter(|table| borrowed(table) || is_granted(self.new, table, releases));
        used.cloned().collect()
    }

    /// Functions of files that differ, or borrow a table that does.
    fn functions(&self, lookups: &BTreeSet<String>) -> BTreeSet<String> {
        let borrows = |name: &str| {
            let borrowed = self.new.functions.get(name).into_iter().flat_map(|function| &function.lookups);
            borrowed.filter_map(|borrowed| borrowed.table.as_ref()).any(|table| lookups.contains(table))
        };
        let names = self.new.functions.keys();
        names.filter(|name| self.differs(ObjectRefKind::Function, name) || borrows(name)).cloned().collect()
    }

    fn rules(&self, lookups: &BTreeSet<String>, functions: &BTreeSet<String>, releases: &Releases) -> bool {
        let of_new = chains(self.new);
        let lookups_of_uploaded = || {
            let names: BTreeSet<&String> = self.old.lookups.keys().chain(self.new.lookups.keys()).collect();
            names.into_iter().any(|table| {
                let is_used = [self.old, self.new].iter().any(|of| is_granted(of, table, releases));
                is_used && (lookups.contains(table) || self.differs(ObjectRefKind::Lookup, table))
            })
        };
        self.any_differs(ObjectRefKind::ContractFile)
            || of_new != chains(self.old)
            || consents(self.new) != consents(self.old)
            || of_new.values().flatten().any(|name| functions.contains(*name))
            || lookups_of_uploaded()
            || self.any_secret_of_functions_differs(releases)
    }

    fn any_secret_of_functions_differs(&self, releases: &Releases) -> bool {
        let of_functions = |(kind, _): &(PluginKind, String)| *kind == PluginKind::Functions;
        let users = releases.users_of_secrets();
        let mut named = users.iter().filter(|(_, users)| users.iter().any(of_functions)).map(|(name, _)| name);
        named.any(|name| secret(self.old, name) != secret(self.new, name))
    }

    /// Plugins that a sync uses, and that differ or were not used before.
    fn runtimes(&self) -> BTreeSet<String> {
        let (before, now) = (used_plugins(self.old), used_plugins(self.new));
        let opened =
            now.into_iter().filter(|name| !before.contains(name) || self.differs(ObjectRefKind::Destination, name));
        opened.map(str::to_owned).collect()
    }

    fn syncs(&self) -> BTreeMap<String, SyncChange> {
        let names: BTreeSet<&String> = self.old.syncs.keys().chain(self.new.syncs.keys()).collect();
        let change = |name: &String| match (self.old.syncs.contains_key(name), self.new.syncs.contains_key(name)) {
            (false, _) => Some(SyncChange::Start),
            (_, false) => Some(SyncChange::End),
            (true, true) if self.gives_way(name) => Some(SyncChange::Replace),
            (true, true) => self.paused_or_not(name),
        };
        names.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect()
    }

    /// Whether a sync that was ending goes, and another one of its name comes, however alike the two are.
    fn gives_way(&self, name: &str) -> bool {
        self.old.ending.syncs.contains(name) && !self.new.ending.syncs.contains(name)
    }

    /// What is done to a sync that is in both. One that stays paused is as it shall be once it goes on.
    fn paused_or_not(&self, name: &str) -> Option<SyncChange> {
        let change = self.sync(name);
        match (self.old.is_sync_paused(name), self.new.is_sync_paused(name)) {
            _ if change == Some(SyncChange::Replace) => change,
            (false, false) => change,
            (false, true) => Some(SyncChange::Pause),
            (true, false) => Some(SyncChange::Resume),
            (true, true) => None,
        }
    }

    /// What is done to a sync that is in both and runs.
    fn sync(&self, name: &str) -> Option<SyncChange> {
        let (before, after) = (self.old.syncs.get(name)?, self.new.syncs.get(name)?);
        let was = self.old.destinations.get(&before.destination.0).map(|it| &it.kind);
        let is = self.new.destinations.get(&after.destination.0).map(|it| &it.kind);
        let is_alike = match (was, is) {
            (Some(was), Some(is)) => was.is_like(is),
            _ => true,
        };
        if before.source.0 != after.source.0 || !is_alike {
            return Some(SyncChange::Replace);
        }
        let columns = |of: &Workspace| declare::part(of, name, 0);
        let is_to_reopen = match is {
            Some(DestinationKind::Plugin(_)) => false,
            Some(DestinationKind::Stream(_)) => self.differs(ObjectRefKind::Destination, &after.destination.0),
            Some(DestinationKind::Warehouse(_)) | None => {
                self.differs(ObjectRefKind::Destination, &after.destination.0)
                    || columns(self.old).declared != columns(self.new).declared
            }
        };
        if before.destination.0 != after.destination.0 || before.schema != after.schema || is_to_reopen {
            return Some(SyncChange::Reopen);
        }
        let is_same = destinations::filter(self.old, before) == destinations::filter(self.new, after)
            && destinations::settings(self.old, before) == destinations::settings(self.new, after)
            && before.mapping == after.mapping
            && function_names(&before.functions) == function_names(&after.functions)
            && self.old.start_of(name) == self.new.start_of(name);
        (!is_same).then_some(SyncChange::Regather)
    }
}

/// Sources that take nothing in.
fn closed(workspace: &Workspace) -> BTreeSet<&str> {
    let is_closed =
        |name: &&String| workspace.is_paused(ObjectRefKind::Source, name) || workspace.ending.sources.contains(*name);
    workspace.sources.keys().filter(is_closed).map(String::as_str).collect()
}

/// Whether an uploaded function that is live and sees events may borrow a table.
fn is_granted(workspace: &Workspace, table: &str, releases: &Releases) -> bool {
    let granted = workspace.lookups.get(table).into_iter().flat_map(|lookup| &lookup.grant_to);
    let uploaded = releases.of_kind(PluginKind::Functions);
    granted.filter_map(|(name, _)| uploaded.get(name)).any(|release| {
        release.live.is_some() && release.attached.iter().any(|source| workspace.sources.contains_key(source))
    })
}

/// A secret that a workspace knows.
fn secret<'w>(workspace: &'w Workspace, name: &str) -> Option<&'w SecretValue> {
    workspace.secrets.as_ref()?.get(name)?.as_ref()
}

/// The functions of each source and of each sync that has any, in order.
fn chains(workspace: &Workspace) -> BTreeMap<(ObjectRefKind, &str), Vec<&str>> {
    let sources = workspace.sources.iter();
    let of_sources =
        sources.map(|(name, source)| ((ObjectRefKind::Source, &**name), function_names(&source.functions)));
    let syncs = workspace.syncs.iter().filter(|(_, sync)| !sync.functions.is_empty());
    let of_syncs = syncs.map(|(name, sync)| ((ObjectRefKind::Sync, &**name), function_names(&sync.functions)));
    of_sources.chain(of_syncs).collect()
}

/// Categories of consent that any sync asks for.
fn consents(workspace: &Workspace) -> BTreeSet<&str> {
    workspace.syncs.values().flat_map(|sync| &sync.filter.consent.categories).map(String::as_str).collect()
}

fn function_names(functions: &[(String, usize)]) -> Vec<&str> {
    functions.iter().map(|(name, _)| name.as_str()).collect()
}

fn used_plugins(workspace: &Workspace) -> BTreeSet<&str> {
    let named = workspace.syncs.values().map(|sync| sync.destination.0.as_str());
    let is_plugin =
        |name: &&str| matches!(workspace.destinations.get(*name).map(|it| &it.kind), Some(DestinationKind::Plugin(_)));
    named.filter(is_plugin).collect()
}

/// Settings that are different and are used when the server starts, and then no more.
#[must_use]
pub fn needs_restart(old: &Workspace, new: &Workspace) -> Vec<&'static str> {
    let tls = |of: &Option<PortTlsConfig>| of.as_ref().map(|tls| tls.files.clone());
    let admin = |of: &Workspace| (of.admin_listen_named, of.wrong_tokens_max, tls(&of.admin_tls));
    let limits = |of: &Workspace| (of.limits.clone(), of.connections.clone());
    let key = |of: &Workspace| of.instance_key.as_ref().map(InstanceKeySetting::print);
    let settings = [
        ("listen", old.listen != new.listen),
        ("tls", tls(&old.tls) != tls(&new.tls)),
        ("admin", admin(old) != admin(new)),
        ("data", old.data_named != new.data_named),
        ("environments", old.environments != new.environments),
        ("limits", limits(old) != limits(new)),
        ("login", old.login != new.login),
        ("trusted_proxies", old.trusted_proxies != new.trusted_proxies),
        ("public_url", old.public_host != new.public_host),
        ("browser_cookies", old.browser_cookies != new.browser_cookies),
        ("log", old.log != new.log || old.partitions != new.partitions),
        ("dedup", old.dedup != new.dedup),
        ("instance_key", key(old) != key(new)),
        ("leases", old.leases != new.leases),
        ("metrics", old.metrics != new.metrics),
        ("traces", old.traces != new.traces),
        ("slots", old.pagemap_scan != new.pagemap_scan),
    ];
    settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests;
