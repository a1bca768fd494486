//! Packets written out by hand, after SEMANTICS section 4 and the RFCs, with none of the
//! product's own code: what is compared with it must not come from it.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

/// Where the headers of a steered IPv4 packet in IPv4 begin.
pub(crate) const IP: usize = 14;
pub(crate) const UDP: usize = 34;
pub(crate) const GENEVE: usize = 42;
pub(crate) const OPTION: usize = 50;
pub(crate) const OPTION_DATA: usize = 54;
pub(crate) const INNER: usize = 66;

const PROTOCOL_UDP: u8 = 17;

/// A UDP datagram in IPv4.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    pub(crate) tos: u8,
    pub(crate) id: u16,
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    /// The packet from its IP header on, all checksums filled in.
    pub(crate) fn emit(&self) -> Vec<u8> {
        let (from, to) = (self.source, self.destination);
        let length = 8 + self.payload.len();
        let mut udp = [from.port(), to.port(), length as u16, 0]
            .map(u16::to_be_bytes)
            .concat();
        udp.extend_from_slice(&self.payload);
        let pseudo = [
            from.ip().octets().to_vec(),
            to.ip().octets().to_vec(),
            vec![0, PROTOCOL_UDP],
            (length as u16).to_be_bytes().to_vec(),
        ];
        let sum = checksum(&[pseudo.concat(), udp.clone()].concat());
        udp[6..8].copy_from_slice(&sum.to_be_bytes());
        let mut packet = ip_header(*from.ip(), *to.ip(), self.tos, self.id, self.ttl, length);
        packet.extend_from_slice(&udp);
        packet
    }
}

/// The outer headers of a steered packet.
#[derive(Clone, Debug)]
pub(crate) struct Outer {
    pub(crate) destination_mac: [u8; 6],
    pub(crate) source_mac: [u8; 6],
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) tos: u8,
    pub(crate) source_port: u16,
    pub(crate) vni: u32,
    pub(crate) ttl: u8,
    pub(crate) si: u8,
    pub(crate) target: Ipv4Addr,
    pub(crate) previous: Ipv4Addr,
}

impl Outer {
    /// The frame that carries an inner packet.
    pub(crate) fn emit(&self, inner: &[u8]) -> Vec<u8> {
        let length = 8 + 8 + 16 + inner.len();
        let vni = self.vni.to_be_bytes();
        let pieces: [&[u8]; 14] = [
            &self.destination_mac,
            &self.source_mac,
            &[0x08, 0x00],
            &ip_header(self.source, self.destination, self.tos, 0, 64, length),
            &self.source_port.to_be_bytes(),
            &7081_u16.to_be_bytes(),
            &(length as u16).to_be_bytes(),
            // No UDP checksum; Geneve: version 0, 4 words of options, not O, C, IPv4.
            &[0, 0, 0x04, 0x40, 0x08, 0x00],
            &[vni[1], vni[2], vni[3], 0],
            // Option: class, critical type, 3 words; version 0 and no flags.
            &[0xFF, 0x53, 0x81, 3, 0],
            &[self.ttl, self.si, 0],
            &self.target.octets(),
            &self.previous.octets(),
            inner,
        ];
        pieces.concat()
    }
}

/// An IPv4 header with DF, as [`Datagram`] and [`Outer`] have it.
fn ip_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    tos: u8,
    id: u16,
    ttl: u8,
    payload_len: usize,
) -> Vec<u8> {
    let mut header = vec![0x45, tos];
    header.extend_from_slice(&(20 + payload_len as u16).to_be_bytes());
    header.extend_from_slice(&id.to_be_bytes());
    header.extend_from_slice(&[0x40, 0, ttl, PROTOCOL_UDP, 0, 0]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&destination.octets());
    mend_ip_checksum(&mut header);
    header
}

/// Writes the checksum of an IPv4 header that was changed.
pub(crate) fn mend_ip_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let header_len = usize::from(packet[0] & 0xF) * 4;
    let sum = checksum(&packet[..header_len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An address that must be IPv4.
pub(crate) fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}
