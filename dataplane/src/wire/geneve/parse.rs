//! Reads the outer headers of a packet from another node.

use std::net::IpAddr;

use xsteer_abi::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family, GENEVE_PORT, OPTION_CLASS,
    OPTION_FLAG_FINAL, OPTION_FLAG_RETURN, OPTION_TYPE, OPTION_VERSION,
};

use super::{
    Addresses, GENEVE_LEN, OPTION_FIXED_LEN, OPTION_HEADER_LEN, PROTOCOL_UDP, UDP_LEN,
    option_data_len,
};
use crate::drop::DropReason;
use crate::wire::bytes::{address, array, be16};
use crate::wire::checksum::{self, Sum};

/// Options of one packet at the most, ours included.
const MAX_OPTIONS: usize = 8;
/// Next header of an IPv6 fragment.
const FRAGMENT: u8 = 44;
const CRITICAL: u8 = 0x80;

/// What the outer headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The node that sent it.
    pub source: IpAddr,
    /// The address of ours that it was sent to.
    pub destination: IpAddr,
    /// The service path (VNI); any 24 bits.
    pub path: u32,
    /// Flags of our option; unknown ones are refused.
    pub flags: u8,
    /// Hops left, not 0.
    pub ttl: u8,
    /// Service index.
    pub si: u8,
    /// The pod that gets the packet.
    pub target: IpAddr,
    /// The pod it comes from.
    pub previous: IpAddr,
    /// Family of the inner packet and of the two pods.
    pub inner: Family,
    /// Bytes from the outer Ethernet header to the inner IP header.
    pub inner_offset: usize,
    /// Bytes of the inner packet.
    pub inner_len: usize,
    /// Outer TOS byte or traffic class.
    pub outer_tos: u8,
    /// There is a UDP checksum that spans bytes beyond `frame`: see [`verify_checksum`].
    pub checksum_pending: bool,
}

/// Parses a frame from its outer Ethernet header on; its MACs may have been overwritten.
///
/// `total_len` counts all bytes there are, those in later descriptors too.
///
/// # Errors
/// One reason for each rule of the wire format; see [`DropReason`].
pub fn parse(frame: &[u8], total_len: usize) -> Result<Outer, DropReason> {
    let ip = parse_ip(frame, total_len)?;
    let checksum = parse_udp(frame, &ip)?;
    let end = ip.payload + ip.payload_len;
    if checksum != 0 && end <= frame.len() {
        verify(&ip, frame, std::iter::empty())?;
    }
    let geneve = parse_geneve(frame, ip.payload + UDP_LEN, end)?;
    let inner = geneve.inner;
    let first = frame
        .get(geneve.inner_offset)
        .ok_or(DropReason::Truncated)?;
    if first >> 4 != inner as u8 {
        return Err(DropReason::GeneveProtocol);
    }
    let option = parse_option(frame, geneve.option, inner)?;
    Ok(Outer {
        source: ip.addresses.source,
        destination: ip.addresses.destination,
        path: geneve.vni,
        flags: option.flags,
        ttl: option.ttl,
        si: option.si,
        target: option.target,
        previous: option.previous,
        inner,
        inner_offset: geneve.inner_offset,
        inner_len: end - geneve.inner_offset,
        outer_tos: ip.tos,
        checksum_pending: checksum != 0 && end > frame.len(),
    })
}

/// Checks the UDP checksum of a frame of several descriptors that [`parse`] took; `rest` are those
/// behind `frame`, in order.
///
/// # Errors
/// `OuterChecksum` where it does not fit, else the reasons of [`parse`].
pub fn verify_checksum<'a>(
    frame: &'a [u8],
    rest: impl Iterator<Item = &'a [u8]>,
) -> Result<(), DropReason> {
    let ip = parse_ip(frame, usize::MAX)?;
    verify(&ip, frame, rest)
}

fn verify<'a>(
    ip: &Ip,
    frame: &'a [u8],
    rest: impl Iterator<Item = &'a [u8]>,
) -> Result<(), DropReason> {
    let Addresses {
        source,
        destination,
    } = ip.addresses;
    let mut sum = Sum::new().pseudo_header(source, destination, PROTOCOL_UDP, ip.payload_len);
    let mut left = ip.payload_len;
    let head = frame.get(ip.payload..).unwrap_or_default();
    for piece in [head].into_iter().chain(rest) {
        let piece = &piece[..piece.len().min(left)];
        sum = sum.bytes(piece);
        left -= piece.len();
    }
    if left == 0 && sum.finish() == 0 {
        Ok(())
    } else {
        Err(DropReason::OuterChecksum)
    }
}

struct Ip {
    addresses: Addresses,
    tos: u8,
    /// Offset in the frame of what follows the IP header.
    payload: usize,
    payload_len: usize,
}

fn parse_ip(frame: &[u8], total_len: usize) -> Result<Ip, DropReason> {
    let ethertype = be16(frame, 12).ok_or(DropReason::Truncated)?;
    let ip = match ethertype {
        ETHERTYPE_IPV4 => parse_v4(&frame[ETHERNET_LEN..])?,
        ETHERTYPE_IPV6 => parse_v6(&frame[ETHERNET_LEN..])?,
        _ => return Err(DropReason::OuterMalformed),
    };
    if ip.payload + ip.payload_len > total_len {
        return Err(DropReason::Truncated);
    }
    Ok(ip)
}

fn parse_v4(packet: &[u8]) -> Result<Ip, DropReason> {
    let fixed: [u8; 20] = array(packet, 0).ok_or(DropReason::Truncated)?;
    let header_len = usize::from(fixed[0] & 0xF) * 4;
    let len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[0] >> 4 != 4 || header_len < fixed.len() || len < header_len {
        return Err(DropReason::OuterMalformed);
    }
    // No kernel has looked at it yet: XDP took it from the driver.
    let header = packet.get(..header_len).ok_or(DropReason::Truncated)?;
    if checksum::of(header) != 0 {
        return Err(DropReason::OuterMalformed);
    }
    if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3FFF != 0 {
        return Err(DropReason::OuterFragment);
    }
    if fixed[9] != PROTOCOL_UDP {
        return Err(DropReason::OuterMalformed);
    }
    Ok(Ip {
        addresses: addresses(packet, 12, Family::V4)?,
        tos: fixed[1],
        payload: ETHERNET_LEN + header_len,
        payload_len: len - header_len,
    })
}

fn parse_v6(packet: &[u8]) -> Result<Ip, DropReason> {
    let fixed: [u8; 40] = array(packet, 0).ok_or(DropReason::Truncated)?;
    match (fixed[0] >> 4, fixed[6]) {
        (6, PROTOCOL_UDP) => {}
        (6, FRAGMENT) => return Err(DropReason::OuterFragment),
        _ => return Err(DropReason::OuterMalformed),
    }
    Ok(Ip {
        addresses: addresses(packet, 8, Family::V6)?,
        tos: fixed[0] << 4 | fixed[1] >> 4,
        payload: ETHERNET_LEN + fixed.len(),
        payload_len: usize::from(u16::from_be_bytes([fixed[4], fixed[5]])),
    })
}

fn addresses(packet: &[u8], at: usize, family: Family) -> Result<Addresses, DropReason> {
    let source = address(packet, at, family).ok_or(DropReason::Truncated)?;
    let destination =
        address(packet, at + family.address_len(), family).ok_or(DropReason::Truncated)?;
    Ok(Addresses {
        source,
        destination,
    })
}

/// Checks the UDP header; the checksum that it carries.
fn parse_udp(frame: &[u8], ip: &Ip) -> Result<u16, DropReason> {
    if ip.payload_len < UDP_LEN {
        return Err(DropReason::GeneveLength);
    }
    let udp: [u8; UDP_LEN] = array(frame, ip.payload).ok_or(DropReason::Truncated)?;
    if u16::from_be_bytes([udp[2], udp[3]]) != GENEVE_PORT {
        return Err(DropReason::OuterMalformed);
    }
    if usize::from(u16::from_be_bytes([udp[4], udp[5]])) != ip.payload_len {
        return Err(DropReason::GeneveLength);
    }
    Ok(u16::from_be_bytes([udp[6], udp[7]]))
}

struct Geneve {
    inner: Family,
    vni: u32,
    /// Where our option's data stands in the frame, and its length.
    option: (usize, usize),
    inner_offset: usize,
}

/// Parses the Geneve header at `at` of a packet that ends at `end`, and finds our option.
fn parse_geneve(frame: &[u8], at: usize, end: usize) -> Result<Geneve, DropReason> {
    let header: [u8; GENEVE_LEN] = array(frame, at).ok_or(DropReason::Truncated)?;
    if header[0] >> 6 != 0 {
        return Err(DropReason::GeneveVersion);
    }
    if header[1] & 0x80 != 0 {
        return Err(DropReason::GeneveControl);
    }
    let inner = match u16::from_be_bytes([header[2], header[3]]) {
        ETHERTYPE_IPV4 => Family::V4,
        ETHERTYPE_IPV6 => Family::V6,
        _ => return Err(DropReason::GeneveProtocol),
    };
    let options = at + GENEVE_LEN;
    let inner_offset = options + usize::from(header[0] & 0x3F) * 4;
    if inner_offset >= end {
        return Err(DropReason::GeneveLength);
    }
    let option = find_option(frame, options, inner_offset)?;
    let vni = u32::from_be_bytes([0, header[4], header[5], header[6]]);
    Ok(Geneve {
        inner,
        vni,
        option,
        inner_offset,
    })
}

/// Walks the options in `at..end`; offset and length of the data of ours.
fn find_option(frame: &[u8], mut at: usize, end: usize) -> Result<(usize, usize), DropReason> {
    let mut ours = None;
    for _ in 0..MAX_OPTIONS {
        if at == end {
            break;
        }
        let [class_0, class_1, kind, len] = array(frame, at).ok_or(DropReason::Truncated)?;
        let data = at + OPTION_HEADER_LEN;
        let len = usize::from(len & 0x1F) * 4;
        at = data + len;
        if at > end {
            return Err(DropReason::GeneveLength);
        }
        match (u16::from_be_bytes([class_0, class_1]), kind) {
            (OPTION_CLASS, OPTION_TYPE) if ours.is_none() => ours = Some((data, len)),
            (OPTION_CLASS, OPTION_TYPE) => return Err(DropReason::OuterMalformed),
            (_, kind) if kind & CRITICAL != 0 => return Err(DropReason::UnknownCriticalOption),
            _ => {}
        }
    }
    if at != end {
        return Err(DropReason::GeneveLength);
    }
    ours.ok_or(DropReason::OptionMissing)
}

struct PathOption {
    flags: u8,
    ttl: u8,
    si: u8,
    target: IpAddr,
    previous: IpAddr,
}

fn parse_option(
    frame: &[u8],
    (at, len): (usize, usize),
    inner: Family,
) -> Result<PathOption, DropReason> {
    if len < OPTION_FIXED_LEN {
        return Err(DropReason::GeneveLength);
    }
    let [first, ttl, si, _] = array(frame, at).ok_or(DropReason::Truncated)?;
    // The version decides what the rest means, its length too.
    if first >> 4 != OPTION_VERSION {
        return Err(DropReason::OptionVersion);
    }
    let flags = first & 0xF;
    if flags & !(OPTION_FLAG_RETURN | OPTION_FLAG_FINAL) != 0 {
        return Err(DropReason::OptionFlags);
    }
    if len != option_data_len(inner) {
        let other = len == option_data_len(Family::V4) || len == option_data_len(Family::V6);
        return Err(if other {
            DropReason::GeneveProtocol
        } else {
            DropReason::GeneveLength
        });
    }
    if ttl == 0 {
        return Err(DropReason::TtlExpired);
    }
    let pods = addresses(frame, at + OPTION_FIXED_LEN, inner)?;
    Ok(PathOption {
        flags,
        ttl,
        si,
        target: pods.source,
        previous: pods.destination,
    })
}
