//! Who may look up what: the tables that a workspace has, lent to the functions whose manifests ask for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Error;
use crate::config::{FunctionConfig, Workspace};
use crate::lookup::{Loan, Table};
use crate::plugin::{NotAPackage, Package};
use crate::wasm::Services;

type Tables = BTreeMap<String, Arc<Table>>;

/// The tables that functions borrow; one that nobody borrows is not read.
pub(super) fn tables(workspace: &Workspace) -> Result<Tables, Error> {
    let borrowed = workspace.functions.values().flat_map(|function| &function.lookups);
    let mut tables = Tables::new();
    for name in borrowed.filter_map(|borrowed| borrowed.table.as_ref()) {
        let Some(settings) = workspace.lookups.get(name).filter(|_| !tables.contains_key(name)) else { continue };
        let table = Table::open(settings).map_err(|cause| Error::Lookup { name: name.clone(), cause })?;
        tables.insert(name.clone(), Arc::new(table));
    }
    Ok(tables)
}

/// What the host does for the function `name`: the tables that its manifest asks for and the workspace lends.
pub(super) fn services(
    name: &str,
    config: &FunctionConfig,
    component: &[u8],
    tables: &Tables,
) -> Result<Services, Error> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| Error::Function { name: name.to_owned(), cause };
    let asked = match Package::read(component) {
        Ok(package) => package.manifest.lookups,
        // A component without a manifest does not say what it wants: whatever is lent is there for it.
        Err(NotAPackage::NoManifest) => config.lookups.iter().map(|borrowed| borrowed.name.clone()).collect(),
        Err(error) => return Err(failed(Box::new(error))),
    };
    let mut loan = Loan::default();
    for asked in &asked {
        let Some(borrowed) = config.lookups.iter().find(|borrowed| borrowed.name == *asked) else {
            let advice = format!(
                "its manifest asks for a table that it calls {asked:?}, and functions/{name}.yaml lends it none; add \
                 `lookups: {{{asked}: NAME}}` with the NAME of a file lookups/NAME.yaml, or `lookups: {{{asked}: none}}` \
                 to go without"
            );
            return Err(failed(advice.into()));
        };
        if let Some(table) = borrowed.table.as_ref().and_then(|table| tables.get(table)) {
            loan = loan.with(asked, Arc::clone(table));
        }
    }
    if let Some(idle) = config.lookups.iter().find(|borrowed| !asked.contains(&borrowed.name)) {
        let advice = format!(
            "functions/{name}.yaml lends it a table as {:?}, which its manifest does not ask for; take that line away",
            idle.name
        );
        return Err(failed(advice.into()));
    }
    Ok(loan.into_services())
}
