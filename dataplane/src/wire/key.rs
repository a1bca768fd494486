//! What identifies a flow.

use std::net::IpAddr;

use xsteer_abi::Family;

/// The 5-tuple of an inner packet, ports in host order; 0 where the protocol has none (ICMP too).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// IP protocol number, that behind the extension headers of IPv6.
    pub protocol: u8,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

impl FlowKey {
    /// The key of packets that answer this flow.
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            sport: self.dport,
            dport: self.sport,
        }
    }

    /// The family of the addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        super::bytes::family(self.source)
    }
}
