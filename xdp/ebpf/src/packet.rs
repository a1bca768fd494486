//! Reads headers out of the bytes between `data` and `data_end`, for tc and XDP alike.
//!
//! Ethernet, IPv4 with options (RFC 791), IPv6 with extension headers (RFC 8200 §4), transport
//! ports. Writes nothing: a tc program that stores into packet memory gets a prologue that
//! unclones and linearizes *every* skb (`bpf_unclone_prologue`, net/core/filter.c), so tc programs
//! change packets by helpers only.

use xsteer_abi::{ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family};

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of SCTP.
pub const SCTP: u8 = 132;

const IPV6_HOP_BY_HOP: u8 = 0;
const IPV6_ROUTING: u8 = 43;
const IPV6_FRAGMENT: u8 = 44;
const IPV6_DESTINATION: u8 = 60;
/// Extension headers that are followed. RFC 8200 §4.1 recommends at most 7 and allows more;
/// nobody sends more than a few.
const MAX_EXTENSIONS: usize = 6;

/// The linear part of a frame.
#[derive(Clone, Copy)]
pub struct Bytes {
    start: usize,
    end: usize,
}

impl Bytes {
    /// What a context's `data` and `data_end` enclose.
    #[inline(always)]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// `N` 16-bit fields in network order at an offset, or `None` past the end.
    ///
    /// Halves, because every header here starts at an even address and no more is sure; a wider
    /// type would be a lie and an unaligned one costs a load per byte.
    #[inline(always)]
    pub fn halves<const N: usize>(&self, offset: usize) -> Option<[u16; N]> {
        let start = self.start + offset;
        if start + 2 * N > self.end {
            return None;
        }
        // SAFETY: the N fields lie before `data_end`, which the line above has shown to reader
        // and verifier; they are copied before any helper can move them.
        Some(unsafe { (start as *const [u16; N]).read() })
    }
}

/// Where a packet stands in a fragmented datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// The fragment with the transport header.
    First,
    /// One of the others.
    Later,
}

/// An address as four words in memory order; IPv4 is the first.
pub type Words = [u32; 4];

/// What the programs want to know of an IP packet.
#[derive(Clone, Copy)]
pub struct Packet {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Fragmented or not.
    pub fragment: Fragment,
    /// Whether `sport` and `dport` were there to be read.
    pub has_ports: bool,
    /// Source port, 0 without ports.
    pub sport: u16,
    /// Destination port, 0 without ports.
    pub dport: u16,
    /// Bytes of the packet from its IP header on, as that header says.
    pub total_len: u32,
    /// Offset of the transport header in the frame.
    pub transport: usize,
    /// Source address.
    pub source: Words,
    /// Destination address.
    pub destination: Words,
}

impl Packet {
    /// Whether there should be ports, here or in the first fragment, and are none.
    #[inline(always)]
    pub fn lacks_ports(&self) -> bool {
        has_ports(self.protocol) && !self.has_ports
    }
}

/// Why there is no [`Packet`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Neither IPv4 nor IPv6 right behind the Ethernet header.
    NotIp,
    /// IP, but cut short, malformed or with more extension headers than are followed.
    Malformed,
}

/// Reads the headers of a frame.
#[inline(always)]
pub fn parse(bytes: Bytes) -> Result<Packet, Unread> {
    let ethernet = bytes.halves::<7>(0).ok_or(Unread::NotIp)?;
    let packet = match u16::from_be(ethernet[6]) {
        ETHERTYPE_IPV4 => ipv4(bytes),
        ETHERTYPE_IPV6 => ipv6(bytes),
        _ => return Err(Unread::NotIp),
    };
    packet.ok_or(Unread::Malformed)
}

#[inline(always)]
fn ipv4(bytes: Bytes) -> Option<Packet> {
    let h = bytes.halves::<10>(ETHERNET_LEN)?;
    let start = u16::from_be(h[0]);
    let header_len = usize::from(start >> 8 & 0xF) * 4;
    if start >> 12 != 4 || header_len < Family::V4.header_len() {
        return None;
    }
    let fragment = u16::from_be(h[3]);
    let packet = Packet {
        family: Family::V4,
        protocol: u16::from_be(h[4]) as u8,
        fragment: if fragment & 0x1FFF != 0 {
            Fragment::Later
        } else if fragment & 0x2000 != 0 {
            Fragment::First
        } else {
            Fragment::Whole
        },
        has_ports: false,
        sport: 0,
        dport: 0,
        total_len: u32::from(u16::from_be(h[1])),
        transport: ETHERNET_LEN + header_len,
        source: [word(h[6], h[7]), 0, 0, 0],
        destination: [word(h[8], h[9]), 0, 0, 0],
    };
    Some(with_ports(bytes, packet))
}

#[inline(always)]
fn ipv6(bytes: Bytes) -> Option<Packet> {
    let h = bytes.halves::<20>(ETHERNET_LEN)?;
    if u16::from_be(h[0]) >> 12 != 6 {
        return None;
    }
    let next = (u16::from_be(h[3]) >> 8) as u8;
    let (protocol, transport, fragment) = extensions(bytes, next)?;
    let packet = Packet {
        family: Family::V6,
        protocol,
        fragment,
        has_ports: false,
        sport: 0,
        dport: 0,
        total_len: u32::from(u16::from_be(h[2])) + Family::V6.header_len() as u32,
        transport,
        source: [
            word(h[4], h[5]),
            word(h[6], h[7]),
            word(h[8], h[9]),
            word(h[10], h[11]),
        ],
        destination: [
            word(h[12], h[13]),
            word(h[14], h[15]),
            word(h[16], h[17]),
            word(h[18], h[19]),
        ],
    };
    Some(with_ports(bytes, packet))
}

/// Walks the extension headers: the transport protocol, where its header is, and the fragment.
///
/// A later fragment that goes on with extension headers hides its protocol: `None`.
#[inline(always)]
fn extensions(bytes: Bytes, first: u8) -> Option<(u8, usize, Fragment)> {
    let mut next = first;
    let mut offset = ETHERNET_LEN + Family::V6.header_len();
    let mut fragment = Fragment::Whole;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) {
            return Some((next, offset, fragment));
        }
        let h = bytes.halves::<4>(offset)?;
        let start = u16::from_be(h[0]);
        if next == IPV6_FRAGMENT {
            let place = u16::from_be(h[1]);
            if place >> 3 != 0 {
                fragment = Fragment::Later;
            } else if place & 1 != 0 {
                fragment = Fragment::First;
            }
            offset += 8;
        } else {
            offset += (usize::from(start & 0xFF) + 1) * 8;
        }
        next = (start >> 8) as u8;
        if fragment == Fragment::Later {
            break;
        }
    }
    if is_extension(next) {
        None
    } else {
        Some((next, offset, fragment))
    }
}

#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(
        next,
        IPV6_HOP_BY_HOP | IPV6_ROUTING | IPV6_FRAGMENT | IPV6_DESTINATION
    )
}

/// Whether a protocol's header begins with two ports.
#[inline(always)]
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// Adds the ports, where the protocol has some and the frame holds them.
#[inline(always)]
fn with_ports(bytes: Bytes, mut packet: Packet) -> Packet {
    if packet.fragment == Fragment::Later || !has_ports(packet.protocol) {
        return packet;
    }
    if let Some(h) = bytes.halves::<2>(packet.transport) {
        packet.has_ports = true;
        packet.sport = u16::from_be(h[0]);
        packet.dport = u16::from_be(h[1]);
    }
    packet
}

/// Two fields as one word, all in memory order.
#[inline(always)]
pub fn word(first: u16, second: u16) -> u32 {
    let [a, b] = first.to_ne_bytes();
    let [c, d] = second.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
