//! Packets that do not fit the uplink once encapsulated: tell the sender, or cut them.
//!
//! The slow path of [`super::Verdict::TooBig`] and [`super::Verdict::Fragment`]; the worker
//! brings the frames. RFC 1191, RFC 8201, RFC 791 §2.3.

use std::net::IpAddr;

use xsteer_abi::tag::{Tag, TagKind};
use xsteer_abi::{ETHERNET_LEN, Family, overhead};

use super::{Hop, Parsed, Steering, Via, emit};
use crate::drop::DropReason;
use crate::table::spec::PortId;
use crate::wire::fragment::{self, Piece};
use crate::wire::icmp;

/// ICMP errors per second at the most, and how many of them in one burst.
const ICMP_PER_SECOND: u64 = 1000;
const ICMP_BURST: u64 = 100;
/// A piece stands in one frame: a 4096-byte chunk less headroom, outer headers and slack.
const LARGEST_PIECE: u16 = 3584;
const NS_PER_ICMP: u64 = 1_000_000_000 / ICMP_PER_SECOND;

/// Token bucket for ICMP errors. RFC 1812 §4.3.2.8.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IcmpBudget {
    spent_until_ns: u64,
}

impl IcmpBudget {
    fn take(&mut self, now_ns: u64) -> bool {
        let floor = now_ns.saturating_sub(ICMP_BURST * NS_PER_ICMP);
        let next = self.spent_until_ns.max(floor) + NS_PER_ICMP;
        let granted = next <= now_ns;
        if granted {
            self.spent_until_ns = next;
        }
        granted
    }
}

/// What the worker needs to cut a packet.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    from: PortId,
    hop: Hop,
    parsed: Parsed,
    mtu: u16,
}

impl Steering {
    /// Writes the ICMP error for the pod that sent `first` into `out`, ready for the gate.
    /// Returns the length of the frame; `None` where no error may be sent.
    pub fn too_big_reply(
        &mut self,
        first: &[u8],
        total_len: usize,
        mtu: u16,
        now_ns: u64,
        out: &mut [u8],
    ) -> Option<usize> {
        let (tag, parsed) = self.parse_again(first, total_len)?;
        if !self.icmp.take(now_ns) {
            return None;
        }
        let family = parsed.inner.family;
        let node = self.table.node().address;
        let same = node.is_ipv4() == (family == Family::V4);
        let source = if same {
            node
        } else {
            parsed.inner.key.destination
        };
        let port = self.table.port(PortId(tag.port))?;
        let offset = emit::frame_for_pod(port, family, out).ok()?;
        let packet = first.get(parsed.offset..)?;
        let len = icmp::packet_too_big(packet, &parsed.inner, source, mtu, out.get_mut(offset..)?)?;
        Some(offset + len)
    }

    /// What is needed to cut the packet in `first`; `hop` and `mtu` are the verdict's.
    #[must_use]
    pub fn cut(&self, first: &[u8], total_len: usize, hop: Hop, mtu: u16) -> Option<Cut> {
        let (tag, parsed) = self.parse_again(first, total_len)?;
        Some(Cut {
            from: PortId(tag.port),
            hop,
            parsed,
            mtu: mtu.min(LARGEST_PIECE),
        })
    }

    /// The pieces of a packet that is cut.
    pub fn pieces(&self, cut: &Cut) -> impl Iterator<Item = Piece> + use<> {
        let header = cut.parsed.inner.l4_offset;
        fragment::plan(&cut.parsed.inner, header, usize::from(cut.mtu))
    }

    /// Writes one encapsulated piece into `out`; `copy(offset, bytes)` fills `bytes` from the
    /// original frame at `offset`. Returns the length of the frame.
    ///
    /// # Errors
    /// Where the next hop is gone or `out` is too small.
    pub fn emit_piece(
        &self,
        cut: &Cut,
        piece: &Piece,
        first: &[u8],
        copy: impl Fn(usize, &mut [u8]) -> bool,
        out: &mut [u8],
    ) -> Result<usize, DropReason> {
        let Parsed { mut inner, offset } = cut.parsed;
        let header = first
            .get(offset..offset + inner.l4_offset)
            .ok_or(DropReason::Truncated)?;
        let target = out.get_mut(offset..).ok_or(DropReason::NoFrame)?;
        let header_len =
            fragment::emit_header(header, *piece, target).ok_or(DropReason::NoFrame)?;
        let end = header_len + piece.len;
        let payload = target.get_mut(header_len..end).ok_or(DropReason::NoFrame)?;
        let payload_at = offset + inner.l4_offset + piece.offset_in_payload;
        if !copy(payload_at, payload) {
            return Err(DropReason::Truncated);
        }
        inner.len = end;
        let parsed = Parsed { inner, offset };
        let Via::Remote(next_hop) = cut.hop.backend.via else {
            return Err(DropReason::NoNextHop);
        };
        let previous: IpAddr = self.address_of(cut.from, inner.family)?;
        emit::encapsulate(&self.table, next_hop, &cut.hop, previous, &parsed, out)?;
        Ok(offset + end)
    }

    fn parse_again(&self, first: &[u8], total_len: usize) -> Option<(Tag, Parsed)> {
        let tag = first.first_chunk().and_then(Tag::parse)?;
        let family = match tag.kind {
            TagKind::Pod => Family::V4,
            TagKind::PodV6 => Family::V6,
            TagKind::Wire | TagKind::Handover => return None,
        };
        debug_assert!(overhead(family, Family::V4) + ETHERNET_LEN <= first.len());
        Some((tag, self.parse_pod(family, first, total_len).ok()?))
    }
}
