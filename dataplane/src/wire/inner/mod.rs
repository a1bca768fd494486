//! The inner packet: what steering needs to know of it, read from its first descriptor.
//!
//! IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200), fragments of both, the ports of
//! TCP, UDP and SCTP, the packet quoted by an ICMP error. Payload is never looked at.

use std::net::IpAddr;

use etherparse::{Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};
use xsteer_abi::Family;

use super::FlowKey;
use super::bytes::{array, be16};
use crate::drop::DropReason;

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IP protocol number of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// IP protocol number of SCTP.
pub const PROTOCOL_SCTP: u8 = 132;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Extension headers of one IPv6 packet at the most; RFC 8200 §4.1 has use for seven.
const MAX_EXTENSIONS: usize = 8;

/// Whether a packet is a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// It is none. An atomic fragment of IPv6 is none either (RFC 6946).
    None,
    /// The first one: it has the ports.
    First {
        /// The identification shared by all fragments of the packet.
        id: u32,
    },
    /// A later one: ports are 0.
    Later {
        /// The identification shared by all fragments of the packet.
        id: u32,
    },
}

/// What steering needs to know of an inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// The flow it belongs to.
    pub key: FlowKey,
    /// Its family.
    pub family: Family,
    /// Bytes of the packet as its IP header says; Ethernet padding not counted.
    pub len: usize,
    /// Bytes from the IP header to the header of `key.protocol` (of a later fragment: to its data).
    pub l4_offset: usize,
    /// TOS byte or traffic class: DSCP and ECN.
    pub tos: u8,
    /// Nobody on the way may fragment it. Always true for IPv6.
    pub dont_fragment: bool,
    /// Whether it is a fragment.
    pub fragment: Fragment,
    /// The flags byte of the TCP header, where there is one.
    pub tcp_flags: Option<u8>,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// An ICMP error; [`quoted_key`] tells the flow that it is about.
    pub is_icmp_error: bool,
}

/// Parses a packet from its IP header on.
///
/// `first` holds at least its headers, `total_len` counts all bytes there are, those in later
/// descriptors too; what the IP header does not claim of them is Ethernet padding.
///
/// # Errors
/// `Truncated` where bytes are missing, `InnerMalformed` where headers contradict themselves.
pub fn parse(first: &[u8], total_len: usize) -> Result<Inner, DropReason> {
    let ip = match first.first().ok_or(DropReason::Truncated)? >> 4 {
        4 => parse_v4(first)?,
        6 => parse_v6(first)?,
        _ => return Err(DropReason::InnerMalformed),
    };
    if ip.len > total_len {
        return Err(DropReason::Truncated);
    }
    // Neither padding nor a neighbour's bytes may pass for a header.
    let l4 = &first[..first.len().min(ip.len)];
    let l4 = l4.get(ip.l4_offset..).ok_or(DropReason::Truncated)?;
    let left = ip.len - ip.l4_offset;
    let transport = match ip.fragment {
        Fragment::Later { .. } => Transport::default(),
        Fragment::First { .. } => parse_transport(ip.protocol, l4, left, true)?,
        Fragment::None => parse_transport(ip.protocol, l4, left, false)?,
    };
    Ok(ip.with(transport))
}

/// The flow that an ICMP error is about, as its packet travelled: opposite to the error.
///
/// `None` where `inner` is no ICMP error or quotes too little.
#[must_use]
pub fn quoted_key(first: &[u8], inner: &Inner) -> Option<FlowKey> {
    if !inner.is_icmp_error {
        return None;
    }
    let quote = first.get(inner.l4_offset + 8..inner.len.min(first.len()))?;
    let ip = match quote.first()? >> 4 {
        4 => parse_v4(quote),
        6 => parse_v6(quote),
        _ => return None,
    }
    .ok()?;
    if ip.family() != inner.family || matches!(ip.fragment, Fragment::Later { .. }) {
        return None;
    }
    let l4 = quote.get(ip.l4_offset..)?;
    let ports = if has_ports(ip.protocol) {
        ports(l4)?
    } else {
        (0, 0)
    };
    Some(
        ip.with(Transport {
            ports,
            ..Transport::default()
        })
        .key,
    )
}

/// The IP part of a packet, extension headers walked.
struct Ip {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    len: usize,
    l4_offset: usize,
    tos: u8,
    dont_fragment: bool,
    fragment: Fragment,
    hop_limit: u8,
}

impl Ip {
    const fn family(&self) -> Family {
        super::bytes::family(self.source)
    }

    fn with(self, transport: Transport) -> Inner {
        let (sport, dport) = transport.ports;
        let Self {
            source,
            destination,
            protocol,
            ..
        } = self;
        Inner {
            key: FlowKey {
                source,
                destination,
                protocol,
                sport,
                dport,
            },
            family: self.family(),
            len: self.len,
            l4_offset: self.l4_offset,
            tos: self.tos,
            dont_fragment: self.dont_fragment,
            fragment: self.fragment,
            tcp_flags: transport.tcp_flags,
            hop_limit: self.hop_limit,
            is_icmp_error: transport.is_icmp_error,
        }
    }
}

fn parse_v4(first: &[u8]) -> Result<Ip, DropReason> {
    use etherparse::err::ipv4::{HeaderError, HeaderSliceError};
    let header = Ipv4HeaderSlice::from_slice(first).map_err(|e| match e {
        HeaderSliceError::Len(_) => DropReason::Truncated,
        HeaderSliceError::Content(
            HeaderError::UnexpectedVersion { .. }
            | HeaderError::HeaderLengthSmallerThanHeader { .. },
        ) => DropReason::InnerMalformed,
    })?;
    let l4_offset = header.slice().len();
    let len = usize::from(header.total_len());
    let offset = usize::from(header.fragments_offset().value()) * 8;
    // A fragment that ends behind 65535 can only be meant to break a reassembler.
    if len < l4_offset || offset + len > usize::from(u16::MAX) {
        return Err(DropReason::InnerMalformed);
    }
    Ok(Ip {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: header.protocol().0,
        len,
        l4_offset,
        tos: header.slice()[1],
        dont_fragment: header.dont_fragment(),
        fragment: fragment(
            offset,
            header.more_fragments(),
            u32::from(header.identification()),
        ),
        hop_limit: header.ttl(),
    })
}

fn parse_v6(first: &[u8]) -> Result<Ip, DropReason> {
    let header = Ipv6HeaderSlice::from_slice(first).map_err(|_| DropReason::Truncated)?;
    let walked = walk_extensions(first, header.next_header().0)?;
    let len = header.slice().len() + usize::from(header.payload_length());
    if walked.l4_offset > len {
        return Err(DropReason::InnerMalformed);
    }
    Ok(Ip {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: walked.protocol,
        len,
        l4_offset: walked.l4_offset,
        tos: header.traffic_class(),
        dont_fragment: true,
        fragment: walked.fragment,
        hop_limit: header.hop_limit(),
    })
}

struct Walked {
    protocol: u8,
    l4_offset: usize,
    fragment: Fragment,
}

/// Goes over the extension headers of an IPv6 packet, up to the data of a later fragment.
///
/// AH and ESP count as the transport protocol, as in IPv4 and as the kernel programs have it.
fn walk_extensions(first: &[u8], next_header: u8) -> Result<Walked, DropReason> {
    let mut at = Walked {
        protocol: next_header,
        l4_offset: Family::V6.header_len(),
        fragment: Fragment::None,
    };
    for _ in 0..=MAX_EXTENSIONS {
        let [next, len] = match at.protocol {
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => {
                array(first, at.l4_offset).ok_or(DropReason::Truncated)?
            }
            _ => return Ok(at),
        };
        let here = &first[at.l4_offset..];
        at.l4_offset += match at.protocol {
            FRAGMENT => {
                at.fragment = parse_fragment_header(here)?;
                8
            }
            _ => (usize::from(len) + 1) * 8,
        };
        at.protocol = next;
        if matches!(at.fragment, Fragment::Later { .. }) {
            return Ok(at);
        }
    }
    Err(DropReason::InnerMalformed)
}

fn parse_fragment_header(bytes: &[u8]) -> Result<Fragment, DropReason> {
    let header = Ipv6FragmentHeaderSlice::from_slice(bytes).map_err(|_| DropReason::Truncated)?;
    let offset = usize::from(header.fragment_offset().value());
    Ok(fragment(
        offset,
        header.more_fragments(),
        header.identification(),
    ))
}

const fn fragment(offset: usize, more: bool, id: u32) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::None,
        (0, true) => Fragment::First { id },
        _ => Fragment::Later { id },
    }
}

#[derive(Default)]
struct Transport {
    ports: (u16, u16),
    tcp_flags: Option<u8>,
    is_icmp_error: bool,
}

/// Reads what there is of a transport header with `left` bytes up to the end of the packet.
///
/// A first fragment may end within the header (8 bytes, RFC 791 §3.2), a whole packet may not.
fn parse_transport(
    protocol: u8,
    l4: &[u8],
    left: usize,
    first_fragment: bool,
) -> Result<Transport, DropReason> {
    let header_len = match protocol {
        PROTOCOL_TCP => 20,
        PROTOCOL_UDP | PROTOCOL_ICMP | PROTOCOL_ICMPV6 => 8,
        PROTOCOL_SCTP => 12,
        _ => return Ok(Transport::default()),
    };
    if left < if first_fragment { 8 } else { header_len } {
        return Err(DropReason::InnerMalformed);
    }
    // All headers stand in the first descriptor, or they count as missing.
    if l4.len() < header_len.min(left) {
        return Err(DropReason::Truncated);
    }
    let icmp_type = l4[0];
    Ok(Transport {
        ports: if has_ports(protocol) {
            ports(l4).unwrap_or_default()
        } else {
            (0, 0)
        },
        tcp_flags: if protocol == PROTOCOL_TCP {
            l4.get(13).copied()
        } else {
            None
        },
        is_icmp_error: match protocol {
            // RFC 1122 §3.2.2: unreachable, source quench, redirect, time exceeded, parameter.
            PROTOCOL_ICMP => matches!(icmp_type, 3 | 4 | 5 | 11 | 12),
            // RFC 4443 §2.1: the upper bit of the type is clear.
            PROTOCOL_ICMPV6 => icmp_type < 128,
            _ => false,
        },
    })
}

const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_SCTP)
}

fn ports(l4: &[u8]) -> Option<(u16, u16)> {
    Some((be16(l4, 0)?, be16(l4, 2)?))
}

#[cfg(test)]
mod tests;
