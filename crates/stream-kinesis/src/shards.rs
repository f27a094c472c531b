//! Which shards may be read: a child when everything of its parents is in the log.
//!
//! No time, no network: what was listed, read and acknowledged goes in; what may be read comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::answers::{ChildAnswer, ShardAnswer};
use crate::place::{ShardMark, ShardPlace};

/// Lists in which a shard was not before it counts as gone.
const MISSED_MAX: u32 = 2;

/// A shard as a list says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedShard {
    pub(crate) id: Arc<str>,
    pub(crate) parents: Vec<Arc<str>>,
    /// Nothing more is written to it.
    pub(crate) is_closed: bool,
}

impl From<ShardAnswer> for ListedShard {
    fn from(answer: ShardAnswer) -> Self {
        let parents = [answer.parent_shard_id, answer.adjacent_parent_shard_id];
        Self {
            id: answer.shard_id.into(),
            parents: parents.into_iter().flatten().map(Arc::from).collect(),
            is_closed: answer.sequence_number_range.ending_sequence_number.is_some(),
        }
    }
}

impl From<ChildAnswer> for ListedShard {
    fn from(answer: ChildAnswer) -> Self {
        let parents = answer.parent_shards.into_iter().map(Arc::from).collect();
        Self { id: answer.shard_id.into(), parents, is_closed: false }
    }
}

/// How far a shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ShardState {
    /// To be read from here on, when that may be.
    Waiting(ShardPlace),
    Reading,
    /// All of it is in the log.
    Ended,
}

#[derive(Debug)]
struct ShardNode {
    parents: Vec<Arc<str>>,
    is_closed: bool,
    state: ShardState,
    /// Lists since the last one in which it was; none before the first.
    missed: Option<u32>,
}

/// All shards of a stream.
#[derive(Debug, Default)]
pub(crate) struct ShardTree {
    nodes: BTreeMap<Arc<str>, ShardNode>,
}

impl ShardTree {
    /// Takes a whole list in. A list without any shard is none: no stream is without.
    pub(crate) fn update(&mut self, listed: Vec<ListedShard>) {
        if listed.is_empty() {
            return;
        }
        for node in self.nodes.values_mut() {
            node.missed = node.missed.map(|missed| missed + 1);
        }
        for shard in listed {
            let id = Arc::clone(&shard.id);
            self.add(shard);
            if let Some(node) = self.nodes.get_mut(&id) {
                node.missed = Some(0);
            }
        }
        self.nodes.retain(|_, node| node.missed.is_none_or(|missed| missed < MISSED_MAX));
    }

    /// Takes a shard in, from its beginning unless it is known.
    pub(crate) fn add(&mut self, shard: ListedShard) {
        let ListedShard { id, parents, is_closed } = shard;
        let new = || ShardNode { parents, is_closed, state: ShardState::Waiting(ShardPlace::Horizon), missed: None };
        let node = self.nodes.entry(id).or_insert_with(new);
        node.is_closed |= is_closed;
    }

    /// What the checkpoints say of a shard; nothing where there is no such shard.
    pub(crate) fn put(&mut self, id: &str, mark: ShardMark) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.state = match mark {
                ShardMark::Place(place) => ShardState::Waiting(place),
                ShardMark::End => ShardState::Ended,
            };
        }
    }

    /// The shards that may be read from now on, and from where. Each is given once.
    pub(crate) fn begin(&mut self) -> Vec<(Arc<str>, ShardPlace)> {
        let readable = self.readable();
        let of_waiting = |id: Arc<str>| match self.nodes.get(&id).map(|node| &node.state) {
            Some(ShardState::Waiting(place)) => Some((id, place.clone())),
            _ => None,
        };
        let begun: Vec<(Arc<str>, ShardPlace)> = readable.into_iter().filter_map(of_waiting).collect();
        for (id, _) in &begun {
            self.read(id);
        }
        begun
    }

    /// The shards that may be read by now, whether that has begun or not.
    pub(crate) fn readable(&self) -> BTreeSet<Arc<str>> {
        // Of parents that are gone everything was deleted.
        let has_ended =
            |parent: &Arc<str>| self.nodes.get(parent).is_none_or(|parent| parent.state == ShardState::Ended);
        let may_be_read = |node: &ShardNode| match &node.state {
            ShardState::Waiting(place) => place.has_begun() || node.parents.iter().all(has_ended),
            ShardState::Reading => true,
            ShardState::Ended => false,
        };
        self.nodes.iter().filter(|(_, node)| may_be_read(node)).map(|(id, _)| Arc::clone(id)).collect()
    }

    /// The shard is read from now on.
    pub(crate) fn read(&mut self, id: &str) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.state = ShardState::Reading;
        }
    }

    /// All of the shard is in the log.
    pub(crate) fn end(&mut self, id: &str) {
        self.put(id, ShardMark::End);
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.nodes.contains_key(id)
    }

    /// Whether a list has said that nothing more is written to it.
    pub(crate) fn is_closed(&self, id: &str) -> bool {
        self.nodes.get(id).is_some_and(|node| node.is_closed)
    }

    /// The shards of which not everything is in the log.
    pub(crate) fn open_ones(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.iter().filter(|(_, node)| node.state != ShardState::Ended).map(|(id, _)| id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.keys()
    }

    /// The shards whose parents are all gone: where everything that is kept begins.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Arc<str>> {
        let roots = self.nodes.iter().filter(move |(_, node)| {
            let mut parents = node.parents.iter();
            !parents.any(|parent| self.nodes.contains_key(parent))
        });
        roots.map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shard(id: &str, parents: &[&str], is_closed: bool) -> ListedShard {
        ListedShard { id: id.into(), parents: parents.iter().map(|parent| Arc::from(*parent)).collect(), is_closed }
    }

    fn begun(tree: &mut ShardTree) -> Vec<String> {
        tree.begin().into_iter().map(|(id, _)| id.to_string()).collect()
    }

    #[test]
    fn a_child_is_read_when_all_of_its_parents_have_ended() {
        let mut tree = ShardTree::default();
        tree.update(vec![shard("a", &["gone"], true), shard("b", &[], true), shard("m", &["a", "b"], false)]);
        assert_eq!(begun(&mut tree), ["a", "b"]);
        tree.end("a");
        assert!(begun(&mut tree).is_empty());
        tree.end("b");
        assert_eq!(tree.begin(), vec![(Arc::<str>::from("m"), ShardPlace::Horizon)]);
        assert!(begun(&mut tree).is_empty(), "each is given once");
    }

    #[test]
    fn marks_are_gone_on_from_and_what_has_begun_waits_for_nobody() {
        let mut tree = ShardTree::default();
        tree.update(vec![shard("a", &[], true), shard("b", &["a"], true), shard("c", &["a"], false)]);
        tree.put("b", ShardMark::parse("17").unwrap());
        tree.put("c", ShardMark::parse("time:5").unwrap());
        assert_eq!(begun(&mut tree), ["a", "b"]);
        tree.end("a");
        assert_eq!(tree.begin(), vec![(Arc::<str>::from("c"), ShardPlace::Time(5))]);
    }

    #[test]
    fn a_shard_is_gone_when_two_lists_lack_it() {
        let mut tree = ShardTree::default();
        let both = || vec![shard("a", &[], true), shard("b", &["a"], false)];
        tree.update(both());
        tree.add(shard("child", &["b"], false));
        let one = || vec![shard("b", &["a"], false)];
        tree.update(one());
        assert!(tree.has("a"));
        tree.update(both());
        tree.update(one());
        tree.update(Vec::new());
        assert!(tree.has("a"), "a list without any shard says nothing");
        tree.update(one());
        assert!(!tree.has("a") && tree.has("child"), "what no list has had yet is not gone");
        assert_eq!(begun(&mut tree), ["b"], "a parent that is gone has ended");
    }

    /// A stream that was split and merged: each shard with its parents and its records.
    #[derive(Debug, Clone)]
    struct GrownStream {
        shards: Vec<(ListedShard, u32)>,
    }

    fn streams() -> impl Strategy<Value = GrownStream> {
        let steps = proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0_u32..4), 0..25);
        (1_usize..4, steps).prop_map(|(roots, steps)| {
            let mut shards: Vec<(ListedShard, u32)> =
                (0..roots).map(|n| (shard(&format!("s{n:03}"), &[], false), 3)).collect();
            for (is_split, which, records) in steps {
                let open: Vec<usize> = (0..shards.len()).filter(|at| !shards[*at].0.is_closed).collect();
                let first = open[which.index(open.len())];
                let mut parents = vec![first];
                if !is_split {
                    match open.iter().find(|at| **at != first) {
                        Some(second) => parents.push(*second),
                        None => continue,
                    }
                }
                let names: Vec<Arc<str>> = parents.iter().map(|at| Arc::clone(&shards[*at].0.id)).collect();
                for at in parents {
                    shards[at].0.is_closed = true;
                }
                for _ in 0..if is_split { 2 } else { 1 } {
                    let id: Arc<str> = format!("s{:03}", shards.len()).into();
                    shards.push((ListedShard { id, parents: names.clone(), is_closed: false }, records));
                }
            }
            GrownStream { shards }
        })
    }

    proptest! {
        /// Whatever the order in which shards are read, and whenever it begins anew.
        #[test]
        fn every_record_is_read_once_and_none_before_those_of_its_parents(
            stream in streams(),
            choices in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..10), 1..400),
        ) {
            let all: BTreeMap<Arc<str>, (ListedShard, u32)> =
                stream.shards.iter().map(|(shard, records)| (Arc::clone(&shard.id), (shard.clone(), *records))).collect();
            let listed = || stream.shards.iter().map(|(shard, _)| shard.clone()).collect::<Vec<_>>();
            let mut tree = ShardTree::default();
            tree.update(listed());
            let mut marks: BTreeMap<Arc<str>, ShardMark> = BTreeMap::new();
            let mut reading: BTreeMap<Arc<str>, u32> = BTreeMap::new();
            let mut read: Vec<(Arc<str>, u32)> = Vec::new();
            let mut choices = choices.iter().cycle();
            let mut beginnings = 0;
            loop {
                for (id, place) in tree.begin() {
                    let from = match place {
                        ShardPlace::After { sequence } => sequence.parse::<u32>().unwrap() + 1,
                        _ => 0,
                    };
                    reading.insert(id, from);
                }
                if reading.is_empty() {
                    break;
                }
                let (which, what) = choices.next().unwrap();
                if *what == 0 && beginnings < 20 {
                    beginnings += 1;
                    // It begins anew, with what was acknowledged.
                    tree = ShardTree::default();
                    tree.update(listed());
                    for (id, mark) in &marks {
                        tree.put(id, mark.clone());
                    }
                    reading.clear();
                    continue;
                }
                let id = Arc::clone(reading.keys().nth(which.index(reading.len())).unwrap());
                let (shard, records) = &all[&id];
                let next = reading[&id];
                if next < *records {
                    for parent in &shard.parents {
                        let of_parent = read.iter().filter(|(id, _)| id == parent).count();
                        prop_assert_eq!(of_parent, all[parent].1 as usize, "{} before {}", id, parent);
                    }
                    read.push((Arc::clone(&id), next));
                    reading.insert(Arc::clone(&id), next + 1);
                    marks.insert(Arc::clone(&id), ShardMark::Place(ShardPlace::After { sequence: next.to_string() }));
                } else {
                    reading.remove(&id);
                    marks.insert(Arc::clone(&id), ShardMark::End);
                    tree.end(&id);
                }
            }
            let mut expected: Vec<(Arc<str>, u32)> = Vec::new();
            for (id, (_, records)) in &all {
                expected.extend((0..*records).map(|n| (Arc::clone(id), n)));
            }
            read.sort_unstable();
            prop_assert_eq!(read, expected);
        }
    }
}
