//! What is counted of violations: by what, within which bounds, for how long, and who may have it.

use tidegate_event::subject::SubjectKind;

use super::*;
use crate::{ClearSubject, fate_hour_begins_us};

const NOW: i64 = 1_000 * HOURS_A_DAY + 5;

fn state() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state.db")).unwrap();
    (dir, state)
}

fn event(hour: i64, name: &'static str, release: &'static str) -> ViolatingEvent<'static> {
    ViolatingEvent { received_at_us: fate_hour_begins_us(hour), kind: "track", name, is_declared: true, release }
}

fn kept(state: &mut State, tally: &ViolationTally) {
    state.in_transaction(false, |connection| write(connection, "web", tally)).unwrap();
}

fn query() -> ViolationQuery {
    let sources = vec![ViolationSource { source: "web".to_owned(), is_masked: false }];
    ViolationQuery { sources, hours: NOW - 100..NOW + 1, rows_max: 10, ..ViolationQuery::default() }
}

/// Two events named `Sold` of two releases in two hours of two days, and one that is not declared.
fn filled(state: &mut State) {
    let mut tally = ViolationTally::default();
    let price = [("/properties/price", "type")];
    tally.add(&event(NOW, "Sold", "iOS 4.2"), price.into_iter().chain([("/properties/more", "undeclaredField")]));
    tally.add(&event(NOW - 6, "Sold", "iOS 4.1"), price.into_iter());
    let other = ViolatingEvent { is_declared: false, ..event(NOW, "ann@example.com", "iOS 4.2") };
    tally.add(&other, [("", "undeclaredEvent")].into_iter());
    kept(state, &tally);
    kept(state, &tally);
}

#[test]
fn what_is_broken_is_counted_by_time_event_field_and_release() {
    let (_dir, mut state) = state();
    filled(&mut state);
    let found = state.violations(&query()).unwrap();
    assert_eq!(found.times, [(NOW - 6, 2), (NOW, 4)]);
    let events: Vec<(&str, u64)> = found.events.iter().map(|one| (one.name.as_str(), one.span.events)).collect();
    assert_eq!(events, [("Sold", 4), ("ann@example.com", 2)]);
    let fields: Vec<(&str, &str, u64)> =
        found.fields.iter().map(|one| (one.field.as_str(), one.rule.as_str(), one.span.events)).collect();
    assert_eq!(
        fields,
        [("/properties/price", "type", 4), ("/properties/more", "undeclaredField", 2), ("", "undeclaredEvent", 2)]
    );
    let span = ViolationSpan { events: 2, first_hour: NOW - 6, last_hour: NOW - 6 };
    assert_eq!(found.releases[1], ViolatingRelease { release: "iOS 4.1".to_owned(), span });
    assert!(!found.has_more);
    let days = state.violations(&ViolationQuery { by_day: true, ..query() }).unwrap().times;
    assert_eq!(days, [(999 * HOURS_A_DAY, 2), (1_000 * HOURS_A_DAY, 4)]);
    let few = state.violations(&ViolationQuery { rows_max: 1, ..query() }).unwrap();
    assert_eq!((few.fields.len(), few.has_more), (1, true));
    assert!(state.violations(&ViolationQuery { sources: Vec::new(), ..query() }).unwrap().times.is_empty());
}

#[test]
fn what_is_asked_for_is_counted_alone() {
    let (_dir, mut state) = state();
    filled(&mut state);
    let text = |text: &str| Some(text.to_owned());
    let sum = |query: &ViolationQuery| -> u64 {
        state.violations(query).unwrap().times.iter().map(|(_, events)| events).sum()
    };
    let all = |kind: &str| vec![(kind.to_owned(), None)];
    for (asked, events) in [
        (ViolationQuery { hours: NOW..NOW + 1, ..query() }, 4),
        (ViolationQuery { name: text("Sold"), ..query() }, 4),
        (ViolationQuery { kind: text("page"), ..query() }, 0),
        (ViolationQuery { release: text("iOS 4.2"), ..query() }, 4),
        (ViolationQuery { field: text("/properties/price"), ..query() }, 4),
        (ViolationQuery { field: text("/properties/price"), release: text("iOS 4.1"), ..query() }, 2),
        (ViolationQuery { among: Some(vec![("track".to_owned(), text("Sold"))]), ..query() }, 4),
        (ViolationQuery { among: Some(all("track")), ..query() }, 6),
        (ViolationQuery { among: Some(all("page")), ..query() }, 0),
        (ViolationQuery { among: Some(Vec::new()), ..query() }, 0),
    ] {
        assert_eq!(sum(&asked), events, "{asked:?}");
    }
}

#[test]
fn who_may_not_see_events_gets_no_release_and_no_name_that_no_contract_has() {
    let (_dir, mut state) = state();
    filled(&mut state);
    let sources = vec![ViolationSource { source: "web".to_owned(), is_masked: true }];
    let masked = ViolationQuery { sources, ..query() };
    let found = state.violations(&masked).unwrap();
    let text = format!("{found:?}");
    assert!(!text.contains("ann@") && !text.contains("iOS") && text.contains("Sold"), "{text}");
    assert_eq!(found.times, [(NOW - 6, 2), (NOW, 4)]);
    // Whether something is found would tell.
    for asked in [
        ViolationQuery { name: Some("ann@example.com".to_owned()), ..masked.clone() },
        ViolationQuery { release: Some("iOS 4.2".to_owned()), ..masked.clone() },
    ] {
        assert_eq!(state.violations(&asked).unwrap(), ViolationHistory::default());
    }
}

#[test]
fn what_finds_no_room_is_counted_together_and_every_event_is_counted() {
    let (_dir, mut state) = state();
    // The first log range has more than a tally takes, those behind it more than an hour does.
    let mut number = 0;
    for events in [700, 400, 400] {
        let mut tally = ViolationTally::default();
        for _ in 0..events {
            let (name, field) = (format!("Made up {number}"), format!("/properties/f{number}"));
            tally.add(&ViolatingEvent { name: &name, ..event(NOW, "", "a 1") }, [(&*field, "type")].into_iter());
            number += 1;
        }
        assert!(tally.rows.len() <= TALLY_ROWS_MAX + 2, "{}", tally.rows.len());
        kept(&mut state, &tally);
    }
    assert!(room_of(&state.connection, "web", NOW).unwrap().rows >= -2);
    let found = state.violations(&query()).unwrap();
    assert_eq!(found.times, [(NOW, 1_500)]);
    assert_eq!((found.events[0].kind.as_str(), found.events[0].name.as_str()), ("", OTHERS));
    let fields = state.violations(&ViolationQuery { rows_max: 10_000, ..query() }).unwrap().fields;
    assert_eq!(fields.iter().map(|field| field.span.events).sum::<u64>(), 1_500);
    assert_eq!(fields.iter().filter(|field| field.rule == OTHERS).count(), 1);
}

#[test]
fn names_of_fields_that_no_contract_declares_take_no_room_from_others_and_are_told_to_nobody_with_masks() {
    let (_dir, mut state) = state();
    let mut number = 0;
    for _ in 0..3 {
        let mut tally = ViolationTally::default();
        for _ in 0..400 {
            let field = format!("/properties/ann-{number}@example.com");
            tally.add(&event(NOW, "Sold", "a 1"), [(&*field, UNDECLARED_FIELD)].into_iter());
            number += 1;
        }
        tally.add(&event(NOW, "Sold", "a 1"), [("/properties/price", "type")].into_iter());
        assert!(tally.rows.len() <= UNDECLARED_FIELDS_MAX + 3, "{}", tally.rows.len());
        kept(&mut state, &tally);
    }
    let whole = ViolationQuery { rows_max: 10_000, ..query() };
    let found = state.violations(&whole).unwrap();
    assert_eq!(found.times, [(NOW, 1_203)]);
    assert_eq!(found.fields.len(), UNDECLARED_FIELDS_MAX + 2);
    let undeclared = found.fields.iter().filter(|one| one.rule == UNDECLARED_FIELD);
    assert_eq!(undeclared.map(|one| one.span.events).sum::<u64>(), 1_200);
    assert_eq!((found.fields[0].field.as_str(), found.fields[0].span.events), (OTHERS, 1_000));
    let sources = vec![ViolationSource { source: "web".to_owned(), is_masked: true }];
    let masked = ViolationQuery { sources, ..whole };
    let found = state.violations(&masked).unwrap();
    let told: Vec<(&str, &str, u64)> =
        found.fields.iter().map(|one| (one.field.as_str(), one.rule.as_str(), one.span.events)).collect();
    assert_eq!(told, [("", UNDECLARED_FIELD, 1_200), ("/properties/price", "type", 3)]);
    // Whether something is found would tell.
    let asked = ViolationQuery { field: Some("/properties/ann-0@example.com".to_owned()), ..masked };
    assert_eq!(state.violations(&asked).unwrap(), ViolationHistory::default());
}

#[test]
fn an_hour_is_forgotten_after_some_days_and_texts_have_a_bound() {
    let (_dir, mut state) = state();
    let first = NOW - VIOLATION_DAYS_KEPT * HOURS_A_DAY;
    let mut tally = ViolationTally::default();
    let long = "é".repeat(500);
    for hour in [first - 1, first, NOW] {
        tally.add(&event(hour, "Sold", "a 1"), [(&*long, "type")].into_iter());
    }
    kept(&mut state, &tally);
    assert!(!state.check_fates(fate_hour_begins_us(NOW)).unwrap());
    let found = state.violations(&ViolationQuery { hours: 0..NOW + 1, ..query() }).unwrap();
    assert_eq!(found.times, [(first, 1), (NOW, 1)]);
    assert_eq!(found.fields[0].field.len(), 200);
}

#[test]
fn a_text_that_says_who_somebody_is_is_counted_with_others() {
    let (_dir, mut state) = state();
    filled(&mut state);
    let mut tally = ViolationTally::default();
    let places = ["/properties/ann@example.com", "/properties/fine"];
    tally.add(&event(NOW, "Sold", "iOS 4.2"), places.into_iter().map(|place| (place, "type")));
    kept(&mut state, &tally);
    let before = state.violations(&query()).unwrap();
    let (kind, trait_name, value) = (SubjectKind::Trait, "email".to_owned(), "ann@example.com".to_owned());
    let hashed = state.hashed(&[ClearSubject { kind, trait_name, value }]).unwrap();
    let subjects = state.subject_set(&hashed).unwrap();
    for (dry_run, found) in [(true, 2), (false, 2), (false, 0)] {
        assert_eq!(state.forget_names(&subjects, dry_run).unwrap(), found, "{dry_run}");
    }
    let after = state.violations(&query()).unwrap();
    assert!(!format!("{after:?}").contains("ann@"), "{after:?}");
    assert_eq!((after.times, after.releases), (before.times, before.releases));
    let of = |found: &[ViolatedField], field: &str| -> u64 {
        found.iter().filter(|one| one.field == field).map(|one| one.span.events).sum()
    };
    assert_eq!((of(&after.fields, OTHERS), of(&after.fields, "/properties/fine")), (1, 1));
}
