//! What was decided about first fragments, for those that follow (SEMANTICS 2.6: they go the same
//! way). Bounded; the oldest goes first.

use std::net::IpAddr;

use super::slab::Slab;

/// Fragments of one packet come within this time (RFC 791 §3.2 and RFC 8200 §4.5 say 15 to 60 s).
const TIMEOUT_NS: u64 = 30_000_000_000;

/// What the fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number; 0 for IPv6, whose identification stands for itself.
    pub protocol: u8,
    /// Identification, 16 bits for IPv4.
    pub id: u32,
}

/// Decisions `T` about fragmented packets.
pub struct FragmentTable<T> {
    decisions: Slab<FragmentKey, (u64, T)>,
    /// Keys in the order they came; the next one overwrites the oldest.
    ring: Box<[Option<FragmentKey>]>,
    next: usize,
}

impl<T: Copy> FragmentTable<T> {
    /// An empty table for that many packets; all memory is taken here.
    #[must_use]
    pub fn new(packets: usize) -> Self {
        let packets = packets.max(1);
        Self {
            decisions: Slab::new(packets),
            ring: vec![None; packets].into_boxed_slice(),
            next: 0,
        }
    }

    /// The decision about the packet, if it is not too old.
    pub fn get(&mut self, key: &FragmentKey, now_ns: u64) -> Option<T> {
        let &mut (since_ns, decision) = self.decisions.get_mut(key)?;
        (now_ns.saturating_sub(since_ns) < TIMEOUT_NS).then_some(decision)
    }

    /// Records the decision about a first fragment.
    pub fn insert(&mut self, key: FragmentKey, decision: T, now_ns: u64) {
        if let Some(known) = self.decisions.get_mut(&key) {
            *known = (now_ns, decision);
            return;
        }
        if let Some(oldest) = self.ring[self.next].replace(key) {
            self.decisions.remove(&oldest);
        }
        self.next = (self.next + 1) % self.ring.len();
        let fits = self.decisions.insert(key, (now_ns, decision)).is_ok();
        debug_assert!(fits, "ring and table have the same size");
    }

    /// How many it holds, those too old included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> FragmentKey {
        FragmentKey {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 17,
            id,
        }
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut table = FragmentTable::new(2);
        for id in 0..5 {
            table.insert(key(id), id, 0);
        }
        let found = [2, 3, 4].map(|id| table.get(&key(id), 1));
        assert_eq!((found, table.len()), ([None, Some(3), Some(4)], 2));
    }

    #[test]
    fn a_decision_holds_for_thirty_seconds() {
        let mut table = FragmentTable::new(2);
        table.insert(key(1), 'a', 5);
        assert_eq!(table.get(&key(1), 4 + TIMEOUT_NS), Some('a'));
        assert_eq!(table.get(&key(1), 5 + TIMEOUT_NS), None);
        table.insert(key(1), 'b', 5 + TIMEOUT_NS);
        assert_eq!(table.get(&key(1), 6 + TIMEOUT_NS), Some('b'));
    }
}
