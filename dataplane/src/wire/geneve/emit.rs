//! Writes the outer headers over the room in front of an inner packet.

use std::net::IpAddr;

use xsteer_abi::{
    ETHERNET_LEN, Family, GENEVE_PORT, OPTION_CLASS, OPTION_TYPE, OPTION_VERSION, overhead,
};

use super::{Addresses, GENEVE_LEN, OPTION_HEADER_LEN, PROTOCOL_UDP, UDP_LEN, option_data_len};
use crate::wire::bytes::{family, put_address, put_be16};
use crate::wire::checksum::{self, Sum};
use crate::wire::ecn;

/// The longest headers: IPv6 in IPv6.
const MAX_LEN: usize = ETHERNET_LEN + overhead(Family::V6, Family::V6);
/// Outer TTL and hop limit.
const HOP_LIMIT: u8 = 64;

/// Where outer headers lead: one per pair of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Underlay {
    /// Address of this node.
    pub source: IpAddr,
    /// Address of the other node.
    pub destination: IpAddr,
    /// MAC of the uplink.
    pub source_mac: [u8; 6],
    /// MAC of the other node, or of the router towards it.
    pub destination_mac: [u8; 6],
}

/// What changes from packet to packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    /// The service path, 24 bits: the VNI.
    pub path: u32,
    /// [`OPTION_FLAG_RETURN`](xsteer_abi::OPTION_FLAG_RETURN),
    /// [`OPTION_FLAG_FINAL`](xsteer_abi::OPTION_FLAG_FINAL).
    pub flags: u8,
    /// Hops left on service paths.
    pub ttl: u8,
    /// Service index.
    pub si: u8,
    /// The pod that gets the packet, of the inner family.
    pub target: IpAddr,
    /// The pod it comes from, of the inner family.
    pub previous: IpAddr,
    /// Bytes of the inner packet; with the overhead not above 65535.
    pub inner_len: usize,
    /// TOS byte or traffic class of the inner packet.
    pub inner_tos: u8,
    /// UDP source port, of [`source_port`](super::source_port).
    pub entropy: u16,
}

/// Prebuilt outer headers towards one node, for inner packets of one family.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    bytes: [u8; MAX_LEN],
    len: usize,
    inner: Family,
    addresses: Addresses,
}

impl Template {
    /// Builds the headers; `None` where the outer addresses are of two families.
    #[must_use]
    pub fn new(underlay: &Underlay, inner: Family) -> Option<Self> {
        let outer = family(underlay.source);
        if outer != family(underlay.destination) {
            return None;
        }
        let mut template = Self {
            bytes: [0; MAX_LEN],
            len: ETHERNET_LEN + overhead(inner, outer),
            inner,
            addresses: Addresses {
                source: underlay.source,
                destination: underlay.destination,
            },
        };
        template.build_ethernet(underlay);
        match outer {
            Family::V4 => template.build_v4(),
            Family::V6 => template.build_v6(),
        }
        template.build_geneve();
        Some(template)
    }

    /// Bytes of the headers, Ethernet included: 14 more than the overhead.
    #[must_use]
    pub const fn room_len(&self) -> usize {
        self.len
    }

    /// The family of the inner packets.
    #[must_use]
    pub const fn inner(&self) -> Family {
        self.inner
    }

    /// Writes the headers of one packet. UDP checksum 0; see [`Self::emit_checksum`].
    ///
    /// ```text
    ///  0                   1                   2                   3
    ///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    /// +---+-----------+-+-+-----------+-------------------------------+
    /// |0 0| Opt Len   |0|1| reserved  | 0x0800 or 0x86DD              |  Geneve
    /// +---+-----------+-+-+-----------+---------------+---------------+
    /// | VNI = service path identifier                 | reserved      |
    /// +-------------------------------+---------------+-----+---------+
    /// | class 0xFF53                  | type 0x81     |0 0 0| Length  |  option
    /// +-------+-----+-+-+-------------+---------------+-----+---------+
    /// |version|0 0|F|R| TTL           | SI            | 0             |  R return
    /// +-------+---+-+-+---------------+---------------+---------------+  F final
    /// | address of the target pod, 4 or 16 bytes                      |
    /// +---------------------------------------------------------------+
    /// | address of the previous pod, 4 or 16 bytes                    |
    /// +---------------------------------------------------------------+
    /// ```
    /// Opt Len is 4 or 10, Length 3 or 9 (words of 4 bytes), for inner IPv4 or IPv6.
    ///
    /// # Panics
    /// Where `room` is not [`Self::room_len`] bytes; in debug builds also where a pod's address is
    /// not of the inner family (else it goes as zeros, which no receiver has as a target).
    pub fn emit(&self, room: &mut [u8], packet: &Encapsulation) {
        room.copy_from_slice(&self.bytes[..self.len]);
        self.patch_ip(room, packet);
        let udp = self.udp_offset();
        put_be16(room, udp, packet.entropy);
        put_be16(room, udp + 4, self.udp_len(packet));
        let vni = packet.path.to_be_bytes();
        room[udp + UDP_LEN + 4..][..3].copy_from_slice(&vni[1..]);
        let data = udp + UDP_LEN + GENEVE_LEN + OPTION_HEADER_LEN;
        room[data] = OPTION_VERSION << 4 | packet.flags;
        room[data + 1] = packet.ttl;
        room[data + 2] = packet.si;
        let len = self.inner.address_len();
        self.put_pod(&mut room[data + 4..][..len], packet.target);
        self.put_pod(&mut room[data + 4 + len..][..len], packet.previous);
    }

    /// Writes the UDP checksum of a packet whose headers [`Self::emit`] wrote into `room`.
    ///
    /// `rest` is the inner packet, in order, in any number of pieces.
    pub fn emit_checksum<'a>(&self, room: &mut [u8], rest: impl Iterator<Item = &'a [u8]>) {
        let udp = self.udp_offset();
        let len = usize::from(u16::from_be_bytes([room[udp + 4], room[udp + 5]]));
        put_be16(room, udp + 6, 0);
        let Addresses {
            source,
            destination,
        } = self.addresses;
        let sum = Sum::new().pseudo_header(source, destination, PROTOCOL_UDP, len);
        let sum = rest.fold(sum.bytes(&room[udp..]), Sum::bytes);
        // RFC 768: a sum of 0 goes as all ones, 0 says that there is none.
        let value = match sum.finish() {
            0 => 0xFFFF,
            value => value,
        };
        put_be16(room, udp + 6, value);
    }

    fn put_pod(&self, field: &mut [u8], pod: IpAddr) {
        debug_assert_eq!(family(pod), self.inner, "a pod's address of another family");
        if family(pod) == self.inner {
            put_address(field, 0, pod);
        }
    }

    fn outer(&self) -> Family {
        family(self.addresses.source)
    }

    fn udp_offset(&self) -> usize {
        ETHERNET_LEN + self.outer().header_len()
    }

    fn udp_len(&self, packet: &Encapsulation) -> u16 {
        let len = self.len - self.udp_offset() + packet.inner_len;
        debug_assert!(
            len <= usize::from(u16::MAX),
            "longer than an IP packet can be"
        );
        len as u16
    }

    fn patch_ip(&self, room: &mut [u8], packet: &Encapsulation) {
        let tos = ecn::encapsulate(packet.inner_tos);
        let ip = &mut room[ETHERNET_LEN..];
        let udp_len = self.udp_len(packet);
        match self.outer() {
            Family::V4 => {
                let len = udp_len.wrapping_add(Family::V4.header_len() as u16);
                // The template's sum is of a TOS byte and a length of 0.
                let sum = u16::from_be_bytes([ip[10], ip[11]]);
                let sum = checksum::update(sum, 0, u16::from(tos));
                put_be16(ip, 10, checksum::update(sum, 0, len));
                put_be16(ip, 2, len);
                ip[1] = tos;
            }
            Family::V6 => {
                ip[0] |= tos >> 4;
                ip[1] |= tos << 4;
                put_be16(ip, 4, udp_len);
            }
        }
    }

    fn build_ethernet(&mut self, underlay: &Underlay) {
        self.bytes[..6].copy_from_slice(&underlay.destination_mac);
        self.bytes[6..12].copy_from_slice(&underlay.source_mac);
        let ethertype = self.outer().ethertype();
        put_be16(&mut self.bytes, 12, ethertype);
    }

    fn build_v4(&mut self) {
        let ip = &mut self.bytes[ETHERNET_LEN..][..Family::V4.header_len()];
        ip[0] = 0x45;
        // DF, and id 0: RFC 6864 §4.1 gives the id of such a packet no meaning.
        ip[6] = 0x40;
        ip[8] = HOP_LIMIT;
        ip[9] = PROTOCOL_UDP;
        put_address(ip, 12, self.addresses.source);
        put_address(ip, 16, self.addresses.destination);
        let sum = checksum::of(ip);
        put_be16(ip, 10, sum);
    }

    fn build_v6(&mut self) {
        let ip = &mut self.bytes[ETHERNET_LEN..][..Family::V6.header_len()];
        ip[0] = 0x60;
        ip[6] = PROTOCOL_UDP;
        ip[7] = HOP_LIMIT;
        put_address(ip, 8, self.addresses.source);
        put_address(ip, 24, self.addresses.destination);
    }

    fn build_geneve(&mut self) {
        let data_len = option_data_len(self.inner);
        let ethertype = self.inner.ethertype();
        let udp = self.udp_offset();
        put_be16(&mut self.bytes, udp + 2, GENEVE_PORT);
        let geneve = &mut self.bytes[udp + UDP_LEN..];
        geneve[0] = ((OPTION_HEADER_LEN + data_len) / 4) as u8;
        geneve[1] = 0x40;
        put_be16(geneve, 2, ethertype);
        put_be16(geneve, GENEVE_LEN, OPTION_CLASS);
        geneve[GENEVE_LEN + 2] = OPTION_TYPE;
        geneve[GENEVE_LEN + 3] = (data_len / 4) as u8;
    }
}
