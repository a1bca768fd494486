//! Writes over the room before the inner packet: outer headers, shim or tag.

use std::net::IpAddr;

use xsteer_abi::tag::{SHIM_LEN, SHIM_OFFSET, Shim, ShimVerdict, TAG_LEN, Tag, TagKind};
use xsteer_abi::{ETHERNET_LEN, Family, OPTION_VERSION, overhead};

use super::{Hop, Parsed};
use crate::drop::DropReason;
use crate::table::hash;
use crate::table::spec::{NextHopId, PortSpec};
use crate::table::{NextHop, SteeringTable};
use crate::wire::geneve::{self, Encapsulation, Template};

const _: () = assert!(
    OPTION_VERSION == 0,
    "flags and version share a byte in Encapsulation"
);

/// Outer headers towards another node.
pub(super) fn encapsulate(
    table: &SteeringTable,
    next_hop: NextHopId,
    hop: &Hop,
    previous: IpAddr,
    parsed: &Parsed,
    first: &mut [u8],
) -> Result<(), DropReason> {
    let next_hop = table.next_hop(next_hop).ok_or(DropReason::NoNextHop)?;
    let template = next_hop.template(parsed.inner.family);
    write_outer(template, hop, previous, parsed, first)
}

/// Outer headers towards this node itself, and the tag that deliver sends on to `gate`.
pub(super) fn handover(
    local: &NextHop,
    hop: &Hop,
    previous: IpAddr,
    parsed: &Parsed,
    first: &mut [u8],
    (gate, worker): (u32, u8),
) -> Result<(), DropReason> {
    write_outer(
        local.template(parsed.inner.family),
        hop,
        previous,
        parsed,
        first,
    )?;
    let tag = Tag {
        kind: TagKind::Handover,
        worker,
        port: gate,
        classifier: 0,
    };
    write(first, 0, &tag.emit())
}

fn write_outer(
    template: &Template,
    hop: &Hop,
    previous: IpAddr,
    parsed: &Parsed,
    first: &mut [u8],
) -> Result<(), DropReason> {
    let room = first
        .get_mut(..parsed.offset)
        .ok_or(DropReason::Truncated)?;
    let encapsulation = Encapsulation {
        path: hop.path.get(),
        flags: 0,
        ttl: hop.ttl,
        si: hop.si,
        target: hop.backend.address,
        previous,
        inner_len: parsed.inner.len,
        inner_tos: parsed.inner.tos,
        entropy: geneve::source_port(hash::tuple(&parsed.inner.key)),
    };
    template.emit(room, &encapsulation);
    Ok(())
}

/// Addresses of the pod's veth, and a shim that says into which pod.
pub(super) fn deliver(
    port: &PortSpec,
    parsed: &Parsed,
    first: &mut [u8],
) -> Result<(), DropReason> {
    write_shim(
        ShimVerdict::Pod,
        port,
        (port.pod_mac, port.host_mac),
        parsed,
        first,
    )
}

/// As the pod had sent it, and a shim that says through which host interface.
pub(super) fn hand_back(
    port: &PortSpec,
    parsed: &Parsed,
    first: &mut [u8],
) -> Result<(), DropReason> {
    write_shim(
        ShimVerdict::Continue,
        port,
        (port.host_mac, port.pod_mac),
        parsed,
        first,
    )
}

fn write_shim(
    verdict: ShimVerdict,
    port: &PortSpec,
    (destination, source): ([u8; 6], [u8; 6]),
    parsed: &Parsed,
    first: &mut [u8],
) -> Result<(), DropReason> {
    let room = parsed.offset.saturating_sub(ETHERNET_LEN);
    let room = u8::try_from(room).map_err(|_| DropReason::OuterMalformed)?;
    if usize::from(room) < SHIM_LEN {
        return Err(DropReason::OuterMalformed);
    }
    let shim = Shim {
        verdict,
        room,
        ifindex: port.ifindex,
    };
    write(first, 0, &destination)?;
    write(first, 6, &source)?;
    write(
        first,
        TAG_LEN,
        &parsed.inner.family.ethertype().to_be_bytes(),
    )?;
    write(first, SHIM_OFFSET, &shim.emit())
}

/// A frame of our own for a pod: room and shim as in [`deliver`]; the packet goes to the offset returned.
pub(super) fn frame_for_pod(
    port: &PortSpec,
    family: Family,
    first: &mut [u8],
) -> Result<usize, DropReason> {
    let offset = ETHERNET_LEN + overhead(family, Family::V4);
    let room = u8::try_from(offset - ETHERNET_LEN).map_err(|_| DropReason::NoFrame)?;
    let shim = Shim {
        verdict: ShimVerdict::Pod,
        room,
        ifindex: port.ifindex,
    };
    write(first, 0, &port.pod_mac)?;
    write(first, 6, &port.host_mac)?;
    write(first, TAG_LEN, &family.ethertype().to_be_bytes())?;
    write(first, SHIM_OFFSET, &shim.emit())?;
    Ok(offset)
}

fn write(frame: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), DropReason> {
    frame
        .get_mut(at..at + bytes.len())
        .ok_or(DropReason::Truncated)?
        .copy_from_slice(bytes);
    Ok(())
}
