//! Which events of a sync wait for another try, and whose turn it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidegate_event::EventId;
use tidegate_plugin::Order;
use tidegate_state::PendingMark;

use super::effective_policy::PendingLimits;

/// An index of the pending events of one sync; their bodies stay in the state file.
pub(super) struct RetryIndex {
    order: Order,
    waiting: BTreeMap<EventId, PendingMark>,
    users: HashMap<String, usize>,
    bytes: u64,
}

impl RetryIndex {
    pub(super) fn new(order: Order, marks: Vec<PendingMark>) -> Self {
        let mut retry_index = Self { order, waiting: BTreeMap::new(), users: HashMap::new(), bytes: 0 };
        retry_index.enter(marks);
        retry_index
    }

    /// What must stay in order is the word of the version that carries.
    pub(super) const fn keep(&mut self, order: Order) {
        self.order = order;
    }

    /// No pause is longer than up to `latest_us`: where one seems to be, the wall clock was ahead when it began.
    pub(super) fn wait_no_longer(&mut self, latest_us: i64) {
        for mark in self.waiting.values_mut() {
            mark.next_at_us = mark.next_at_us.min(latest_us);
        }
    }

    pub(super) fn enter(&mut self, marks: Vec<PendingMark>) {
        for mark in marks {
            let id = mark.id;
            self.leave(id);
            self.bytes += mark.bytes;
            *self.users.entry(mark.user.clone()).or_default() += 1;
            self.waiting.insert(id, mark);
        }
    }

    pub(super) fn leave(&mut self, id: EventId) {
        let Some(mark) = self.waiting.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(mark.bytes);
        if let Some(count) = self.users.get_mut(&mark.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&mark.user);
            }
        }
    }

    pub(super) fn postpone(&mut self, id: EventId, next_at_us: i64) {
        if let Some(mark) = self.waiting.get_mut(&id) {
            mark.next_at_us = next_at_us;
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
        let (mut due, mut bytes, mut next): (Vec<EventId>, u64, Option<i64>) = (Vec::new(), 0, None);
        let mut held_up: HashSet<&str> = HashSet::new();
        for (id, mark) in &self.waiting {
            let ordered = self.order == Order::User && !mark.user.is_empty();
            if ordered && held_up.contains(mark.user.as_str()) {
                continue;
            }
            if mark.next_at_us > now_us {
                next = Some(next.map_or(mark.next_at_us, |next| next.min(mark.next_at_us)));
                if ordered {
                    held_up.insert(&mark.user);
                }
                continue;
            }
            if due.len() >= events_max || (!due.is_empty() && bytes + mark.bytes > bytes_max as u64) {
                break;
            }
            bytes += mark.bytes;
            due.push(*id);
        }
        if due.is_empty() { Err(next) } else { Ok(due) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_event::Position;

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
}
