//! Sums over several partitions.

use tidegate_event::in_partition;

use super::World;
use crate::SyncProgress;

#[test]
fn what_one_partition_delivered_before_it_is_counted_is_no_breach_of_another() {
    let mut world = World::new(1);
    world.state.set_partitions(2).unwrap();
    world.refine_all(4);
    // Each partition delivered before anything was counted.
    for key in ["crm", &in_partition("crm", 1)] {
        world.state.advance(key, &SyncProgress { delivered: 7, ..SyncProgress::default() }, 1).unwrap();
    }
    world.holds(0);
    world.advance("crm", 0);
    world.holds(1);
    assert!(!world.state.check_fates(1).unwrap());
}
