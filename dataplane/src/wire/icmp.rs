//! ICMP errors that tell a sender the MTU that is left: RFC 792 and 1191, RFC 4443 and 8201.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use xsteer_abi::Family;

use super::bytes::{family, put_address, put_be16};
use super::checksum::{self, Sum};
use super::inner::{Fragment, Inner, PROTOCOL_ICMP, PROTOCOL_ICMPV6};

const ICMP_LEN: usize = 8;
const HOP_LIMIT: u8 = 64;
/// RFC 1812 §4.3.2.3: the error is 576 bytes at the most.
const MAX_V4: usize = 576;
/// RFC 4443 §2.4(c): the error fits the smallest MTU of IPv6.
const MAX_V6: usize = 1280;
/// RFC 792: the IP header and 8 bytes tell the sender which flow it is.
const MIN_QUOTE: usize = 8;
/// RFC 1812 §4.3.2.5: precedence 6, internetwork control.
const TOS_CONTROL: u8 = 0xC0;

/// Bytes that `out` of [`packet_too_big`] needs at the most.
pub const MAX_LEN: usize = MAX_V6;

/// Writes the answer to a packet that is too big: a whole IP packet to its source, and its length.
///
/// IPv4: destination unreachable, fragmentation needed (type 3, code 4); IPv6: Packet Too Big.
/// `first` is the packet from its IP header on, `source` an address of ours of its family, `mtu`
/// what may come from it, `out` best [`MAX_LEN`] bytes: a shorter one shortens the quote.
///
/// `None` where no error may answer it (RFC 1122 §3.2.2, RFC 4443 §2.4(e)): ICMP errors and
/// redirects, later fragments, sources or destinations that are not one host; or where `out` is
/// too short or `source` of the other family.
#[must_use]
pub fn packet_too_big(
    first: &[u8],
    inner: &Inner,
    source: IpAddr,
    mtu: u16,
    out: &mut [u8],
) -> Option<usize> {
    if family(source) != inner.family || !may_answer(first, inner) {
        return None;
    }
    let header_len = inner.family.header_len();
    let max = match inner.family {
        Family::V4 => MAX_V4,
        Family::V6 => MAX_V6,
    };
    let room = out.len().min(max).checked_sub(header_len + ICMP_LEN)?;
    let quote = &first[..first.len().min(inner.len).min(room)];
    if quote.len()
        < (inner.l4_offset + MIN_QUOTE)
            .min(inner.len)
            .min(max - header_len - ICMP_LEN)
    {
        return None;
    }
    let len = header_len + ICMP_LEN + quote.len();
    let out = &mut out[..len];
    let (header, icmp) = out.split_at_mut(header_len);
    icmp[..ICMP_LEN].fill(0);
    icmp[ICMP_LEN..].copy_from_slice(quote);
    let destination = inner.key.source;
    match inner.family {
        Family::V4 => emit_v4(header, icmp, mtu),
        Family::V6 => emit_v6(header, icmp, mtu),
    }
    emit_addresses(header, source, destination);
    emit_checksums(header, icmp, source, destination);
    Some(len)
}

fn may_answer(first: &[u8], inner: &Inner) -> bool {
    const REDIRECT_V6: u8 = 137;
    let redirect =
        inner.key.protocol == PROTOCOL_ICMPV6 && first.get(inner.l4_offset) == Some(&REDIRECT_V6);
    !inner.is_icmp_error
        && !redirect
        && !matches!(inner.fragment, Fragment::Later { .. })
        && is_one_host(inner.key.source)
        && !is_group(inner.key.destination)
}

fn is_one_host(address: IpAddr) -> bool {
    !is_group(address) && !address.is_unspecified() && !address.is_loopback()
}

/// Multicast, the limited broadcast, or what was class E (RFC 1812 §5.3.7).
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.octets()[0] >= Ipv4Addr::new(224, 0, 0, 0).octets()[0],
        IpAddr::V6(a) => Ipv6Addr::is_multicast(&a),
    }
}

fn emit_v4(header: &mut [u8], icmp: &mut [u8], mtu: u16) {
    let len = (header.len() + icmp.len()) as u16;
    header.fill(0);
    header[0] = 0x45;
    header[1] = TOS_CONTROL;
    put_be16(header, 2, len);
    // DF, and id 0: RFC 6864 §4.1.
    header[6] = 0x40;
    header[8] = HOP_LIMIT;
    header[9] = PROTOCOL_ICMP;
    icmp[0] = 3;
    icmp[1] = 4;
    put_be16(icmp, 6, mtu);
}

fn emit_v6(header: &mut [u8], icmp: &mut [u8], mtu: u16) {
    header.fill(0);
    header[0] = 0x60;
    put_be16(header, 4, icmp.len() as u16);
    header[6] = PROTOCOL_ICMPV6;
    header[7] = HOP_LIMIT;
    icmp[0] = 2;
    put_be16(icmp, 6, mtu);
}

fn emit_addresses(header: &mut [u8], source: IpAddr, destination: IpAddr) {
    let family = family(source);
    let at = header.len() - 2 * family.address_len();
    put_address(header, at, source);
    put_address(header, at + family.address_len(), destination);
}

fn emit_checksums(header: &mut [u8], icmp: &mut [u8], source: IpAddr, destination: IpAddr) {
    let sum = match family(source) {
        Family::V4 => {
            let sum = checksum::of(header);
            put_be16(header, 10, sum);
            Sum::new()
        }
        // ICMPv6, unlike ICMP, has a pseudo-header (RFC 4443 §2.3).
        Family::V6 => Sum::new().pseudo_header(source, destination, PROTOCOL_ICMPV6, icmp.len()),
    };
    let sum = sum.bytes(icmp).finish();
    put_be16(icmp, 2, sum);
}

#[cfg(test)]
mod tests;
