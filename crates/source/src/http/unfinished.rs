//! Room for bodies that have not arrived yet: one budget for all connections, counted as the bytes come in.
//!
//! Requests whose key is known have a room of their own, so that unknown clients, who may yet show a key in their body,
//! cannot take it. Within a room no address holds more than its part, so that one slow crowd leaves room for others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::RequestLimits;

/// The rooms of one server.
#[derive(Debug)]
pub(super) struct UnfinishedBodies {
    pub(super) known: Arc<Room>,
    pub(super) unknown: Arc<Room>,
}

impl UnfinishedBodies {
    /// Unknown clients have a quarter of the budget; one address has half of a room, or an eighth of that of unknown clients. No
    /// part is smaller than one body, or that body could never be sent.
    pub(super) fn new(limits: &RequestLimits) -> Self {
        let (whole, body) = (limits.unfinished_bytes_max, limits.request_bytes_max);
        let room = |bytes: usize, parts: usize| Arc::new(Room::new(bytes.max(body), (bytes / parts).max(body)));
        Self { known: room(whole, 2), unknown: room(whole / 4, 8) }
    }
}

/// One budget.
#[derive(Debug)]
pub(super) struct Room {
    bytes_max: usize,
    address_bytes_max: usize,
    held: Mutex<Holdings>,
}

#[derive(Debug, Default)]
struct Holdings {
    bytes: usize,
    /// Only those who hold something.
    addresses: HashMap<IpAddr, usize>,
}

impl Room {
    fn new(bytes_max: usize, address_bytes_max: usize) -> Self {
        Self { bytes_max, address_bytes_max, held: Mutex::default() }
    }

    /// A share of nothing yet.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> BudgetShare {
        BudgetShare { room: Arc::clone(self), address: neighbourhood(address), bytes: 0 }
    }
}

/// What one body holds of a room; given back when dropped.
#[derive(Debug)]
pub(super) struct BudgetShare {
    room: Arc<Room>,
    address: IpAddr,
    bytes: usize,
}

impl BudgetShare {
    /// Takes `more` bytes; false when the room or the address has no more.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let mut held = self.room.held.lock();
        let own = held.addresses.get(&self.address).copied().unwrap_or_default();
        if held.bytes + more > self.room.bytes_max || own + more > self.room.address_bytes_max {
            return false;
        }
        held.bytes += more;
        held.addresses.insert(self.address, own + more);
        self.bytes += more;
        true
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.room.held.lock();
        held.bytes -= self.bytes;
        let left = held.addresses.get(&self.address).copied().unwrap_or_default().saturating_sub(self.bytes);
        if left == 0 {
            held.addresses.remove(&self.address);
        } else {
            held.addresses.insert(self.address, left);
        }
    }
}

/// One subscriber has a whole /64 of IPv6 addresses.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_and_all_together_have_their_bounds() {
        let limits = RequestLimits { unfinished_bytes_max: 3200, request_bytes_max: 50, ..RequestLimits::default() };
        let rooms = UnfinishedBodies::new(&limits);
        let at = |text: &str| rooms.unknown.enter(text.parse().unwrap());
        let (mut one, mut same) = (at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert!(one.grow(60) && same.grow(40));
        assert!(!same.grow(1), "an eighth of a quarter");
        drop(one);
        assert!(same.grow(60) && !same.grow(1));
        let mut others: Vec<BudgetShare> = (1..=7).map(|n| at(&format!("10.0.0.{n}"))).collect();
        assert!(others.iter_mut().all(|share| share.grow(100)));
        assert!(!at("10.1.1.1").grow(1), "the room is full");
        assert!(
            rooms.known.enter("10.0.0.1".parse().unwrap()).grow(1600),
            "unknown clients take nothing from the known"
        );
        drop((others, same));
        assert_eq!(rooms.unknown.held.lock().bytes, 0);
        assert!(rooms.unknown.held.lock().addresses.is_empty());
    }
}
