//! Who may look up what: the tables that a workspace has, granted to the functions whose manifests ask for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_plugin::{NotAPackage, Package};
use tidegate_wasm::Services;
use tidegate_wasm::lookup::{GrantedTables, LookupTable};

use super::AppError;
use super::unloadable::Unloadable;
use crate::config::{FunctionConfig, Workspace};

/// The tables that somebody may borrow, by their names in the workspace.
pub(super) struct WorkspaceTables(BTreeMap<String, GrantedTable>);

struct GrantedTable {
    table: Arc<LookupTable>,
    /// Uploaded functions that may borrow it.
    grant_to: Vec<String>,
}

impl WorkspaceTables {
    /// The table of this name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<LookupTable>> {
        self.0.get(name).map(|granted| Arc::clone(&granted.table))
    }

    /// Whether every table that a function of a file borrows is there.
    pub(super) fn has_all_of(&self, config: &FunctionConfig) -> bool {
        let mut borrowed = config.lookups.iter().filter_map(|borrowed| borrowed.table.as_ref());
        borrowed.all(|table| self.0.contains_key(table))
    }

    /// Whether the uploaded function `name` may borrow any of them.
    pub(super) fn has_grants_to(&self, name: &str) -> bool {
        self.0.values().any(|granted| granted.grant_to.iter().any(|function| function == name))
    }

    /// What the uploaded function `name` may use of the tables that its manifest asks for. What is not granted is an error
    /// where the function asks for it: an upload must not keep a server from starting.
    pub(super) fn granted_to(&self, name: &str, asked: &[String]) -> Services {
        let granted = asked.iter().filter_map(|asked| Some((asked, self.0.get(asked)?)));
        let granted = granted.filter(|(_, granted)| granted.grant_to.iter().any(|function| function == name));
        granted
            .fold(GrantedTables::default(), |all, (asked, one)| all.with(asked, Arc::clone(&one.table)))
            .into_services()
    }
}

/// Reads the tables that functions borrow, but those that are kept; one that nobody borrows is left alone. With those that cannot be read.
pub(super) fn tables(
    workspace: &Workspace,
    kept: impl Fn(&str) -> Option<Arc<LookupTable>>,
) -> (WorkspaceTables, Unloadable) {
    let borrowed: BTreeSet<&String> = workspace
        .functions
        .values()
        .flat_map(|function| &function.lookups)
        .filter_map(|borrowed| borrowed.table.as_ref())
        .collect();
    let (mut tables, mut unloadable) = (BTreeMap::new(), Unloadable::default());
    for (name, config) in &workspace.lookups {
        if config.grant_to.is_empty() && !borrowed.contains(name) {
            continue;
        }
        let opened = || LookupTable::open(&config.settings).map(Arc::new);
        match kept(name).map_or_else(opened, Ok) {
            Ok(table) => {
                let grant_to = config.grant_to.iter().map(|(function, _)| function.clone()).collect();
                tables.insert(name.clone(), GrantedTable { table, grant_to });
            }
            Err(cause) => {
                unloadable.add(ObjectRefKind::Lookup, name, AppError::Lookup { name: name.clone(), cause });
            }
        }
    }
    (WorkspaceTables(tables), unloadable)
}

/// Of each uploaded function, the tables that the workspace grants it.
pub(super) fn granted(workspace: &Workspace) -> BTreeMap<String, BTreeSet<String>> {
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, config) in &workspace.lookups {
        for (function, _) in &config.grant_to {
            granted.entry(function.clone()).or_default().insert(table.clone());
        }
    }
    granted
}

/// What the host does for the function `name`: the tables that its manifest asks for and the workspace grants.
pub(super) fn services(
    name: &str,
    config: &FunctionConfig,
    component: &[u8],
    tables: &WorkspaceTables,
) -> Result<Services, AppError> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| AppError::Function { name: name.to_owned(), cause };
    let asked = match Package::read(component) {
        Ok(package) => package.manifest.lookups,
        // A component without a manifest does not say what it wants: whatever is granted is there for it.
        Err(NotAPackage::NoManifest) => config.lookups.iter().map(|borrowed| borrowed.name.clone()).collect(),
        Err(error) => return Err(failed(Box::new(error))),
    };
    let mut granted = GrantedTables::default();
    for asked in &asked {
        let Some(borrowed) = config.lookups.iter().find(|borrowed| borrowed.name == *asked) else {
            let advice = format!(
                "its manifest asks for a table that it calls {asked:?}, and functions/{name}.yaml grants it none; add \
                 `lookups: {{{asked}: NAME}}` with the NAME of a file lookups/NAME.yaml, or `lookups: {{{asked}: none}}` \
                 to go without"
            );
            return Err(failed(advice.into()));
        };
        if let Some(table) = borrowed.table.as_ref().and_then(|table| tables.get(table)) {
            granted = granted.with(asked, table);
        }
    }
    if let Some(idle) = config.lookups.iter().find(|borrowed| !asked.contains(&borrowed.name)) {
        let advice = format!(
            "functions/{name}.yaml grants it a table as {:?}, which its manifest does not ask for; take that line away",
            idle.name
        );
        return Err(failed(advice.into()));
    }
    Ok(granted.into_services())
}
