//! The kinds of changes, and in which order they come.

use crate::Dice;

/// One kind; each time that its turn comes it goes one step further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The contract of `web` becomes tighter or looser, or leaves out another field, by its file.
    ContractOfFolder,
    /// That of `app`, over the API.
    ContractOfApi,
    /// The function of `web` is swapped, comes or goes, by the folder.
    FunctionOfFolder,
    /// A version of a function becomes active, is attached, detached.
    FunctionOfStore,
    /// A key of `app` comes, the clients move to it, and the other one goes.
    KeyOfFolder,
    /// A key of `web` is made, replaced, revoked over the API, and the clients move in time.
    KeyOfApi,
    SyncPaused,
    SourcePaused,
    /// The settings of a warehouse are wrong, and right again.
    WarehouseBroken,
    /// Those of the destination plugin.
    PluginBroken,
    PluginSettings,
    /// A source with a sync comes, sends, and is drained or given up.
    SourcePasses,
    /// A sync of `web` comes and is drained or given up.
    SyncPasses,
    LookupFile,
    RateLimits,
    /// The sync's batches become larger or smaller.
    SyncBatches,
    /// An object of the catalog is made, changed and deleted.
    ObjectOfApi,
    /// A sync that the API makes, changes and deletes.
    SyncOfApi,
    /// A folder from elsewhere is applied: it has a sync, has it otherwise, has it no more.
    FolderApplied,
    /// The folder has a problem: nothing changes.
    FolderWrong,
}

pub const KINDS: [ChangeKind; 20] = [
    ChangeKind::ContractOfFolder,
    ChangeKind::ContractOfApi,
    ChangeKind::FunctionOfFolder,
    ChangeKind::FunctionOfStore,
    ChangeKind::KeyOfFolder,
    ChangeKind::KeyOfApi,
    ChangeKind::SyncPaused,
    ChangeKind::SourcePaused,
    ChangeKind::WarehouseBroken,
    ChangeKind::PluginBroken,
    ChangeKind::PluginSettings,
    ChangeKind::SourcePasses,
    ChangeKind::SyncPasses,
    ChangeKind::LookupFile,
    ChangeKind::RateLimits,
    ChangeKind::SyncBatches,
    ChangeKind::ObjectOfApi,
    ChangeKind::SyncOfApi,
    ChangeKind::FolderApplied,
    ChangeKind::FolderWrong,
];

/// So many changes: all kinds in an order of the dice, then all again in another one.
pub fn schedule(dice: &mut Dice, count: usize) -> Vec<ChangeKind> {
    let mut changes = Vec::new();
    while changes.len() < count {
        let mut kinds = KINDS.to_vec();
        while !kinds.is_empty() {
            let next = dice.between(0, kinds.len() as u64);
            changes.push(kinds.swap_remove(usize::try_from(next).expect("a small number")));
        }
    }
    changes.truncate(count);
    changes
}
