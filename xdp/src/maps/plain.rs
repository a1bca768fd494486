//! Map keys and values as the plain bytes that aya copies.

use xsteer_abi::maps::{
    Address, Config, ConnectionKey, PortRecord, PrefixKey, RuleSet, SelectorKey, Target,
};

/// A key or value of our maps.
///
/// # Safety
///
/// Every bit pattern is a valid value and there is no padding.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($type:ty),+) => {
        $(
            // SAFETY: integers and `repr(C)` structs of integers without implicit padding
            // (a test of the abi crate checks their sizes).
            unsafe impl Plain for $type {}
        )+
    };
}

plain!(
    u8,
    u32,
    u64,
    Address,
    Config,
    ConnectionKey,
    PortRecord,
    PrefixKey,
    RuleSet,
    SelectorKey,
    Target
);

/// Lends aya's marker to types of the abi crate, which knows nothing of aya.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Raw<T>(pub(crate) T);

// SAFETY: `Raw` has the layout of its content, which is plain.
unsafe impl<T: Plain> aya::Pod for Raw<T> {}
