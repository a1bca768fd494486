//! Maglev: consistent hashing by a table (Eisenbud et al., NSDI 2016, §3.4).
//!
//! The table depends on the set of addresses and on nothing else, so every node picks alike. Every
//! pod gets the same number of slots, give or take one. The number of slots M follows the
//! number of pods in three coarse steps: crossing one (64 to 65 pods, 650 to 651) moves most new
//! flows once; anything else moves few beyond those of the pod that came or went.
//!
//! | pods | M | memory | balance | moved when 1 of 64, 1 of 100, 1 of 1000 leaves |
//! |---|---|---|---|---|
//! | 1 | 1 | 1 B | | |
//! | 2..=64 | 16381 | 16 KiB | 0.4 % | 2.8 % |
//! | ..=650 | 65537 | 128 KiB | 1 % | 1.6 % |
//! | ..=65535 | 655373 | 1.3 MB | 0.2 % at 1000 | 0.4 % |

use std::net::IpAddr;

use super::hash;

/// Pods of one function and family at the most.
pub const MAX_BACKENDS: usize = 65_535;

/// Slot values that fit the number of pods.
#[derive(Debug)]
enum Slots {
    Narrow(Box<[u8]>),
    Wide(Box<[u16]>),
}

/// Maps hashes to indices of pods.
#[derive(Debug)]
pub struct Maglev {
    slots: Slots,
}

impl Maglev {
    /// Builds the table of `addresses`: sorted, distinct, at the most [`MAX_BACKENDS`].
    #[must_use]
    pub fn build(addresses: &[IpAddr]) -> Self {
        debug_assert!(addresses.is_sorted() && addresses.len() <= MAX_BACKENDS);
        let slots = match addresses.len() {
            0 => Vec::new(),
            1 => vec![0],
            n => populate(addresses, table_size(n)),
        };
        let slots = if addresses.len() <= usize::from(u8::MAX) {
            Slots::Narrow(slots.iter().map(|&slot| slot as u8).collect())
        } else {
            Slots::Wide(slots.into_boxed_slice())
        };
        Self { slots }
    }

    /// Index, among the sorted addresses, of the pod for `hash`; `None` where there is none.
    #[must_use]
    pub fn pick(&self, hash: u64) -> Option<usize> {
        match &self.slots {
            Slots::Narrow(slots) => slots.get(scale(hash, slots.len())).map(|&i| i.into()),
            Slots::Wide(slots) => slots.get(scale(hash, slots.len())).map(|&i| i.into()),
        }
    }
}

/// Maps a hash to `0..len` by its upper bits, without a division.
fn scale(hash: u64, len: usize) -> usize {
    ((u128::from(hash) * len as u128) >> 64) as usize
}

/// M, a prime.
fn table_size(backends: usize) -> usize {
    match backends {
        ..=64 => 16_381,
        65..=650 => 65_537,
        _ => 655_373,
    }
}

/// Lets the pods take turns; each takes the next free slot of its own permutation.
fn populate(addresses: &[IpAddr], size: usize) -> Vec<u16> {
    const FREE: u16 = u16::MAX;
    let mut slots = vec![FREE; size];
    let mut walks: Vec<Walk> = addresses.iter().map(|&a| Walk::new(a, size)).collect();
    let mut free = size;
    for (walk, index) in walks_in_turn(walks.len()) {
        let walk = &mut walks[walk];
        while slots[walk.at] != FREE {
            walk.advance(size);
        }
        slots[walk.at] = index;
        free -= 1;
        if free == 0 {
            break;
        }
    }
    slots
}

fn walks_in_turn(len: usize) -> impl Iterator<Item = (usize, u16)> {
    (0..len).map(|i| (i, i as u16)).cycle()
}

/// A pod's permutation of the slots.
struct Walk {
    at: usize,
    skip: usize,
}

impl Walk {
    fn new(address: IpAddr, size: usize) -> Self {
        Self {
            at: scale(hash::backend(address, 0), size),
            skip: scale(hash::backend(address, 1), size - 1) + 1,
        }
    }

    fn advance(&mut self, size: usize) {
        self.at += self.skip;
        if self.at >= size {
            self.at -= size;
        }
    }
}

#[cfg(test)]
mod tests;
