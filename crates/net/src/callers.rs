//! What is remembered of callers: requests in flight, and wrong keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::address::Caller;

/// Requests in flight of each caller, bounded. For callers behind one proxy, whose connections say nothing of them.
#[derive(Debug, Clone)]
pub struct InFlight {
    most: usize,
    // As many entries as there are requests in flight.
    callers: Arc<Mutex<HashMap<Caller, usize>>>,
}

/// A request in flight; over when dropped.
#[derive(Debug)]
pub struct StartedCall {
    caller: Caller,
    callers: Arc<Mutex<HashMap<Caller, usize>>>,
}

impl InFlight {
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, callers: Arc::default() }
    }

    /// Notes a request, unless the caller has too many in flight.
    #[must_use]
    pub fn start(&self, caller: Caller) -> Option<StartedCall> {
        let mut callers = self.callers.lock();
        let count = callers.entry(caller).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(StartedCall { caller, callers: Arc::clone(&self.callers) })
    }
}

impl Drop for StartedCall {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.callers.lock().entry(self.caller) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Wrong keys of each caller within a minute. A right key is no business of this: it works whatever came before it, so
/// that nobody can lock out those who share an address.
#[derive(Debug)]
pub struct WrongTries {
    most: u32,
    callers: Mutex<HashMap<Caller, Tries>>,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    began: Instant,
    count: u32,
}

const WINDOW: Duration = Duration::from_secs(60);
/// Callers remembered; beyond it the oldest are forgotten.
const CALLERS_MAX: usize = 4096;

impl WrongTries {
    /// More than `most` in a minute are too many.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, callers: Mutex::default() }
    }

    /// Notes a wrong key; answers how long to wait when there were too many, and how many there were.
    pub fn note(&self, caller: Caller, now: Instant) -> (u32, Option<Duration>) {
        let mut callers = self.callers.lock();
        if callers.len() >= CALLERS_MAX && !callers.contains_key(&caller) {
            forget_oldest(&mut callers, now);
        }
        let tries = callers.entry(caller).or_insert(Tries { began: now, count: 0 });
        if now.duration_since(tries.began) >= WINDOW {
            *tries = Tries { began: now, count: 0 };
        }
        tries.count = tries.count.saturating_add(1);
        let wait = (tries.count > self.most).then(|| WINDOW.saturating_sub(now.duration_since(tries.began)));
        (tries.count, wait)
    }
}

/// Makes room: what is over goes, and an eighth of the rest when nothing is. So many at once, because each pass looks at
/// all of them.
fn forget_oldest(callers: &mut HashMap<Caller, Tries>, now: Instant) {
    callers.retain(|_, tries| now.duration_since(tries.began) < WINDOW);
    if callers.len() < CALLERS_MAX {
        return;
    }
    let mut began: Vec<Instant> = callers.values().map(|tries| tries.began).collect();
    let (_, pivot, _) = began.select_nth_unstable(CALLERS_MAX / 8);
    let pivot = *pivot;
    callers.retain(|_, tries| tries.began > pivot);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn caller(n: u32) -> Caller {
        IpAddr::from(Ipv4Addr::from_bits(n)).into()
    }

    #[test]
    fn requests_in_flight_are_counted_by_caller() {
        let requests = InFlight::new(2);
        let first = requests.start(caller(1)).unwrap();
        let _second = requests.start(caller(1)).unwrap();
        assert!(requests.start(caller(1)).is_none());
        assert!(requests.start(caller(2)).is_some());
        drop(first);
        assert!(requests.start(caller(1)).is_some());
        assert_eq!(requests.callers.lock().len(), 1, "who has nothing in flight is forgotten");
    }

    #[test]
    fn wrong_keys_are_counted_by_caller_and_minute_in_bounded_memory() {
        let tries = WrongTries::new(2);
        let now = Instant::now();
        assert_eq!(tries.note(caller(1), now), (1, None));
        assert_eq!(tries.note(caller(1), now), (2, None));
        assert_eq!(tries.note(caller(1), now + Duration::from_secs(20)), (3, Some(Duration::from_secs(40))));
        assert_eq!(tries.note(caller(2), now), (1, None), "others are not told");
        assert_eq!(tries.note(caller(1), now + WINDOW), (1, None), "a minute later it begins anew");
        for n in 0..20_000 {
            tries.note(caller(n), now + Duration::from_micros(u64::from(n)));
            assert!(tries.callers.lock().len() <= CALLERS_MAX);
        }
        assert_eq!(tries.note(caller(19_999), now + Duration::from_secs(1)).0, 2, "the latest are remembered");
    }
}
