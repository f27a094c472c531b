//! Syncs of which nothing is counted yet.

use super::*;

#[test]
fn a_sync_without_a_batch_has_its_line() {
    let mut world = lived(5);
    world.state.record_starts(&[("new", world.end)]).unwrap();
    let there: BTreeMap<String, String> = ["new", "old", "crm"].map(|sync| (sync.to_owned(), "web".to_owned())).into();
    let found = world.state.conservation_of(&FateQuery::default(), &there).unwrap();
    assert!(found.holds(), "{found:?}");
    let names: Vec<&str> = found.syncs.iter().map(|one| one.sync.as_str()).collect();
    assert_eq!(names, ["crm", "late", "new", "old"]);
    let (new, old) = (&found.syncs[2], &found.syncs[3]);
    assert_eq!((new.counts, new.waiting, new.not_for_it), (FateCounts::default(), 0, new.went_on));
    assert_eq!((old.counts, old.waiting, old.not_for_it), (FateCounts::default(), old.went_on, 0));
    // One that is at its ledger has nothing before that.
    let progress = SyncProgress { cursor: world.end, ..SyncProgress::default() };
    world.state.count_known("old", &progress).unwrap();
    let found = world.state.conservation_of(&FateQuery::default(), &there).unwrap();
    assert!(found.holds(), "{found:?}");
    assert_eq!((found.syncs[3].waiting, found.syncs[3].not_for_it), (0, found.syncs[3].went_on));
}
