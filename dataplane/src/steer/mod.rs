//! The decision: packet + table + flows -> [`Verdict`], the headers written in place.
//!
//! Follow a packet from `Steering::steer_from_pod` (it left a pod of this node) or
//! `Steering::steer_from_wire` (another node sent it to a pod of this node). Both parse, decide,
//! and write what the next hop needs over the room before the inner IP header; neither moves
//! the inner packet. Pure: no I/O, no clock, no allocation, no unsafe.
//!
//! Left out: rings and sending (`worker`), what a rule set means (`table::classifier`).
#![forbid(unsafe_code)]

mod choose;
mod emit;
mod oversize;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;

pub use oversize::Cut;
use oversize::IcmpBudget;
pub use verdict::{Hop, Parsed, Verdict};

use xsteer_abi::tag::{Tag, TagKind};
use xsteer_abi::{ETHERNET_LEN, Family, overhead};

use crate::drop::DropReason;
use crate::flow::affinity::AffinityTable;
use crate::flow::fragment::FragmentTable;
use crate::flow::{FlowLimits, FlowTable};
use crate::table::spec::{Generation, NextHopId, NextHopSpec, PortId, ServicePathId, Via};
use crate::table::{NextHop, SteeringTable};
use crate::wire::inner::{self, Inner};
use crate::wire::{ecn, geneve, mss};

/// Hop budget at the first classifier. RFC 8300 §2.2.
const FIRST_TTL: u8 = 63;
/// Tables kept beside the current one at the most.
const PREVIOUS_TABLES: usize = 4;
/// Fragmented packets that are remembered at a time.
const FRAGMENTS: usize = 4096;

/// Table and flow state of one worker.
pub struct Steering {
    worker: u8,
    table: Arc<SteeringTable>,
    /// Tables whose classifiers a tag may still name, the latest last.
    previous: Vec<Arc<SteeringTable>>,
    /// This node as a next hop: what is handed to another worker is addressed to ourselves.
    local: NextHop,
    flows: FlowTable,
    /// What was delivered to a port: the hop budget goes on when the same flow leaves it.
    arrivals: FlowTable,
    affinity: AffinityTable,
    /// What was decided for the first fragment of a packet.
    fragments: FragmentTable<Option<Hop>>,
    icmp: IcmpBudget,
    /// Flows and clients that found their table full.
    unrecorded: u64,
}

impl Steering {
    /// State of worker `worker`, with an empty table; `limits` bounds flows, arrivals and clients alike.
    #[must_use]
    pub fn new(worker: u8, table: Arc<SteeringTable>, limits: FlowLimits) -> Self {
        let local = itself(&table);
        Self {
            worker,
            table,
            local,
            previous: Vec::new(),
            flows: FlowTable::new(limits),
            arrivals: FlowTable::new(limits),
            affinity: AffinityTable::new(limits.flows),
            fragments: FragmentTable::new(FRAGMENTS),
            icmp: IcmpBudget::default(),
            unrecorded: 0,
        }
    }

    /// Takes a new table. Those before are kept for packets that were tagged under them, until
    /// [`Steering::retire`]: where a publish broke off, ports still name the classifiers of the
    /// table before its own.
    pub fn swap(&mut self, table: Arc<SteeringTable>) {
        self.local = itself(&table);
        let old = std::mem::replace(&mut self.table, table);
        if self.previous.len() == PREVIOUS_TABLES {
            // The oldest is what the ports name if no publish came to its flip.
            self.previous.remove(1);
        }
        self.previous.push(old);
    }

    /// Lets go of the tables before the current one.
    pub fn retire(&mut self) {
        self.previous.clear();
    }

    /// Number of the current table.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.table.generation()
    }

    /// The current table.
    #[must_use]
    pub fn table(&self) -> &SteeringTable {
        &self.table
    }

    /// The flows that left pods of this worker.
    #[must_use]
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// Flows and clients that found their table full, and are kept by hashing alone.
    #[must_use]
    pub fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    /// Removes what has timed out, a bounded piece of it.
    pub fn expire(&mut self, now_ns: u64, budget: usize) {
        self.flows.expire(now_ns, budget);
        self.arrivals.expire(now_ns, budget);
        self.affinity.expire(now_ns, budget);
    }

    /// Decides on a frame: `first` is its first descriptor, `total_len` the length of all.
    pub fn steer(&mut self, first: &mut [u8], total_len: usize, now_ns: u64) -> Verdict {
        let Some(tag) = first.first_chunk().and_then(Tag::parse) else {
            return Verdict::Drop(DropReason::Untagged);
        };
        let verdict = match tag.kind {
            TagKind::Pod => self.steer_from_pod(&tag, Family::V4, first, total_len, now_ns),
            TagKind::PodV6 => self.steer_from_pod(&tag, Family::V6, first, total_len, now_ns),
            TagKind::Wire => self.steer_from_wire(first, total_len, now_ns),
            TagKind::Handover => Err(DropReason::Untagged),
        };
        verdict.unwrap_or_else(Verdict::Drop)
    }

    /// A packet that left a pod of this node: flow, or else classify and choose; then send.
    fn steer_from_pod(
        &mut self,
        tag: &Tag,
        family: Family,
        first: &mut [u8],
        total_len: usize,
        now_ns: u64,
    ) -> Result<Verdict, DropReason> {
        let parsed = self.parse_pod(family, first, total_len)?;
        let port = PortId(tag.port);
        match self.choose(tag, port, &parsed, now_ns)? {
            Some(hop) => self.send(port, hop, &parsed, first, now_ns),
            None => self.hand_back(port, &parsed, first),
        }
    }

    /// Where redirect put the inner packet, and its headers.
    fn parse_pod(
        &self,
        family: Family,
        first: &[u8],
        total_len: usize,
    ) -> Result<Parsed, DropReason> {
        let offset = ETHERNET_LEN + overhead(family, self.outer());
        let packet = first.get(offset..).ok_or(DropReason::Truncated)?;
        let inner = inner::parse(packet, total_len.saturating_sub(offset))?;
        if inner.family != family {
            return Err(DropReason::InnerMalformed);
        }
        Ok(Parsed { inner, offset })
    }

    /// A packet that another node (or worker) sent to a pod of this node.
    fn steer_from_wire(
        &mut self,
        first: &mut [u8],
        total_len: usize,
        now_ns: u64,
    ) -> Result<Verdict, DropReason> {
        let outer = geneve::parse(first, total_len)?;
        if !self.table.is_node(outer.source) && outer.source != self.table.node().address {
            return Err(DropReason::ForeignSource);
        }
        let path = ServicePathId::new(outer.path).ok_or(DropReason::OuterMalformed)?;
        let port = self
            .table
            .target(outer.target)
            .ok_or(DropReason::UnknownTarget)?
            .id;
        let packet = first
            .get_mut(outer.inner_offset..)
            .ok_or(DropReason::Truncated)?;
        let inner = inner::parse(packet, outer.inner_len)?;
        if let Some(tos) = ecn::decapsulate(outer.outer_tos, inner.tos)? {
            ecn::set_tos(packet, tos);
        }
        let parsed = Parsed {
            inner,
            offset: outer.inner_offset,
        };
        let arrival = Arrival {
            path,
            si: outer.si,
            ttl: outer.ttl,
            previous: outer.previous,
            previous_node: outer.source,
        };
        self.deliver(port, arrival, &parsed, first, now_ns)
    }

    /// Sends towards the pod of `hop`: into it where it is ours, or else encapsulated.
    fn send(
        &mut self,
        from: PortId,
        hop: Hop,
        parsed: &Parsed,
        first: &mut [u8],
        now_ns: u64,
    ) -> Result<Verdict, DropReason> {
        self.clamp_mss(parsed, first);
        let previous = self.address_of(from, parsed.inner.family)?;
        match hop.backend.via {
            Via::Local(to) => {
                let arrival = Arrival {
                    path: hop.path,
                    si: hop.si,
                    ttl: hop.ttl,
                    previous,
                    previous_node: self.table.node().address,
                };
                let port = self.table.port(to).ok_or(DropReason::UnknownTarget)?;
                if port.worker == self.worker {
                    return self.deliver(to, arrival, parsed, first, now_ns);
                }
                let gate = port.gate;
                let worker = port.worker;
                emit::handover(&self.local, &hop, previous, parsed, first, (gate, worker))?;
                Ok(Verdict::HandedOver { path: hop.path })
            }
            Via::Remote(next_hop) => {
                if let Some(verdict) = self.check_size(&parsed.inner, hop) {
                    return Ok(verdict);
                }
                emit::encapsulate(&self.table, next_hop, &hop, previous, parsed, first)?;
                Ok(Verdict::Encapsulated { path: hop.path })
            }
        }
    }

    /// Into a pod of this worker; the port remembers the hop budget.
    fn deliver(
        &mut self,
        to: PortId,
        arrival: Arrival,
        parsed: &Parsed,
        first: &mut [u8],
        now_ns: u64,
    ) -> Result<Verdict, DropReason> {
        self.note_arrival(to, &arrival, &parsed.inner, now_ns);
        let port = self.table.port(to).ok_or(DropReason::UnknownPort)?;
        if port.worker != self.worker {
            return Err(DropReason::UnknownTarget);
        }
        emit::deliver(port, parsed, first)?;
        Ok(Verdict::Delivered {
            path: arrival.path,
            port: to,
        })
    }

    /// Back to the kernel's path, as if the worker had never seen it.
    fn hand_back(
        &self,
        port: PortId,
        parsed: &Parsed,
        first: &mut [u8],
    ) -> Result<Verdict, DropReason> {
        let port = self.table.port(port).ok_or(DropReason::UnknownPort)?;
        emit::hand_back(port, parsed, first)?;
        Ok(Verdict::Continued)
    }

    /// The largest inner packet of `family` that the uplink carries, bytes.
    #[must_use]
    pub fn inner_mtu(&self, family: Family) -> u16 {
        let overhead = overhead(family, self.outer());
        self.table
            .node()
            .mtu
            .saturating_sub(u16::try_from(overhead).unwrap_or(u16::MAX))
    }

    fn check_size(&self, inner: &Inner, hop: Hop) -> Option<Verdict> {
        let mtu = self.inner_mtu(inner.family);
        if inner.len <= usize::from(mtu) {
            None
        } else if inner.dont_fragment {
            Some(Verdict::TooBig { mtu })
        } else {
            Some(Verdict::Fragment { mtu, hop })
        }
    }

    /// Lowers the MSS that a SYN announces to what fits through the path's longest header.
    fn clamp_mss(&self, parsed: &Parsed, first: &mut [u8]) {
        if !self.table.node().clamp_mss || parsed.inner.tcp_flags.is_none() {
            return;
        }
        let family = parsed.inner.family;
        let headers = family.header_len() + 20;
        let fits = usize::from(self.inner_mtu(family)).saturating_sub(headers);
        if let (Some(packet), Ok(fits)) = (first.get_mut(parsed.offset..), u16::try_from(fits)) {
            mss::clamp(packet, parsed.inner.l4_offset, fits);
        }
    }

    fn outer(&self) -> Family {
        if self.table.node().address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}

/// This node as a next hop of its own.
fn itself(table: &SteeringTable) -> NextHop {
    let node = table.node();
    let spec = NextHopSpec {
        id: NextHopId(u32::MAX),
        address: node.address,
        mac: node.mac,
    };
    NextHop::build(spec, node).expect("an address is of its own family")
}

/// What a port learns when a packet is delivered to it.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    path: ServicePathId,
    si: u8,
    ttl: u8,
    previous: IpAddr,
    previous_node: IpAddr,
}
