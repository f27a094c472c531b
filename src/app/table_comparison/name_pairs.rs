//! Which names of the two sides mean the same.

use std::collections::{BTreeMap, BTreeSet};

use super::dialect::ForeignDialect;

/// Pairs of places in the two lists. Names that are written alike come first, then those that differ in case alone; then, for
/// other people's tables, those that the dialect knows; then those that have the same letters and digits, where there is one such
/// name on either side.
pub(super) fn paired(ours: &[&str], theirs: &[&str], dialect: Option<ForeignDialect>) -> Vec<(usize, usize)> {
    let by_name: BTreeMap<&str, usize> = theirs.iter().enumerate().map(|(at, name)| (*name, at)).collect();
    let alike: Vec<Option<usize>> = ours.iter().map(|name| by_name.get(name).copied()).collect();
    let taken: BTreeSet<usize> = alike.iter().flatten().copied().collect();
    let left = theirs.iter().enumerate().filter(|(at, _)| !taken.contains(at));
    let mut free: BTreeMap<String, usize> = left.map(|(at, name)| (name.to_ascii_lowercase(), at)).collect();
    let (mut pairs, mut open) = (Vec::new(), Vec::new());
    for ((at, name), alike) in ours.iter().enumerate().zip(alike) {
        let name = name.to_ascii_lowercase();
        match alike.or_else(|| free.remove(&name)) {
            Some(other) => pairs.push((at, other)),
            None => open.push((at, name)),
        }
    }
    let Some(dialect) = dialect else { return pairs };
    let mut unlike: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, name) in open {
        match dialect.spellings(&name).iter().find_map(|spelling| free.remove(spelling)) {
            Some(other) => pairs.push((at, other)),
            None => unlike.entry(letters(&name)).or_default().push(at),
        }
    }
    let mut left: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (name, at) in free {
        left.entry(letters(&name)).or_default().push(at);
    }
    for (key, ours) in unlike {
        if let ([our], Some([their])) = (&ours[..], left.get(&key).map(Vec::as_slice)) {
            pairs.push((*our, *their));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// The places of either list that are in no pair.
pub(super) fn unpaired(pairs: &[(usize, usize)], ours: usize, theirs: usize) -> (Vec<usize>, Vec<usize>) {
    let our: BTreeSet<usize> = pairs.iter().map(|(our, _)| *our).collect();
    let their: BTreeSet<usize> = pairs.iter().map(|(_, their)| *their).collect();
    let left = |count: usize, taken: &BTreeSet<usize>| (0..count).filter(|at| !taken.contains(at)).collect();
    (left(ours, &our), left(theirs, &their))
}

/// A name without what products put between its words, each at places of its own: `address_1` and `address1`.
fn letters(name: &str) -> String {
    name.chars().filter(|c| *c != '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_own_before_it_is_one_of_another_case() {
        assert_eq!(paired(&["Note", "note"], &["NOTE", "note", "Id"], None), [(0, 0), (1, 1)]);
        assert_eq!(paired(&["note"], &["note", "NOTE"], None), [(0, 0)]);
    }

    #[test]
    fn names_that_differ_in_case_underscores_or_by_the_dialect_are_paired() {
        let ours = ["id", "_order", "address_1", "message_channel", "total", "a_b", "ab"];
        let theirs = ["ID", "order", "address1", "channel", "sum", "a__b"];
        assert_eq!(paired(&ours, &theirs, None), [(0, 0)]);
        let pairs = paired(&ours, &theirs, Some(ForeignDialect::RudderStack));
        // Two of ours are written with the letters of the last one: nobody can tell which it is.
        assert_eq!(pairs, [(0, 0), (1, 1), (2, 2), (3, 3)]);
        assert_eq!(unpaired(&pairs, ours.len(), theirs.len()), (vec![4, 5, 6], vec![4, 5]));
    }
}
