//! Which events of a sync wait for another try, and whose turn it is.
//!
//! A far side that is away makes thousands wait, each with a pause of its own; who asks whose turn it is must not go through all
//! of them each time. So the **turns** are kept in the order of their times: of each user's events the first alone where they
//! stay in order, for the others wait behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidegate_event::EventId;
use tidegate_plugin::Order;
use tidegate_state::PendingMark;

use super::effective_policy::PendingLimits;

/// An index of the pending events of one sync; their bodies stay in the state file.
pub(super) struct RetryIndex {
    order: Order,
    waiting: BTreeMap<EventId, PendingMark>,
    /// Of each user, nobody included.
    users: HashMap<String, BTreeSet<EventId>>,
    turns: BTreeSet<(i64, EventId)>,
    bytes: u64,
}

impl RetryIndex {
    pub(super) fn new(order: Order, marks: Vec<PendingMark>) -> Self {
        let (waiting, users, turns) = (BTreeMap::new(), HashMap::new(), BTreeSet::new());
        let mut retry_index = Self { order, waiting, users, turns, bytes: 0 };
        retry_index.enter(marks);
        retry_index
    }

    /// What must stay in order is the word of the version that carries.
    pub(super) fn keep(&mut self, order: Order) {
        if self.order == order {
            return;
        }
        self.order = order;
        let turns = self.waiting.values().filter(|mark| self.has_turn(mark)).map(turn);
        self.turns = turns.collect();
    }

    /// No pause is longer than up to `latest_us`: where one seems to be, the wall clock was ahead when it began, for those of its
    /// user that wait behind it, too.
    pub(super) fn wait_no_longer(&mut self, latest_us: i64) {
        while let Some((next_at_us, id)) = self.turns.last().copied()
            && next_at_us > latest_us
        {
            let behind = self.behind(id).filter(|mark| mark.next_at_us > latest_us).map(|mark| mark.id);
            for id in behind.chain([id]).collect::<Vec<_>>() {
                self.postpone(id, latest_us);
            }
        }
    }

    pub(super) fn enter(&mut self, marks: Vec<PendingMark>) {
        for mark in marks {
            let id = mark.id;
            self.leave(id);
            self.bytes += mark.bytes;
            let first = self.first_of(&mark.user);
            self.users.entry(mark.user.clone()).or_default().insert(id);
            if self.has_turn(&mark) {
                // Who was the first of its user waits behind this one now.
                if let Some(first) =
                    first.and_then(|first| self.waiting.get(&first)).filter(|first| !self.has_turn(first))
                {
                    self.turns.remove(&turn(first));
                }
                self.turns.insert(turn(&mark));
            }
            self.waiting.insert(id, mark);
        }
    }

    pub(super) fn leave(&mut self, id: EventId) {
        let Some(mark) = self.waiting.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(mark.bytes);
        self.turns.remove(&turn(&mark));
        if let Some(ids) = self.users.get_mut(&mark.user) {
            ids.remove(&id);
            if ids.is_empty() {
                self.users.remove(&mark.user);
            }
        }
        let first = self.first_of(&mark.user).and_then(|first| self.waiting.get(&first));
        if let Some(first) = first.filter(|first| self.has_turn(first)) {
            self.turns.insert(turn(first));
        }
    }

    pub(super) fn postpone(&mut self, id: EventId, next_at_us: i64) {
        let Some(mark) = self.waiting.get_mut(&id) else { return };
        let had_turn = self.turns.remove(&turn(mark));
        mark.next_at_us = next_at_us;
        if had_turn {
            self.turns.insert(turn(mark));
        }
    }

    pub(super) fn holds(&self, id: EventId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// Whether an event of this user waits. Events of nobody have no order.
    pub(super) fn has_user(&self, user: &str) -> bool {
        !user.is_empty() && self.users.contains_key(user)
    }

    /// Whether `events` more could all be deferred. An empty index takes any batch, or nothing would ever move.
    pub(super) fn has_room(&self, events: u64, limits: PendingLimits) -> bool {
        let count = self.waiting.len() as u64;
        self.waiting.is_empty() || (count + events <= limits.events_max && self.bytes < limits.bytes_max)
    }

    /// Events whose turn it is, in log order, up to these bounds; else when the next one's turn is.
    pub(super) fn due(&self, now_us: i64, events_max: usize, bytes_max: usize) -> Result<Vec<EventId>, Option<i64>> {
        let mut due: Vec<EventId> = Vec::new();
        for (_, id) in self.turns.iter().take_while(|(next_at_us, _)| *next_at_us <= now_us) {
            due.push(*id);
            due.extend(self.behind(*id).take_while(|mark| mark.next_at_us <= now_us).map(|mark| mark.id));
        }
        if due.is_empty() {
            return Err(self.turns.first().map(|(next_at_us, _)| *next_at_us));
        }
        due.sort_unstable();
        due.truncate(events_max.max(1));
        let mut bytes = 0;
        let fitting = due.iter().take_while(|id| {
            let is_first = bytes == 0;
            bytes += self.waiting.get(id).map_or(0, |mark| mark.bytes);
            is_first || bytes <= bytes_max as u64
        });
        due.truncate(fitting.count());
        Ok(due)
    }

    /// The events of its user that wait behind this one.
    fn behind(&self, id: EventId) -> impl Iterator<Item = &PendingMark> {
        let user = self.waiting.get(&id).map(|mark| mark.user.as_str()).filter(|user| self.is_ordered(user));
        let ids = user.and_then(|user| self.users.get(user)).into_iter().flat_map(move |ids| ids.range(id..).skip(1));
        ids.filter_map(|id| self.waiting.get(id))
    }

    fn is_ordered(&self, user: &str) -> bool {
        self.order == Order::User && !user.is_empty()
    }

    /// Whether its own time alone says when its turn is.
    fn has_turn(&self, mark: &PendingMark) -> bool {
        !self.is_ordered(&mark.user) || self.first_of(&mark.user) == Some(mark.id)
    }

    fn first_of(&self, user: &str) -> Option<EventId> {
        self.users.get(user)?.first().copied()
    }
}

fn turn(mark: &PendingMark) -> (i64, EventId) {
    (mark.next_at_us, mark.id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use tidegate_event::Position;

    use super::*;

    fn id(offset: u64) -> EventId {
        EventId::new(Position::new(0, offset), 0)
    }

    fn ids(offsets: &[u64]) -> Vec<EventId> {
        offsets.iter().map(|offset| id(*offset)).collect()
    }

    fn mark(offset: u64, user: &str, next_at_us: i64) -> PendingMark {
        PendingMark { id: id(offset), user: user.into(), bytes: 10, next_at_us }
    }

    #[test]
    fn an_event_waits_for_its_user_and_for_nobody_else() {
        let marks = vec![mark(1, "a", 50), mark(2, "b", 0), mark(3, "a", 0), mark(4, "", 90), mark(5, "", 0)];
        let retry_index = RetryIndex::new(Order::User, marks.clone());
        assert_eq!(retry_index.due(10, 9, 999), Ok(ids(&[2, 5])));
        assert_eq!(retry_index.due(60, 9, 999), Ok(ids(&[1, 2, 3, 5])));
        assert_eq!(retry_index.due(60, 2, 999), Ok(ids(&[1, 2])));
        assert_eq!(retry_index.due(60, 9, 1), Ok(ids(&[1])));
        let retry_index = RetryIndex::new(Order::None, marks);
        assert_eq!(retry_index.due(10, 9, 999), Ok(ids(&[2, 3, 5])));
    }

    #[test]
    fn the_next_turn_is_known_and_room_is_counted() {
        let mut retry_index = RetryIndex::new(Order::None, vec![mark(1, "a", 50), mark(2, "b", 40)]);
        assert_eq!(retry_index.due(10, 9, 999), Err(Some(40)));
        let limits = PendingLimits { events_max: 3, bytes_max: 100 };
        assert!(retry_index.has_room(1, limits) && !retry_index.has_room(2, limits));
        assert!(!retry_index.has_room(1, PendingLimits { events_max: 9, bytes_max: 20 }));
        retry_index.enter(vec![mark(2, "b", 60)]);
        retry_index.leave(id(1));
        assert!(retry_index.has_user("b") && !retry_index.has_user("a") && retry_index.bytes == 10);
        retry_index.leave(id(2));
        assert!(retry_index.has_room(1_000, limits) && retry_index.due(99, 9, 999) == Err(None));
        // Years ahead, because the clock was.
        retry_index.enter(vec![mark(3, "c", i64::MAX)]);
        retry_index.wait_no_longer(100 + 50);
        assert_eq!(retry_index.due(100, 9, 999), Err(Some(150)));
    }

    /// What whoever goes through all of them finds.
    fn due_by_hand(marks: &BTreeMap<EventId, PendingMark>, order: Order, now_us: i64) -> Vec<EventId> {
        let mut held_up: HashSet<&str> = HashSet::new();
        let mut due = Vec::new();
        for (id, mark) in marks {
            let ordered = order == Order::User && !mark.user.is_empty();
            if ordered && held_up.contains(mark.user.as_str()) {
                continue;
            }
            if mark.next_at_us <= now_us {
                due.push(*id);
            } else if ordered {
                held_up.insert(&mark.user);
            }
        }
        due
    }

    proptest! {
        #[test]
        fn turns_are_what_going_through_all_of_them_finds(
            steps in proptest::collection::vec((0_u8..5, 0_u64..12, 0_usize..4, 0_i64..20), 1..60),
        ) {
            let users = ["", "a", "b", "c"];
            let (mut order, mut model) = (Order::User, BTreeMap::new());
            let mut retry_index = RetryIndex::new(order, Vec::new());
            for (what, offset, user, at) in steps {
                match what {
                    0 | 1 => {
                        let mark = mark(offset, users[user], at);
                        model.insert(mark.id, mark.clone());
                        retry_index.enter(vec![mark]);
                    }
                    2 => {
                        model.remove(&id(offset));
                        retry_index.leave(id(offset));
                    }
                    3 if user == 3 => {
                        // As a clock that was ahead leaves them, and is set right.
                        for mark in model.values_mut() {
                            mark.next_at_us = at;
                        }
                        let ids: Vec<EventId> = model.keys().copied().collect();
                        ids.into_iter().for_each(|id| retry_index.postpone(id, i64::MAX));
                        retry_index.wait_no_longer(at);
                    }
                    3 => {
                        if let Some(mark) = model.get_mut(&id(offset)) {
                            mark.next_at_us = at;
                        }
                        retry_index.postpone(id(offset), at);
                    }
                    _ => {
                        order = if order == Order::User { Order::None } else { Order::User };
                        retry_index.keep(order);
                    }
                }
                let found = retry_index.due(10, 99, 9_999);
                let by_hand = due_by_hand(&model, order, 10);
                prop_assert_eq!(found.clone().unwrap_or_default(), by_hand);
                match found {
                    Err(Some(next)) => {
                        prop_assert!(due_by_hand(&model, order, next - 1).is_empty());
                        prop_assert!(!due_by_hand(&model, order, next).is_empty());
                    }
                    Err(None) => prop_assert!(model.is_empty()),
                    Ok(_) => {}
                }
                prop_assert_eq!(retry_index.bytes, 10 * model.len() as u64);
            }
        }
    }
}
