//! Map keys as words, with the layout of `abi::maps`.
//!
//! The types of the abi hold byte arrays at odd offsets; filled in field by field they cost a
//! store per byte. Here the same bytes are put together in registers (little-endian target).

use aya_ebpf::maps::lpm_trie::Key;
use xsteer_abi::{
    Family,
    maps::{Address, PREFIX_KEY_EXACT_BITS, PrefixKey, SELECTOR_KEY_EXACT_BITS, SelectorKey},
};

use crate::{
    maps::{EXEMPT, NODES, SELECTORS, TARGETS},
    packet::Words,
};
use xsteer_abi::maps::Target;

const _: () = {
    assert!(size_of::<[u32; 5]>() == size_of::<Address>());
    assert!(size_of::<[u32; 6]>() == size_of::<Key<PrefixKey>>());
    assert!(size_of::<[u32; 7]>() == size_of::<Key<SelectorKey>>());
};

/// Flags of a node's address, `None` for any other address.
#[inline(always)]
pub fn node(family: Family, address: Words) -> Option<u32> {
    let key = address_key(family, address);
    // SAFETY: [u32; 5] has the size of Address, more alignment, and every bit pattern is valid.
    let key = unsafe { &*(&raw const key).cast::<Address>() };
    // SAFETY: the value is one word; an update at the same time gives the old or the new one.
    unsafe { NODES.get(key) }.copied()
}

/// The local pod with an address.
#[inline(always)]
pub fn target(family: Family, address: Words) -> Option<Target> {
    let key = address_key(family, address);
    // SAFETY: [u32; 5] has the size of Address, more alignment, and every bit pattern is valid.
    let key = unsafe { &*(&raw const key).cast::<Address>() };
    // SAFETY: a target read while it is replaced may be another pod's for this one packet; the
    // worker looks the address up again.
    unsafe { TARGETS.get(key) }.copied()
}

/// Whether a destination is never steered.
#[inline(always)]
pub fn exempt(family: Family, destination: Words) -> bool {
    let prefix_len = PREFIX_KEY_EXACT_BITS + bits(family);
    let [a, b, c, d, e] = behind_family(family, destination);
    let key = [prefix_len, a, b, c, d, e];
    // SAFETY: [u32; 6] has the size of Key<PrefixKey>, more alignment, and every bit pattern is
    // valid.
    let key = unsafe { &*(&raw const key).cast::<Key<PrefixKey>>() };
    EXEMPT.get(key).is_some()
}

/// Id of the rule set of the longest prefix of `classifier` around a destination.
#[inline(always)]
pub fn rule_set(classifier: u32, family: Family, destination: Words) -> Option<u32> {
    let prefix_len = SELECTOR_KEY_EXACT_BITS + bits(family);
    let [a, b, c, d, e] = behind_family(family, destination);
    let key = [prefix_len, classifier, a, b, c, d, e];
    // SAFETY: [u32; 7] has the size of Key<SelectorKey>, more alignment, and every bit pattern is
    // valid.
    let key = unsafe { &*(&raw const key).cast::<Key<SelectorKey>>() };
    SELECTORS.get(key).copied()
}

#[inline(always)]
fn address_key(family: Family, a: Words) -> [u32; 5] {
    [family as u32, a[0], a[1], a[2], a[3]]
}

/// Family byte, 16 bytes of address, three zeros.
#[inline(always)]
fn behind_family(family: Family, a: Words) -> [u32; 5] {
    [
        family as u32 | a[0] << 8,
        a[0] >> 24 | a[1] << 8,
        a[1] >> 24 | a[2] << 8,
        a[2] >> 24 | a[3] << 8,
        a[3] >> 24,
    ]
}

#[inline(always)]
fn bits(family: Family) -> u32 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}
