//! What the kernel programs, their loader and the dataplane agree on.
//!
//! Keys and values of the BPF maps, the *tag* that entry and collect write over the
//! MAC addresses, the *shim* that the worker writes for deliver, and the constants of
//! the wire format. All values are in host byte order unless a field says otherwise;
//! kernel and user side run on the same machine. No dependency, no allocation.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod counters;
pub mod maps;
pub mod tag;

/// Destination port of steered packets between nodes (UDP).
pub const GENEVE_PORT: u16 = 7081;
/// Geneve option class of our one option (experimental range, RFC 8926 §7).
pub const OPTION_CLASS: u16 = 0xFF53;
/// Geneve option type of our one option; the top bit says critical (RFC 8926 §3.5).
pub const OPTION_TYPE: u8 = 0x81;
/// Version of our option's layout, the upper four bits of its first data byte.
pub const OPTION_VERSION: u8 = 0;
/// Flag bit in our option: the packet travels the return direction.
pub const OPTION_FLAG_RETURN: u8 = 0x1;
/// Flag bit in our option: SI is 0 and the target is the destination's pod.
pub const OPTION_FLAG_FINAL: u8 = 0x2;
/// Bytes of an Ethernet header without VLAN tags.
pub const ETHERNET_LEN: usize = 14;
/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86DD;
/// Nanoseconds after which a worker's heartbeat counts as stale.
pub const HEARTBEAT_STALE_NS: u64 = 500_000_000;
/// Mark of a packet that deliver hands back to the kernel's path; entry clears it and lets it pass.
pub const CONTINUE_MARK: u32 = 0x5873_0001;
/// Workers of one node at the most: size of the heartbeat, gate and socket maps.
pub const MAX_WORKERS: u32 = 64;

/// Address family of an IP packet or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

impl Family {
    /// Bytes of one address.
    #[must_use]
    pub const fn address_len(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// Bytes of an IP header without options or extension headers.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// Ethertype, and the Geneve protocol type of an inner packet.
    #[must_use]
    pub const fn ethertype(self) -> u16 {
        match self {
            Self::V4 => ETHERTYPE_IPV4,
            Self::V6 => ETHERTYPE_IPV6,
        }
    }
}

/// Bytes between the outer Ethernet header and the inner IP header.
///
/// Outer IP + 8 UDP + 8 Geneve + 4 option header + 4 + two addresses of the inner family:
/// 52 (inner v4 in outer v4), 76 (v6 in v4), 72 (v4 in v6), 96 (v6 in v6). It is also the
/// *room* that redirect makes before a pod's packet, so that the worker encapsulates in place.
#[must_use]
pub const fn overhead(inner: Family, outer: Family) -> usize {
    outer.header_len() + 8 + 8 + 4 + 4 + 2 * inner.address_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overhead_is_what_the_wire_format_says() {
        assert_eq!(overhead(Family::V4, Family::V4), 52);
        assert_eq!(overhead(Family::V6, Family::V4), 76);
        assert_eq!(overhead(Family::V4, Family::V6), 72);
        assert_eq!(overhead(Family::V6, Family::V6), 96);
    }
}
