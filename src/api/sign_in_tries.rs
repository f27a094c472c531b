//! Wrong passwords, by account and by address: after too many of them everybody waits, longer each time. Memory is bounded.
//!
//! A try counts when it begins, so that many at once gain nothing; a right password takes it back. Names count whether there is such a
//! user or not.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tidegate_net::Caller;

/// Wrong tries in a row that cost no wait: of an account, and of an address.
const ACCOUNT_FREE: u32 = 10;
const ADDRESS_FREE: u32 = 30;
/// The first wait; each further wrong try doubles it.
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// Tries are forgotten when none has come for so long.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Accounts, and addresses, that are remembered.
const ENTRIES_MAX: usize = 4096;

/// A name, however long it is.
type AccountHash = [u8; 32];

/// What is remembered of tries.
#[derive(Debug, Default)]
pub(super) struct SignInTries {
    accounts: Mutex<TryTable<AccountHash>>,
    addresses: Mutex<TryTable<Caller>>,
}

/// Whose tries were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TriesBy {
    Account,
    Address,
}

/// From now on further tries wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignInWait {
    pub(super) by: TriesBy,
    pub(super) wait: Duration,
}

impl SignInTries {
    /// Counts a try that begins now. When it comes to be wrong, what is answered here says whether the next one must wait.
    ///
    /// # Errors
    /// It is too early: nothing is tried.
    pub(super) fn begin(&self, account: &str, caller: Caller, now: Instant) -> Result<Option<SignInWait>, SignInWait> {
        let account = hash(account);
        let (mut accounts, mut addresses) = (self.accounts.lock(), self.addresses.lock());
        let of_address = addresses.wait(&caller, now).map(|wait| SignInWait { by: TriesBy::Address, wait });
        let of_account = accounts.wait(&account, now).map(|wait| SignInWait { by: TriesBy::Account, wait });
        if let Some(wait) = of_address.or(of_account) {
            return Err(wait);
        }
        let of_address = addresses.count(caller, ADDRESS_FREE, now);
        let of_account = accounts.count(account, ACCOUNT_FREE, now);
        let of_address = of_address.map(|wait| SignInWait { by: TriesBy::Address, wait });
        Ok(of_account.map(|wait| SignInWait { by: TriesBy::Account, wait }).or(of_address))
    }

    /// It was the right password: the account begins anew. The address keeps its wrong ones, so that one account of one's own buys no
    /// further tries at others.
    pub(super) fn was_right(&self, account: &str, caller: Caller) {
        self.accounts.lock().entries.remove(&hash(account));
        self.addresses.lock().take_back(&caller);
    }

    /// Nothing came of it.
    pub(super) fn was_none(&self, account: &str, caller: Caller) {
        self.accounts.lock().take_back(&hash(account));
        self.addresses.lock().take_back(&caller);
    }
}

fn hash(account: &str) -> AccountHash {
    Sha256::digest(account).into()
}

#[derive(Debug)]
struct TryTable<K> {
    entries: HashMap<K, TryCount>,
}

#[derive(Debug, Clone, Copy)]
struct TryCount {
    count: u32,
    last: Instant,
    /// No try before then.
    until: Option<Instant>,
}

impl TryCount {
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn is_over(&self, now: Instant) -> bool {
        self.wait(now).is_none() && now.saturating_duration_since(self.last) >= WINDOW
    }
}

impl<K> Default for TryTable<K> {
    fn default() -> Self {
        Self { entries: HashMap::new() }
    }
}

impl<K: Hash + Eq> TryTable<K> {
    fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        self.entries.get(key)?.wait(now)
    }

    /// Counts a try; answers how long the next one waits.
    fn count(&mut self, key: K, free: u32, now: Instant) -> Option<Duration> {
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        let new = TryCount { count: 0, last: now, until: None };
        let entry = self.entries.entry(key).or_insert(new);
        if entry.is_over(now) {
            *entry = new;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        let doublings = entry.count.checked_sub(free)?;
        let wait = WAIT.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(WAIT_MAX);
        entry.until = now.checked_add(wait);
        Some(wait)
    }

    fn take_back(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.count = entry.count.saturating_sub(1);
            entry.until = None;
        }
    }

    /// What is over goes, and when nothing is, an eighth: first who must not wait, and of those who was quiet for longest. So many at
    /// once, because each pass looks at all.
    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| !entry.is_over(now));
        if self.entries.len() < ENTRIES_MAX {
            return;
        }
        let place = |entry: &TryCount| (entry.wait(now).is_some(), entry.last);
        let mut places: Vec<(bool, Instant)> = self.entries.values().map(place).collect();
        let (_, last, _) = places.select_nth_unstable(ENTRIES_MAX / 8);
        let last = *last;
        self.entries.retain(|_, entry| place(entry) > last);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn caller(n: u32) -> Caller {
        IpAddr::from(Ipv4Addr::from_bits(n)).into()
    }

    fn by(found: Result<Option<SignInWait>, SignInWait>) -> (bool, Option<TriesBy>) {
        match found {
            Ok(wait) => (true, wait.map(|wait| wait.by)),
            Err(wait) => (false, Some(wait.by)),
        }
    }

    #[test]
    fn an_account_waits_longer_each_time_wherever_the_tries_come_from() {
        let (tries, now) = (SignInTries::default(), Instant::now());
        for n in 0..9 {
            assert_eq!(by(tries.begin("ann", caller(n), now)), (true, None));
        }
        assert_eq!(tries.begin("ann", caller(9), now), Ok(Some(SignInWait { by: TriesBy::Account, wait: WAIT })));
        assert_eq!(tries.begin("ann", caller(10), now), Err(SignInWait { by: TriesBy::Account, wait: WAIT }));
        assert_eq!(by(tries.begin("bob", caller(10), now)), (true, None), "others do not wait");
        let later = now + WAIT;
        let twice = SignInWait { by: TriesBy::Account, wait: WAIT * 2 };
        assert_eq!(tries.begin("ann", caller(11), later), Ok(Some(twice)));
        let long = later + WAIT * 2;
        tries.begin("ann", caller(12), long).unwrap();
        tries.was_right("ann", caller(12));
        assert_eq!(by(tries.begin("ann", caller(12), long)), (true, None), "the right password begins anew");
        let mut at = long;
        for _ in 0..60 {
            if let Some(told) = tries.begin("carl", caller(13), at).unwrap() {
                assert!(told.wait <= WAIT_MAX);
                at += told.wait;
            }
        }
    }

    #[test]
    fn an_address_waits_whatever_names_it_tries_and_an_account_of_its_own_does_not_help() {
        let (tries, now) = (SignInTries::default(), Instant::now());
        for n in 0..29 {
            assert_eq!(by(tries.begin(&format!("user {n}"), caller(1), now)), (true, None), "{n}");
        }
        tries.begin("own", caller(1), now).unwrap();
        tries.was_right("own", caller(1));
        assert_eq!(by(tries.begin("user 29", caller(1), now)), (true, Some(TriesBy::Address)));
        assert_eq!(by(tries.begin("own", caller(1), now)), (false, Some(TriesBy::Address)));
        assert_eq!(by(tries.begin("own", caller(2), now)), (true, None), "another address does not wait");
        let later = now + WINDOW + WAIT;
        assert_eq!(by(tries.begin("own", caller(1), later)), (true, None), "it is forgotten after a while");
    }

    #[test]
    fn memory_is_bounded_and_who_must_wait_is_not_forgotten_for_others() {
        let (tries, now) = (SignInTries::default(), Instant::now());
        for n in 0..10 {
            tries.begin("ann", caller(n), now).unwrap();
        }
        for n in 0..10_000_u32 {
            let at = now + Duration::from_micros(u64::from(n));
            tries.begin(&format!("user {n}"), caller(100 + n), at).unwrap();
            assert!(tries.accounts.lock().entries.len() <= ENTRIES_MAX);
            assert!(tries.addresses.lock().entries.len() <= ENTRIES_MAX);
        }
        assert_eq!(by(tries.begin("ann", caller(9), now + Duration::from_secs(1))), (false, Some(TriesBy::Account)));
    }
}
