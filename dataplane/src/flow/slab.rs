//! A bounded map that never allocates after it was made.
//!
//! Entries lie in a slab; an index of twice as many cells, probed linearly, finds them. hashbrown
//! was not taken because it leaves tombstones under churn, and then either rehashes the whole
//! table within one insert or grows. Removing shifts the cells behind back instead.

use std::hash::Hash;

use ahash::RandomState;

/// No entry.
const EMPTY: u32 = u32::MAX;

/// Cell of the index: where the entry is, and enough of its hash to skip others.
#[derive(Clone, Copy)]
struct Cell {
    hash: u32,
    slot: u32,
}

/// The map. `len() <= capacity()`, always.
pub(super) struct Slab<K, V> {
    index: Box<[Cell]>,
    entries: Box<[Option<(K, V)>]>,
    free: Vec<u32>,
    /// Random keys: packets choose what is hashed.
    hasher: RandomState,
}

impl<K: Copy + Eq + Hash, V> Slab<K, V> {
    /// Room for `capacity` entries, at the most 2^31 - 1.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, i32::MAX as usize) as u32;
        let cells = (capacity as usize * 2).next_power_of_two();
        let cell = Cell {
            hash: 0,
            slot: EMPTY,
        };
        Self {
            index: vec![cell; cells].into_boxed_slice(),
            entries: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// The slot of a key.
    pub(super) fn find(&self, key: &K) -> Option<u32> {
        self.cell(key).map(|cell| self.index[cell].slot)
    }

    /// The entry in a slot below `capacity()`.
    pub(super) fn slot(&self, slot: u32) -> Option<&(K, V)> {
        self.entries[slot as usize].as_ref()
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut V> {
        self.entries[slot as usize].as_mut().map(|(_, v)| v)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let slot = self.find(key)?;
        self.slot_mut(slot)
    }

    /// Replaces or adds; gives `value` back where there is no room.
    pub(super) fn insert(&mut self, key: K, value: V) -> Result<(), V> {
        if let Some(known) = self.get_mut(&key) {
            *known = value;
            return Ok(());
        }
        let Some(slot) = self.free.pop() else {
            return Err(value);
        };
        self.entries[slot as usize] = Some((key, value));
        let hash = self.hash(&key);
        let mut at = self.home(hash);
        while self.index[at].slot != EMPTY {
            at = self.next(at);
        }
        self.index[at] = Cell { hash, slot };
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let cell = self.cell(key)?;
        let slot = self.index[cell].slot;
        self.close_gap(cell);
        self.free.push(slot);
        self.entries[slot as usize].take().map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().flatten().map(|(k, v)| (k, v))
    }

    fn cell(&self, key: &K) -> Option<usize> {
        let hash = self.hash(key);
        let mut at = self.home(hash);
        loop {
            let Cell { hash: found, slot } = self.index[at];
            if slot == EMPTY {
                return None;
            }
            if found == hash && self.slot(slot).is_some_and(|(k, _)| k == key) {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    /// Moves the cells behind an emptied one up, as far as their home lets them.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.index.len() - 1;
        let mut at = self.next(gap);
        while self.index[at].slot != EMPTY {
            let home = self.home(self.index[at].hash);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.index[gap] = self.index[at];
                gap = at;
            }
            at = self.next(at);
        }
        self.index[gap].slot = EMPTY;
    }

    fn hash(&self, key: &K) -> u32 {
        (self.hasher.hash_one(key) >> 32) as u32
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.index.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.index.len() - 1)
    }
}

#[cfg(test)]
mod tests;
