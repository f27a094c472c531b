use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What came of a search.
#[derive(Debug, Default, PartialEq)]
struct Found {
    passed: Vec<usize>,
    /// Parts that came back.
    blamed: Vec<Vec<usize>>,
    tries: usize,
    failures: usize,
}

/// Has every part fail for which `fails` says so.
fn search(mut bisect: Bisect<Range<usize>>, fails: impl Fn(Range<usize>) -> bool) -> Found {
    let mut found = Found::default();
    while let Some(part) = bisect.next_part() {
        found.tries += 1;
        if fails(part.clone()) {
            found.failures += 1;
            found.blamed.extend(bisect.failed(part).map(Iterator::collect));
        } else {
            bisect.passed();
            found.passed.extend(part);
        }
    }
    found
}

fn some(items: usize, culprits: usize) -> impl Strategy<Value = (usize, BTreeSet<usize>)> {
    let culprits = proptest::collection::btree_set(0..items, 0..culprits);
    (0..items, culprits).prop_map(|(items, culprits)| (items, culprits.into_iter().filter(|at| *at < items).collect()))
}

fn holds(culprits: &BTreeSet<usize>) -> impl Fn(Range<usize>) -> bool {
    |part| culprits.range(part).next().is_some()
}

proptest! {
    #[test]
    fn every_culprit_stands_alone_and_every_neighbour_passes_once_in_order(
        (items, culprits) in some(600, 12),
        deduces: bool,
    ) {
        let bisect = Bisect::of(0..items).with_halvings(halvings_max(items, culprits.len()));
        let found = search(if deduces { bisect.deducing() } else { bisect }, holds(&culprits));
        prop_assert_eq!(found.blamed, culprits.iter().map(|at| vec![*at]).collect::<Vec<_>>());
        prop_assert_eq!(found.passed, (0..items).filter(|at| !culprits.contains(at)).collect::<Vec<_>>());
        let bound = if culprits.is_empty() { 1 } else { tries_max(items, culprits.len()) };
        prop_assert!(found.tries <= bound, "{} tries, bound {bound}", found.tries);
    }

    #[test]
    fn a_search_that_may_not_halve_for_ever_blames_what_is_left_and_forgets_nothing(
        (items, culprits) in some(300, 200),
        halvings in 0_usize..40,
        deduces: bool,
    ) {
        let bisect = Bisect::of(0..items).with_halvings(halvings);
        let found = search(if deduces { bisect.deducing() } else { bisect }, holds(&culprits));
        prop_assert!(found.tries <= 1 + 2 * halvings, "{} tries", found.tries);
        prop_assert!(found.blamed.iter().all(|part| part.iter().any(|at| culprits.contains(at))));
        prop_assert!(found.passed.is_sorted() && found.passed.iter().all(|at| !culprits.contains(at)));
        let mut all: Vec<usize> = found.blamed.concat();
        all.extend(found.passed);
        all.sort_unstable();
        prop_assert_eq!(all, (0..items).collect::<Vec<_>>());
    }

    #[test]
    fn giving_up_hands_back_all_that_has_no_outcome_in_order((items, culprits) in some(300, 12), tries in 0_usize..40) {
        let (mut bisect, mut settled) = (Bisect::of(0..items), Vec::new());
        for _ in 0..tries {
            let Some(part) = bisect.next_part() else { break };
            if holds(&culprits)(part.clone()) {
                settled.extend(bisect.failed(part).into_iter().flatten());
            } else {
                settled.extend(part);
            }
        }
        let rest: Vec<usize> = bisect.give_up().flatten().collect();
        settled.extend(rest);
        prop_assert_eq!(settled, (0..items).collect::<Vec<_>>());
        prop_assert_eq!(bisect.next_part(), None);
    }

    #[test]
    fn a_list_is_searched_like_a_range((items, culprits) in some(100, 6)) {
        let (mut of_range, mut of_list) = (Bisect::of(0..items), Bisect::of((0..items).collect::<Vec<_>>()));
        while let Some(range) = of_range.next_part() {
            let list = of_list.next_part().unwrap();
            prop_assert_eq!(&list, &range.clone().collect::<Vec<_>>());
            if holds(&culprits)(range.clone()) {
                prop_assert_eq!(of_range.failed(range).is_some(), of_list.failed(list).is_some());
            }
        }
        prop_assert_eq!(of_list.next_part(), None);
    }
}

#[test]
fn deducing_spares_the_failed_tries_of_right_halves() {
    let last = BTreeSet::from([511]);
    let (plain, deducing) =
        (search(Bisect::of(0..512), holds(&last)), search(Bisect::of(0..512).deducing(), holds(&last)));
    // The whole batch, and the item itself.
    assert_eq!((plain.failures, deducing.failures, deducing.tries), (10, 2, 11));
}

#[test]
fn a_failure_of_the_sum_blames_nobody() {
    let found = search(Bisect::of(0..500).deducing(), |part| part.len() > 10);
    assert_eq!((found.blamed.len(), found.passed.len()), (0, 500));
    assert!(found.tries < 500, "{}", found.tries);
}

#[test]
fn what_is_pushed_comes_before_what_is_open_and_the_empty_never_comes() {
    let mut bisect = Bisect::of(vec![0, 1, 2, 3]);
    let whole = bisect.next_part().unwrap();
    assert_eq!(bisect.failed(whole), None);
    bisect.push(vec![7]);
    bisect.push(vec![]);
    assert_eq!(bisect.failed(vec![]), None);
    let order: Vec<_> = std::iter::from_fn(|| bisect.next_part()).collect();
    assert_eq!(order, [vec![7], vec![0, 1], vec![2, 3]]);
    assert_eq!(Bisect::of(3..3).next_part(), None);
}
