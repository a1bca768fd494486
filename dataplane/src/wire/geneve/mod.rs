//! The tunnel between nodes: outer IP, UDP 7081, Geneve (RFC 8926) with our one option.
//!
//! [`Template`] writes the headers over the room in front of an inner packet, [`parse`] reads them.

mod emit;
mod parse;

use std::net::IpAddr;

use xsteer_abi::Family;

pub use emit::{Encapsulation, Template, Underlay};
pub use parse::{Outer, parse, verify_checksum};

const UDP_LEN: usize = 8;
const GENEVE_LEN: usize = 8;
const OPTION_HEADER_LEN: usize = 4;
/// Version, flags, TTL, SI and the reserved byte of our option.
const OPTION_FIXED_LEN: usize = 4;
const PROTOCOL_UDP: u8 = super::inner::PROTOCOL_UDP;

/// Bytes of our option's data: two addresses of the inner family behind the fixed part.
const fn option_data_len(inner: Family) -> usize {
    OPTION_FIXED_LEN + 2 * inner.address_len()
}

/// The outer UDP source port of a flow, 0xC000..=0xFFFF, from a hash of its key (RFC 8926 §3.3).
#[must_use]
pub const fn source_port(hash: u64) -> u16 {
    let folded = hash ^ (hash >> 32);
    let folded = folded ^ (folded >> 16);
    0xC000 | (folded as u16 & 0x3FFF)
}

/// The outer addresses, for the pseudo-header.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    source: IpAddr,
    destination: IpAddr,
}

#[cfg(test)]
mod tests;
