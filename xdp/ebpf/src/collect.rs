//! collect: on the uplink, as XDP or as tc ingress. Takes the steered packets that other nodes
//! send to this one, and sends each to the gate of the worker that owns the target pod.

use aya_ebpf::{
    bindings::xdp_action, helpers::generated::bpf_xdp_get_buff_len, programs::TcContext,
    programs::XdpContext,
};
use xsteer_abi::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family, GENEVE_PORT, OPTION_CLASS, OPTION_TYPE,
    counters::Counter,
    maps::NODE_LOCAL,
    tag::{Tag, TagKind},
};

use crate::{
    keys,
    maps::{GATE_IFINDEX, GATES, count},
    packet::{Bytes, Fragment, Packet, UDP, Words, parse, word},
    skb::{self, PASS, shot},
    xdp,
};

const UDP_LEN: usize = 8;
const GENEVE_LEN: usize = 8;
/// Critical bit of an option's type (RFC 8926 §3.5).
const CRITICAL: u8 = 0x80;
/// Options that are looked at; a frame with more is dropped.
const MAX_OPTIONS: usize = 8;

/// Judges one frame in XDP.
#[inline(always)]
pub fn collect(ctx: &XdpContext) -> u32 {
    let bytes = xdp::bytes(ctx);
    let packet = match parse(bytes) {
        Ok(packet) if is_for_us(&packet) => packet,
        _ => return xdp_action::XDP_PASS,
    };
    // SAFETY: `ctx` is the context the kernel called with; the helper moves nothing.
    let frame_len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
    match judge(bytes, frame_len, &packet).and_then(|tag| to_gate(ctx, &tag)) {
        Ok(action) => {
            count(Counter::CollectRedirected);
            action
        }
        Err(counter) => {
            count(counter);
            xdp_action::XDP_DROP
        }
    }
}

#[inline(always)]
fn to_gate(ctx: &XdpContext, tag: &Tag) -> Result<u32, Counter> {
    xdp::store_tag(ctx, tag).ok_or(Counter::CollectDroppedLength)?;
    GATES
        .redirect(u32::from(tag.worker), u64::from(xdp_action::XDP_DROP))
        .map_err(|_| Counter::CollectDroppedNoGate)
}

/// Judges one frame in tc.
#[inline(always)]
pub fn collect_tc(ctx: &TcContext) -> i32 {
    let packet = match skb::headers(ctx) {
        Ok(packet) if is_for_us(&packet) => packet,
        _ => return PASS,
    };
    // Drivers that receive into pages leave the Geneve header there.
    if skb::pull(ctx).is_none() {
        return shot(Counter::CollectDroppedLength);
    }
    match judge(skb::bytes(ctx), ctx.len(), &packet) {
        Ok(tag) => to_gate_tc(ctx, &tag),
        Err(counter) => shot(counter),
    }
}

#[inline(always)]
fn to_gate_tc(ctx: &TcContext, tag: &Tag) -> i32 {
    let gate = match GATE_IFINDEX.get(u32::from(tag.worker)) {
        Some(&gate) if gate != 0 => gate,
        _ => return shot(Counter::CollectDroppedNoGate),
    };
    if ctx.store(0, &tag.emit(), 0).is_err() {
        return shot(Counter::CollectDroppedLength);
    }
    skb::redirect(
        gate,
        0,
        Counter::CollectRedirected,
        Counter::CollectDroppedNoGate,
    )
}

/// Whether a packet is for the port of steered packets at an address of this node. A later
/// fragment has no port and is left to the kernel, which never gets its first.
#[inline(always)]
fn is_for_us(packet: &Packet) -> bool {
    packet.protocol == UDP
        && packet.dport == GENEVE_PORT
        && keys::node(packet.family, packet.destination)
            .is_some_and(|flags| flags & NODE_LOCAL != 0)
}

/// The tag of a packet that is for us, or the reason to drop it.
#[inline(always)]
fn judge(bytes: Bytes, frame_len: u32, packet: &Packet) -> Result<Tag, Counter> {
    if packet.fragment != Fragment::Whole {
        return Err(Counter::CollectDroppedFragment);
    }
    if keys::node(packet.family, packet.source).is_none() {
        return Err(Counter::CollectDroppedForeign);
    }
    // One branch each, so that all offsets behind are numbers to the verifier. No node of ours
    // sends IP options or extension headers.
    let (inner, address) = match packet.family {
        Family::V4 => target_address::<{ ETHERNET_LEN + 20 }>(bytes, frame_len, packet)?,
        Family::V6 => target_address::<{ ETHERNET_LEN + 40 }>(bytes, frame_len, packet)?,
    };
    let target = keys::target(inner, address).ok_or(Counter::CollectDroppedNoTarget)?;
    Ok(Tag {
        kind: TagKind::Wire,
        worker: target.worker as u8,
        port: target.port,
        classifier: 0,
    })
}

/// Inner family and target pod's address of a Geneve packet whose UDP header is at `UDP_AT`.
#[inline(always)]
fn target_address<const UDP_AT: usize>(
    bytes: Bytes,
    frame_len: u32,
    packet: &Packet,
) -> Result<(Family, Words), Counter> {
    let udp = bytes
        .halves::<{ (UDP_LEN + GENEVE_LEN) / 2 }>(UDP_AT)
        .ok_or(Counter::CollectDroppedLength)?;
    let udp_len = u32::from(u16::from_be(udp[2]));
    let is_whole = packet.transport == UDP_AT
        && packet.total_len == udp_len + (UDP_AT - ETHERNET_LEN) as u32
        && packet.total_len + ETHERNET_LEN as u32 <= frame_len;
    if !is_whole {
        return Err(Counter::CollectDroppedLength);
    }
    let start = u16::from_be(udp[4]);
    let inner = match u16::from_be(udp[5]) {
        ETHERTYPE_IPV4 => Family::V4,
        ETHERTYPE_IPV6 => Family::V6,
        _ => return Err(Counter::CollectDroppedGeneve),
    };
    // Version 0, and not a control packet (RFC 8926 §3.4).
    if start & 0xC080 != 0 {
        return Err(Counter::CollectDroppedGeneve);
    }
    let options_len = usize::from(start >> 8 & 0x3F) * 4;
    let least = UDP_LEN + GENEVE_LEN + options_len + inner.header_len();
    if udp_len < least as u32 {
        return Err(Counter::CollectDroppedLength);
    }
    let options = UDP_AT + UDP_LEN + GENEVE_LEN;
    find_target(bytes, inner, options, options + options_len).map(|address| (inner, address))
}

/// Walks the options between two offsets for ours; one that is critical and not ours ends it.
#[inline(always)]
fn find_target(bytes: Bytes, inner: Family, start: usize, end: usize) -> Result<Words, Counter> {
    let mut offset = start;
    let mut found = None;
    for _ in 0..MAX_OPTIONS {
        if offset == end {
            break;
        }
        let option = bytes
            .halves::<2>(offset)
            .ok_or(Counter::CollectDroppedLength)?;
        let detail = u16::from_be(option[1]);
        let kind = (detail >> 8) as u8;
        let len = usize::from(detail & 0x1F) * 4;
        if offset + 4 + len > end {
            return Err(Counter::CollectDroppedGeneve);
        }
        if u16::from_be(option[0]) == OPTION_CLASS && kind == OPTION_TYPE {
            if len != 4 + 2 * inner.address_len() {
                return Err(Counter::CollectDroppedGeneve);
            }
            found = Some(address(bytes, inner, offset + 8).ok_or(Counter::CollectDroppedLength)?);
        } else if kind & CRITICAL != 0 {
            return Err(Counter::CollectDroppedGeneve);
        }
        offset += 4 + len;
    }
    match found {
        Some(address) if offset == end => Ok(address),
        _ => Err(Counter::CollectDroppedGeneve),
    }
}

#[inline(always)]
fn address(bytes: Bytes, family: Family, offset: usize) -> Option<Words> {
    Some(match family {
        Family::V4 => {
            let h = bytes.halves::<2>(offset)?;
            [word(h[0], h[1]), 0, 0, 0]
        }
        Family::V6 => {
            let h = bytes.halves::<8>(offset)?;
            [
                word(h[0], h[1]),
                word(h[2], h[3]),
                word(h[4], h[5]),
                word(h[6], h[7]),
            ]
        }
    })
}
