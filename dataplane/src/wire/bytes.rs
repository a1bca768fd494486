//! Reading and writing fixed-size fields of a slice in network byte order.

use std::net::IpAddr;

use xsteer_abi::Family;

/// The `N` bytes at `at`; `None` where the slice ends before.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The 16-bit number at `at`.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Writes a 16-bit number at `at`.
pub(super) fn put_be16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The address of `family` at `at`.
pub(super) fn address(bytes: &[u8], at: usize, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => array::<4>(bytes, at).map(IpAddr::from),
        Family::V6 => array::<16>(bytes, at).map(IpAddr::from),
    }
}

/// Writes an address at `at`.
pub(super) fn put_address(bytes: &mut [u8], at: usize, address: IpAddr) {
    match address {
        IpAddr::V4(a) => bytes[at..at + 4].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => bytes[at..at + 16].copy_from_slice(&a.octets()),
    }
}

/// The family of an address.
pub(super) const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}
