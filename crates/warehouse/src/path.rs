//! Each table's memory of which path belongs to which column.
//!
//! A tree that mirrors the objects of the events: one node for each path seen, with its column once that is known.
//! The keys of an object come sorted, and so do the children of a node, so walking an event of a known shape costs
//! one comparison for each key and names nothing anew. The memory is a cache: forgetting it costs time only, and its
//! owner does so when it outgrows its bound.

use std::collections::BTreeMap;

use super::name;

/// Children kept in one sorted run; what comes later goes to a map, so that no object is wide enough to make
/// insertion slow.
const RUN_MAX: usize = 1024;
/// Children looked at in order before searching; optional fields make small gaps.
const STEPS_MAX: usize = 4;

/// A node's number.
pub type Node = u32;

/// Root of the paths inside the container that belongs to the table's kind: its columns have no prefix.
pub const OWN: Node = 0;
/// Root of the paths inside `context`.
pub const CONTEXT: Node = 1;
/// Root of the top-level fields without a column of their own.
pub const MESSAGE: Node = 2;

/// Where the value of a path goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathSlot {
    Unknown,
    Column(u32),
    /// No column may be made for it.
    Overflow,
}

#[derive(Debug)]
struct Entry {
    /// Sorted by key.
    children: Vec<(Box<str>, Node)>,
    more: BTreeMap<Box<str>, Node>,
    path: name::Path,
    slot: PathSlot,
    exact: bool,
    depth: u32,
}

/// The paths of one table.
#[derive(Debug)]
pub struct Paths {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Paths {
    /// An empty memory; `own` names the container of the table's kind (`properties`, `traits`).
    #[must_use]
    pub fn new(own: &str) -> Self {
        let root = |container: &str, prefix: &str| Entry {
            children: Vec::new(),
            more: BTreeMap::new(),
            path: name::Path::root(container, prefix),
            slot: PathSlot::Unknown,
            exact: false,
            depth: 0,
        };
        Self { entries: vec![root(own, ""), root("context", "context"), root("", "message")], bytes: 0 }
    }

    /// About how much memory it holds.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The path `parent`/`key`, made when new. `at` is where to look first, and is left where to look next.
    pub fn child(&mut self, parent: Node, key: &str, at: &mut usize) -> Node {
        match self.look(parent, key, *at) {
            Ok((found, node)) => {
                *at = found + 1;
                node
            }
            Err(place) => {
                *at = place + 1;
                self.insert(parent, key, place)
            }
        }
    }

    /// The path `parent`/`key`, if it has been seen.
    #[must_use]
    pub fn find(&self, parent: Node, key: &str) -> Option<Node> {
        self.look(parent, key, 0).ok().map(|(_, node)| node)
    }

    #[must_use]
    pub fn slot(&self, node: Node) -> PathSlot {
        self.entries[node as usize].slot
    }

    /// The name of the node's column, as [`name::Path::column`] has it.
    pub fn name(&mut self, node: Node, taken: impl Fn(&str) -> bool) -> String {
        let entry = &mut self.entries[node as usize];
        let (name, exact) = entry.path.column(taken);
        entry.exact = exact;
        name
    }

    pub fn settle(&mut self, node: Node, slot: PathSlot) {
        self.entries[node as usize].slot = slot;
    }

    /// Which of two paths of one event keeps the column they share: the one spelled like the column, else the one
    /// with fewer keys; smaller is better. Equal ranks leave it to the order of the keys.
    #[must_use]
    pub fn rank(&self, node: Node) -> (bool, u32) {
        let entry = &self.entries[node as usize];
        (!entry.exact, entry.depth)
    }

    fn look(&self, parent: Node, key: &str, at: usize) -> Result<(usize, Node), usize> {
        let Entry { children, more, .. } = &self.entries[parent as usize];
        for (step, (name, node)) in children.iter().enumerate().skip(at).take(STEPS_MAX) {
            if **name == *key {
                return Ok((step, *node));
            }
        }
        match children.binary_search_by(|(name, _)| (**name).cmp(key)) {
            Ok(found) => Ok((found, children[found].1)),
            Err(place) => more.get(key).map_or(Err(place), |node| Ok((place, *node))),
        }
    }

    fn insert(&mut self, parent: Node, key: &str, place: usize) -> Node {
        let above = &self.entries[parent as usize];
        let entry = Entry {
            children: Vec::new(),
            more: BTreeMap::new(),
            path: above.path.child(key),
            slot: PathSlot::Unknown,
            exact: false,
            depth: above.depth + 1,
        };
        self.bytes += key.len() + size_of::<Entry>() + name::NAME_BYTES_MAX + size_of::<(Box<str>, Node)>();
        let node = Node::try_from(self.entries.len()).unwrap_or(Node::MAX);
        self.entries.push(entry);
        let above = &mut self.entries[parent as usize];
        if above.children.len() < RUN_MAX {
            above.children.insert(place, (key.into(), node));
        } else {
            above.more.insert(key.into(), node);
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_objects_find_every_key_again() {
        let mut paths = Paths::new("properties");
        let nodes = (0..5000).rev().map(|n| paths.child(OWN, &n.to_string(), &mut 0)).collect::<Vec<_>>();
        for (n, node) in (0..5000).rev().zip(nodes) {
            assert_eq!(paths.find(OWN, &n.to_string()), Some(node));
            assert_eq!(paths.child(OWN, &n.to_string(), &mut 7), node);
        }
    }

    #[test]
    fn a_path_keeps_its_node_whatever_the_order_of_arrival() {
        let mut paths = Paths::new("properties");
        let nodes = ["m", "a", "z", "c"].map(|key| paths.child(OWN, key, &mut 0));
        let mut at = 0;
        for (key, expected) in [("a", nodes[1]), ("c", nodes[3]), ("m", nodes[0]), ("z", nodes[2])] {
            assert_eq!(paths.child(OWN, key, &mut at), expected);
            assert_eq!(paths.find(OWN, key), Some(expected));
        }
        assert_eq!(paths.find(OWN, "b"), None);
        assert_eq!(paths.find(CONTEXT, "a"), None);
        let ip = paths.child(CONTEXT, "ip", &mut 0);
        assert_eq!(paths.name(ip, |_| false), "context_ip");
        assert_eq!(paths.rank(ip), (false, 1));
    }
}
