//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use std::net::IpAddr;

/// A ones' complement sum in progress, over any number of slices of any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    total: u64,
    odd: bool,
}

impl Sum {
    /// An empty sum.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            total: 0,
            odd: false,
        }
    }

    /// Adds bytes that follow those added before.
    #[must_use]
    pub fn bytes(mut self, mut bytes: &[u8]) -> Self {
        if self.odd
            && let Some((first, rest)) = bytes.split_first()
        {
            self.total += u64::from(*first);
            self.odd = false;
            bytes = rest;
        }
        // 2^16 is 1 modulo 65535, so 32-bit words sum up to the same as their halves.
        let (words, rest) = bytes.as_chunks::<4>();
        self.total += words
            .iter()
            .map(|w| u64::from(u32::from_be_bytes(*w)))
            .sum::<u64>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.total += u64::from(u32::from_be_bytes(last));
        self.odd ^= bytes.len() % 2 == 1;
        self
    }

    /// Adds one 16-bit word; only before an odd slice.
    #[must_use]
    pub const fn word(mut self, word: u16) -> Self {
        debug_assert!(!self.odd, "a word behind an odd number of bytes");
        self.total += word as u64;
        self
    }

    /// Adds the pseudo-header of an upper-layer packet of `len` bytes (RFC 8200 §8.1, RFC 768).
    #[must_use]
    pub fn pseudo_header(
        self,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        len: usize,
    ) -> Self {
        let mut sum = self
            .address(source)
            .address(destination)
            .word(u16::from(protocol));
        sum.total += len as u64;
        sum
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => self.bytes(&a.octets()),
            IpAddr::V6(a) => self.bytes(&a.octets()),
        }
    }

    /// The checksum: the complement of the sum, folded to 16 bits.
    #[must_use]
    pub const fn finish(self) -> u16 {
        let mut total = self.total;
        while total > 0xFFFF {
            total = (total >> 16) + (total & 0xFFFF);
        }
        !(total as u16)
    }
}

/// The checksum of one slice; 0 where the slice holds its own valid checksum.
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::new().bytes(bytes).finish()
}

/// The checksum after one aligned 16-bit word changed from `old` to `new` (RFC 1624 eqn. 3).
#[must_use]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 + !old as u32 + new as u32;
    let sum = (sum >> 16) + (sum & 0xFFFF);
    !(((sum >> 16) + (sum & 0xFFFF)) as u16)
}

#[cfg(test)]
mod tests;
