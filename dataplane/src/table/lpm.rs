//! Longest prefix match in an immutable array of intervals.
//!
//! The prefixes are cut once, at build time, into disjoint intervals of addresses, each with the
//! value of its longest prefix: n prefixes make 2n+1 intervals at the most, whatever they look
//! like. A lookup finds the interval by a directory over the leading bits of what lies between the
//! first and the last boundary, and a binary search of the few boundaries left in that bucket.
//! No input makes it slower than a binary search of all, nor larger than 18 bytes (IPv4) or 42
//! bytes (IPv6) a prefix: many small tables and one large one need no two structures.

use std::fmt::Debug;

/// Value of addresses that no prefix covers.
pub(super) const NONE: u32 = u32::MAX;

/// An address as a number.
pub(super) trait Bits: Copy + Ord + Debug {
    /// Bits of an address.
    const WIDTH: u8;
    /// The lowest address.
    const ZERO: Self;
    /// The address behind the last one of the prefix; `None` where that is the end of all.
    fn after(self, len: u8) -> Option<Self>;
    /// Whether bits behind the first `len` are set.
    fn has_host_bits(self, len: u8) -> bool;
    /// `(self - low) >> shift`, 0 below `low`, at the most `usize::MAX`.
    fn bucket(self, low: Self, shift: u8) -> usize;
    /// `low + (bucket << shift)`; `None` beyond the last address.
    fn bucket_start(low: Self, bucket: usize, shift: u8) -> Option<Self>;
}

macro_rules! bits {
    ($int:ty) => {
        impl Bits for $int {
            const WIDTH: u8 = <$int>::BITS as u8;
            const ZERO: Self = 0;

            fn after(self, len: u8) -> Option<Self> {
                let size = (1 as Self).checked_shl(u32::from(Self::WIDTH - len))?;
                self.checked_add(size)
            }

            fn has_host_bits(self, len: u8) -> bool {
                self.checked_shl(u32::from(len)).unwrap_or(0) != 0
            }

            fn bucket(self, low: Self, shift: u8) -> usize {
                usize::try_from(self.saturating_sub(low) >> shift).unwrap_or(usize::MAX)
            }

            fn bucket_start(low: Self, bucket: usize, shift: u8) -> Option<Self> {
                let bucket = Self::try_from(bucket).ok()?;
                low.checked_add(bucket.checked_mul((1 as Self) << shift)?)
            }
        }
    };
}

bits!(u32);
bits!(u128);

/// The intervals of one family.
#[derive(Debug)]
pub(super) struct Lpm<A> {
    /// First address of each interval, ascending; the first is 0.
    starts: Box<[A]>,
    /// Value of each interval.
    values: Box<[u32]>,
    /// For each bucket the interval that its first address lies in; one more for the end.
    directory: Box<[u32]>,
    low: A,
    shift: u8,
}

impl<A: Bits> Lpm<A> {
    /// Builds from prefixes `(address, length, value)`, sorted, without duplicates or host bits.
    pub(super) fn build(prefixes: &[(A, u8, u32)]) -> Self {
        let (starts, values) = intervals(prefixes);
        let low = *starts.get(1).unwrap_or(&A::ZERO);
        let high = starts[starts.len() - 1];
        // At the most one bucket for two prefixes: 2 bytes a prefix.
        let most = (prefixes.len() / 2).max(1);
        let shift = (0..A::WIDTH)
            .find(|&shift| high.bucket(low, shift) < most)
            .unwrap_or(A::WIDTH - 1);
        let buckets = high.bucket(low, shift) + 1;
        let directory = directory(&starts, low, shift, buckets);
        Self {
            starts,
            values,
            directory,
            low,
            shift,
        }
    }

    /// The value of the longest prefix that covers `address`, or [`NONE`].
    pub(super) fn find(&self, address: A) -> u32 {
        let last = self.directory.len() - 2;
        let bucket = address.bucket(self.low, self.shift).min(last);
        let mut base = self.directory[bucket] as usize;
        let mut size = self.directory[bucket + 1] as usize - base + 1;
        while size > 1 {
            let half = size / 2;
            // No branch: which half it is cannot be predicted.
            let right = self.starts[base + half] <= address;
            base = std::hint::select_unpredictable(right, base + half, base);
            size -= half;
        }
        self.values[base]
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.values) + size_of_val(&*self.directory)
    }
}

/// Cuts prefixes into disjoint intervals.
fn intervals<A: Bits>(prefixes: &[(A, u8, u32)]) -> (Box<[A]>, Box<[u32]>) {
    let mut cuts = Cuts {
        starts: vec![A::ZERO],
        values: vec![NONE],
        open: Vec::new(),
    };
    for &(address, len, value) in prefixes {
        cuts.close_before(Some(address));
        cuts.cut(address, value);
        cuts.open.push((address.after(len), value));
    }
    cuts.close_before(None);
    (
        cuts.starts.into_boxed_slice(),
        cuts.values.into_boxed_slice(),
    )
}

struct Cuts<A> {
    starts: Vec<A>,
    values: Vec<u32>,
    /// The prefixes around the current address, longest last: address behind each, and value.
    open: Vec<(Option<A>, u32)>,
}

impl<A: Bits> Cuts<A> {
    /// Ends the open prefixes that do not reach `address` (`None`: the end of all).
    fn close_before(&mut self, address: Option<A>) {
        while let Some(&(Some(end), _)) = self.open.last() {
            if address.is_some_and(|address| end > address) {
                return;
            }
            self.open.pop();
            let outer = self.open.last().map_or(NONE, |&(_, value)| value);
            self.cut(end, outer);
        }
    }

    /// From `address` on, the value is this one.
    fn cut(&mut self, address: A, value: u32) {
        let last = self.starts.len() - 1;
        if self.starts[last] == address {
            self.values[last] = value;
        } else {
            self.starts.push(address);
            self.values.push(value);
        }
    }
}

/// The interval each bucket begins in.
fn directory<A: Bits>(starts: &[A], low: A, shift: u8, buckets: usize) -> Box<[u32]> {
    let last = starts.len() - 1;
    let mut at = 0;
    let mut directory = Vec::with_capacity(buckets + 1);
    // The first bucket also takes what lies below `low`, the last one what lies above.
    directory.push(0);
    for bucket in 1..buckets {
        if let Some(start) = A::bucket_start(low, bucket, shift) {
            while at < last && starts[at + 1] <= start {
                at += 1;
            }
        }
        directory.push(at as u32);
    }
    directory.push(last as u32);
    directory.into_boxed_slice()
}

#[cfg(test)]
mod tests;
