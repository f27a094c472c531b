//! All connections of a port: who gets a place, and who has to give one up.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::address::{Caller, Network};
use super::connection::{Connection, Idleness, Signal, moment};
use super::{ConnectionLimits, Peer};

pub(super) struct ConnectionTable {
    pub(super) limits: ConnectionLimits,
    trusted: Vec<Network>,
    epoch: Instant,
    entries: Mutex<ConnectionEntries>,
    /// A connection has ended, and its descriptor is free.
    pub(super) ended: Notify,
}

#[derive(Default)]
struct ConnectionEntries {
    connections: HashMap<u64, Arc<Connection>>,
    callers: HashMap<Caller, Arc<AtomicUsize>>,
    /// Connections whose TLS handshake is not over.
    handshakes: usize,
    next: u64,
}

/// A place in the table; given back when dropped.
pub(super) struct ConnectionPlace {
    pub(super) connection: Arc<Connection>,
    id: u64,
    table: Arc<ConnectionTable>,
}

impl ConnectionTable {
    pub(super) fn new(limits: ConnectionLimits, trusted: Vec<Network>) -> Self {
        Self { limits, trusted, epoch: Instant::now(), entries: Mutex::default(), ended: Notify::new() }
    }

    fn entries(&self) -> MutexGuard<'_, ConnectionEntries> {
        self.entries.lock()
    }

    fn now(&self) -> u64 {
        moment(self.epoch, Instant::now())
    }

    /// A place for a new connection. When there is none, the idlest gives up its own; `None` when nobody is idle.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Option<ConnectionPlace> {
        let mut entries = self.entries();
        let ip = peer.address.ip();
        let is_proxy = self.trusted.iter().any(|network| network.holds(ip));
        let crowd = (!is_proxy).then(|| Arc::clone(entries.callers.entry(ip.into()).or_default()));
        // It counts from now on, so that its caller is not forgotten when the others of it go.
        let count = crowd.as_ref().map_or(0, |crowd| crowd.fetch_add(1, Relaxed) + 1);
        let same = |connection: &Connection| match (&connection.crowd, &crowd) {
            (Some(own), Some(crowd)) => Arc::ptr_eq(own, crowd),
            _ => false,
        };
        // Looking at all of them for each new one would be work that a flood can ask for.
        let most = (self.limits.connections_max / 64).max(1);
        let most_handshakes = (self.limits.handshakes_max / 64).max(1);
        let refused = count > self.limits.connections_address_max && entries.shed(self.now(), 1, same) == 0
            || entries.connections.len() >= self.limits.connections_max
                && entries.shed(self.now(), most, |_| true) == 0
            || peer.over_tls
                && entries.handshakes >= self.limits.handshakes_max
                && entries.shed(self.now(), most_handshakes, Connection::is_shaking_hands) == 0;
        if refused {
            entries.leave(crowd.as_deref(), ip);
            return None;
        }
        let connection = Arc::new(Connection::new(peer, crowd, self.epoch));
        entries.handshakes += usize::from(peer.over_tls);
        let id = entries.next;
        entries.next += 1;
        entries.connections.insert(id, Arc::clone(&connection));
        Some(ConnectionPlace { connection, id, table: Arc::clone(self) })
    }

    /// Closes up to `most` idle connections, because something else than places has run out.
    pub(super) fn shed(&self, most: usize) {
        self.entries().shed(self.now(), most, |_| true);
    }

    /// Ends the waits that are over.
    pub(super) fn sweep(&self) {
        let now = self.now();
        for connection in self.entries().connections.values() {
            if let Some(signal) = connection.overdue(now, &self.limits) {
                connection.tell(signal);
            }
        }
    }

    /// Tells every connection that the port stops.
    pub(super) fn stop(&self) {
        for connection in self.entries().connections.values() {
            connection.tell(Signal::Stop);
        }
    }

    /// Whether connections are left.
    pub(super) fn is_empty(&self) -> bool {
        self.entries().connections.is_empty()
    }
}

impl ConnectionEntries {
    /// Closes the idlest connections that fit: many silent unknown clients, else one. Answers how many. They are out of the table at
    /// once; their tasks end a moment later.
    fn shed(&mut self, now: u64, most: usize, fits: impl Fn(&Connection) -> bool) -> usize {
        let idle = self.connections.iter().filter(|(_, connection)| fits(connection));
        // Of two that are alike the older goes.
        let idle = idle.filter_map(|(id, connection)| Some((connection.idleness(now)?, Reverse(*id))));
        let mut silent: Vec<(Idleness, Reverse<u64>)> = Vec::new();
        let mut idlest: Option<(Idleness, Reverse<u64>)> = None;
        for candidate in idle {
            idlest = idlest.max(Some(candidate));
            if most > 1 && candidate.0.is_silent_newcomer() {
                silent.push(candidate);
            }
        }
        if !idlest.is_some_and(|(idleness, _)| idleness.is_silent_newcomer()) {
            silent.clear();
        }
        if silent.len() > most {
            silent.select_nth_unstable_by(most, |a, b| b.cmp(a));
            silent.truncate(most);
        }
        let ids = silent.into_iter().chain(idlest).map(|(_, Reverse(id))| id);
        ids.filter_map(|id| self.take_out(id)).inspect(|connection| connection.tell(Signal::Close)).count()
    }

    fn take_out(&mut self, id: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&id)?;
        self.handshakes -= usize::from(connection.is_shaking_hands());
        self.leave(connection.crowd.as_deref(), connection.peer.address.ip());
        Some(connection)
    }

    fn leave(&mut self, crowd: Option<&AtomicUsize>, ip: IpAddr) {
        if crowd.is_some_and(|crowd| crowd.fetch_sub(1, Relaxed) == 1) {
            self.callers.remove(&Caller::from(ip));
        }
    }
}

impl ConnectionPlace {
    pub(super) fn limits(&self) -> &ConnectionLimits {
        &self.table.limits
    }

    /// The TLS handshake is over.
    pub(super) fn shook_hands(&self) {
        // Under the lock: whoever takes the connection out meanwhile counts the same.
        let mut entries = self.table.entries();
        let has_its_place = entries.connections.contains_key(&self.id);
        entries.handshakes -= usize::from(has_its_place);
        self.connection.shook_hands();
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut entries = self.table.entries();
        entries.take_out(self.id);
        drop(entries);
        self.table.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn table(all: usize, each: usize) -> Arc<ConnectionTable> {
        let limits =
            ConnectionLimits { connections_max: all, connections_address_max: each, ..ConnectionLimits::default() };
        Arc::new(ConnectionTable::new(limits, vec!["10.0.0.0/8".parse().unwrap()]))
    }

    fn admit(table: &Arc<ConnectionTable>, ip: &str) -> Option<ConnectionPlace> {
        admit_peer(table, ip, false)
    }

    fn admit_peer(table: &Arc<ConnectionTable>, ip: &str, over_tls: bool) -> Option<ConnectionPlace> {
        let address = SocketAddr::new(ip.parse().unwrap(), 1);
        table.admit(Peer { address, local: "127.0.0.1:80".parse().unwrap(), over_tls })
    }

    fn has(table: &ConnectionTable, place: &ConnectionPlace) -> bool {
        table.entries().connections.contains_key(&place.id)
    }

    #[test]
    fn a_full_table_sheds_the_crowd_and_never_work() {
        let table = table(4, 3);
        let crowd: Vec<ConnectionPlace> = (0..3).map(|_| admit(&table, "192.0.2.1").unwrap()).collect();
        let alone = admit(&table, "192.0.2.2").unwrap();
        let next = admit(&table, "192.0.2.3").unwrap();
        assert!(has(&table, &alone) && has(&table, &next), "who is alone stays");
        assert_eq!(crowd.iter().filter(|place| has(&table, place)).count(), 2);
        for place in crowd.iter().chain([&alone, &next]) {
            place.connection.begin();
        }
        assert!(admit(&table, "192.0.2.4").is_none(), "all of them are worked on");
        drop(next);
        assert!(admit(&table, "192.0.2.4").is_some());
    }

    #[test]
    fn an_address_has_its_share_and_a_proxy_has_none() {
        let table = table(100, 2);
        let mine: Vec<ConnectionPlace> = (0..5).filter_map(|_| admit(&table, "2001:db8::1")).collect();
        assert_eq!(mine.iter().filter(|place| has(&table, place)).count(), 2);
        assert!(has(&table, &mine[4]), "the new one stays");
        let proxied: Vec<ConnectionPlace> = (0..50).filter_map(|_| admit(&table, "10.0.0.1")).collect();
        assert_eq!(proxied.iter().filter(|place| has(&table, place)).count(), 50);
        drop((mine, proxied));
        assert!(table.is_empty() && table.entries().callers.is_empty(), "nothing is remembered of who has gone");
    }

    #[test]
    fn handshakes_have_places_of_their_own_and_the_longest_goes() {
        let limits = ConnectionLimits { handshakes_max: 2, ..ConnectionLimits::default() };
        let table = Arc::new(ConnectionTable::new(limits, Vec::new()));
        let known: Vec<ConnectionPlace> = (0..5)
            .map(|_| {
                let place = admit_peer(&table, "192.0.2.1", true).unwrap();
                place.shook_hands();
                place
            })
            .collect();
        let slow: Vec<ConnectionPlace> = (0..4).map(|_| admit_peer(&table, "192.0.2.2", true).unwrap()).collect();
        assert_eq!(known.iter().filter(|place| has(&table, place)).count(), 5, "who has come through stays");
        assert_eq!(slow.iter().filter(|place| has(&table, place)).count(), 2);
        assert!(has(&table, &slow[3]) && table.entries().handshakes == 2);
        // One that was taken out comes through at the same moment.
        slow[0].shook_hands();
        slow[3].shook_hands();
        assert_eq!(table.entries().handshakes, 1);
        drop((known, slow));
        assert_eq!(table.entries().handshakes, 0);
        assert!(table.is_empty());
    }
}
