//! Appends that wait for the disk, fairly: each lane (a source) has its own queue, and the writer takes from them in turn
//! by bytes when not all of them fit into one group. So a lane that floods waits for itself alone.

use std::collections::{HashMap, VecDeque};

use super::Append;

/// Bytes that a lane may add to a group before the next has its turn.
const TURN_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Lanes {
    /// Those that hold something; as many at most as there are sources.
    lanes: HashMap<u32, SourceLane>,
    turns: VecDeque<u32>,
    bytes: usize,
}

#[derive(Default)]
struct SourceLane {
    appends: VecDeque<Append>,
    bytes: usize,
    /// Bytes that it may still add in this turn.
    credit: usize,
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether a lane may add `bytes` while `pending` bytes wait in all. It may have as much as stays free: half when it is
    /// alone, a third of each of two. So there is always room for a lane that holds nothing.
    pub(super) fn admits(&self, lane: u32, bytes: usize, pending: usize, pending_max: usize) -> bool {
        let Some(free) = pending_max.checked_sub(pending + bytes) else { return false };
        self.lanes.get(&lane).is_none_or(|lane| lane.bytes + bytes <= free)
    }

    pub(super) fn push(&mut self, id: u32, append: Append) {
        let bytes = append.frames.bytes();
        let lane = self.lanes.entry(id).or_default();
        if lane.appends.is_empty() {
            self.turns.push_back(id);
        }
        lane.appends.push_back(append);
        lane.bytes += bytes;
        self.bytes += bytes;
    }

    /// Moves up to `group_bytes_max` into `group`; at least one append, if there is any.
    pub(super) fn take(&mut self, group: &mut Vec<Append>, group_bytes_max: usize) {
        let mut room = group_bytes_max;
        let all_fit = self.bytes <= room;
        while let Some(id) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.credit += if all_fit { lane.bytes } else { TURN_BYTES };
            let mut full = false;
            while let Some(bytes) = lane.appends.front().map(|append| append.frames.bytes()) {
                full = bytes > room && !group.is_empty();
                if full || bytes > lane.credit {
                    break;
                }
                lane.credit -= bytes;
                lane.bytes -= bytes;
                self.bytes -= bytes;
                room = room.saturating_sub(bytes);
                group.extend(lane.appends.pop_front());
            }
            if lane.appends.is_empty() {
                self.lanes.remove(&id);
            } else if full {
                // Its turn comes first the next time.
                self.turns.push_front(id);
                return;
            } else {
                self.turns.push_back(id);
            }
        }
    }

    /// Everything that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Append> {
        let lanes = std::mem::take(self).lanes;
        lanes.into_values().flat_map(|lane| lane.appends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frames;
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    fn append(payload: usize) -> Append {
        let mut frames = Frames::default();
        frames.push(|out| out.resize(out.len() + payload, b'x'));
        Append { frames, reply: oneshot::channel().0 }
    }

    fn take(lanes: &mut Lanes, most: usize) -> Vec<usize> {
        let mut group = Vec::new();
        lanes.take(&mut group, most);
        group.iter().map(|append| append.frames.bytes()).collect()
    }

    #[test]
    fn a_quiet_lane_is_in_the_next_group_whatever_another_has_waiting() {
        let mut lanes = Lanes::default();
        for _ in 0..100 {
            lanes.push(1, append(500_000));
        }
        lanes.push(2, append(300));
        let first = take(&mut lanes, 8 << 20);
        assert!(first.contains(&append(300).frames.bytes()), "{first:?}");
        assert_eq!(first.len(), 17, "and the group is as full as it can be");
        let mut rest = 0;
        while !lanes.is_empty() {
            rest += take(&mut lanes, 8 << 20).len();
        }
        assert_eq!(rest, 100 - 16);
    }

    #[test]
    fn one_lane_never_has_all_the_room() {
        let mut lanes = Lanes::default();
        let (max, bytes) = (10_000, append(944).frames.bytes());
        let mut pending = 0;
        let mut fill = |lanes: &mut Lanes, lane| {
            let mut taken = 0;
            while lanes.admits(lane, bytes, pending, max) {
                lanes.push(lane, append(944));
                pending += bytes;
                taken += 1;
            }
            taken
        };
        assert_eq!(fill(&mut lanes, 1), 5, "half of it, alone");
        assert!(fill(&mut lanes, 2) >= 2, "the next has its place");
        assert!(fill(&mut lanes, 3) >= 1);
        assert_eq!(fill(&mut lanes, 1), 0);
        assert!(Lanes::default().admits(1, max, 0, max), "what fits at all is taken when nothing waits");
        assert!(!Lanes::default().admits(1, max + 1, 0, max));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_lane_keeps_its_order(
            pushes in proptest::collection::vec((0_u32..4, 0_usize..300_000), 0..60),
            most in 1_usize..1_000_000,
        ) {
            let mut lanes = Lanes::default();
            let mut want: HashMap<u32, Vec<usize>> = HashMap::new();
            for (n, (lane, bytes)) in pushes.iter().enumerate() {
                // The number of a push tells its size from the others.
                let bytes = (bytes / 64) * 256 + n;
                lanes.push(*lane, append(bytes));
                want.entry(*lane).or_default().push(append(bytes).frames.bytes());
            }
            let owner: HashMap<usize, u32> =
                want.iter().flat_map(|(lane, sizes)| sizes.iter().map(|size| (*size, *lane))).collect();
            let mut got: HashMap<u32, Vec<usize>> = HashMap::new();
            while !lanes.is_empty() {
                let group = take(&mut lanes, most);
                prop_assert!(!group.is_empty());
                prop_assert!(group.len() == 1 || group.iter().sum::<usize>() <= most);
                for size in group {
                    got.entry(owner[&size]).or_default().push(size);
                }
            }
            prop_assert_eq!(got, want);
            prop_assert_eq!(lanes.bytes, 0);
        }
    }
}
