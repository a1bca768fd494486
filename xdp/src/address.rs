//! Addresses and prefixes between `std::net` and the maps.

use std::net::IpAddr;

use xsteer_abi::maps::Address;
use xsteer_abi::{Family, maps::PrefixKey};

/// The map form of an address.
#[must_use]
pub fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(a) => Address::v4(a.octets()),
        IpAddr::V6(a) => Address::v6(a.octets()),
    }
}

/// The address of a map form; `None` where the family is neither 4 nor 6.
#[must_use]
pub fn ip(address: &Address) -> Option<IpAddr> {
    ip_of(address.family, &address.bytes)
}

/// A destination prefix, host bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: Address,
    len: u8,
}

impl Prefix {
    /// Clears the host bits of `ip`; `None` where `len` is longer than the address.
    #[must_use]
    pub fn new(ip: IpAddr, len: u8) -> Option<Self> {
        Self::masked(address(ip), len)
    }

    /// The first address.
    ///
    /// # Panics
    ///
    /// Never: the family of a prefix is 4 or 6.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        ip(&self.address).expect("a prefix is made from an address of family 4 or 6")
    }

    /// Bits of the prefix.
    #[must_use]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether every address of the family is inside.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// 4 or 6.
    pub(crate) const fn family(&self) -> u8 {
        self.address.family
    }

    /// Network byte order; IPv4 in the first four bytes.
    pub(crate) const fn bytes(&self) -> [u8; 16] {
        self.address.bytes
    }

    /// Reads a key of the maps; `None` where it can't have been written by us.
    pub(crate) fn of_key(family: u8, bytes: [u8; 16], len: u32) -> Option<Self> {
        let ip = ip_of(family, &bytes)?;
        Self::new(ip, u8::try_from(len).ok()?)
    }

    /// The key of `EXEMPT`, without its length.
    pub(crate) const fn key(&self) -> PrefixKey {
        PrefixKey {
            family: self.address.family,
            bytes: self.address.bytes,
            reserved: [0; 3],
        }
    }

    fn masked(mut address: Address, len: u8) -> Option<Self> {
        let most = if address.family == Family::V4 as u8 {
            32
        } else {
            128
        };
        if len > most {
            return None;
        }
        let mask = u128::MAX
            .checked_shl(128 - u32::from(len))
            .unwrap_or_default();
        address.bytes = (u128::from_be_bytes(address.bytes) & mask).to_be_bytes();
        Some(Self { address, len })
    }
}

fn ip_of(family: u8, bytes: &[u8; 16]) -> Option<IpAddr> {
    match family {
        4 => Some(IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])),
        6 => Some(IpAddr::from(*bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_written() {
        for text in ["198.18.0.1", "0.0.0.0", "fd00::1", "::"] {
            let original: IpAddr = text.parse().unwrap();
            assert_eq!(ip(&address(original)), Some(original));
        }
        assert_eq!(ip(&Address::default()), None);
    }

    #[test]
    fn a_prefix_loses_its_host_bits() {
        for (given, len, wanted) in [
            ("10.1.2.3", 8, "10.0.0.0"),
            ("10.1.2.3", 32, "10.1.2.3"),
            ("10.1.2.3", 0, "0.0.0.0"),
            ("fd00::ffff", 112, "fd00::"),
            ("fd00::ffff", 128, "fd00::ffff"),
            ("fd00::ffff", 0, "::"),
        ] {
            let prefix = Prefix::new(given.parse().unwrap(), len).unwrap();
            assert_eq!(
                (prefix.ip(), prefix.len()),
                (wanted.parse().unwrap(), len),
                "{given}"
            );
        }
    }

    #[test]
    fn a_prefix_is_no_longer_than_its_address() {
        assert_eq!(Prefix::new("10.0.0.0".parse().unwrap(), 33), None);
        assert_eq!(Prefix::new("fd00::".parse().unwrap(), 129), None);
    }
}
