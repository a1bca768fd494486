//! Which path and which pod: recorded flow, or else classifier, affinity and Maglev.

use std::net::IpAddr;

use xsteer_abi::Family;
use xsteer_abi::tag::Tag;

use super::{Arrival, FIRST_TTL, Hop, Parsed, Steering};
use crate::drop::DropReason;
use crate::flow::affinity::Client;
use crate::flow::fragment::FragmentKey;
use crate::flow::{Direction, Flow, Key, State};
use crate::table::ServicePath;
use crate::table::hash;
use crate::table::spec::{BackendSpec, ClassifierId, Decision, FailurePolicy, PortId};
use crate::wire::inner::{Fragment, Inner};

impl Steering {
    /// The hop of a packet that left the pod of `port`; `None` hands it back to the kernel's path.
    pub(super) fn choose(
        &mut self,
        tag: &Tag,
        port: PortId,
        parsed: &Parsed,
        now_ns: u64,
    ) -> Result<Option<Hop>, DropReason> {
        let inner = &parsed.inner;
        match inner.fragment {
            Fragment::None => self.choose_whole(tag, port, inner, now_ns),
            Fragment::First { id } => {
                let hop = self.choose_whole(tag, port, inner, now_ns)?;
                self.fragments.insert(fragment_key(inner, id), hop, now_ns);
                Ok(hop)
            }
            // Before its first fragment a later one has no ports to be matched on: the kernel's path.
            Fragment::Later { id } => Ok(self
                .fragments
                .get(&fragment_key(inner, id), now_ns)
                .flatten()),
        }
    }

    fn choose_whole(
        &mut self,
        tag: &Tag,
        port: PortId,
        inner: &Inner,
        now_ns: u64,
    ) -> Result<Option<Hop>, DropReason> {
        let key = Key {
            port,
            flow: inner.key,
        };
        if let Some(hop) = self.recorded(&key, inner, now_ns) {
            return Ok(Some(hop));
        }
        let Some(decision) = self.classify(ClassifierId(tag.classifier), inner) else {
            return Ok(None);
        };
        match self.decide(&key, decision, inner, now_ns) {
            Ok(hop) => {
                self.record(key, &hop, inner, now_ns)?;
                Ok(Some(hop))
            }
            Err(DropReason::NoBackend | DropReason::NoChain)
                if decision.policy == FailurePolicy::Open =>
            {
                Ok(None)
            }
            Err(reason) => Err(reason),
        }
    }

    /// The hop of an established flow, while its pod still serves.
    fn recorded(&mut self, key: &Key, inner: &Inner, now_ns: u64) -> Option<Hop> {
        let flow = self.flows.touch(key, now_ns)?;
        flow.state = next_state(Some(flow.state), inner.tcp_flags);
        let hop = self
            .table
            .path(flow.path)
            .and_then(|path| path.backend(flow.si, inner.family, flow.backend))
            .map(|backend| Hop {
                path: flow.path,
                si: flow.si,
                ttl: flow.ttl,
                backend: *backend,
            });
        if hop.is_none() {
            self.flows.remove(key);
        }
        hop
    }

    /// Classifies under the table that the packet was tagged with.
    fn classify(&self, id: ClassifierId, inner: &Inner) -> Option<Decision> {
        let classifier = self.table.classifier(id).or_else(|| {
            let mut before = self.previous.iter().rev();
            before.find_map(|table| table.classifier(id))
        })?;
        classifier.classify(inner.key.destination, inner.key.protocol, inner.key.dport)
    }

    fn decide(
        &mut self,
        key: &Key,
        decision: Decision,
        inner: &Inner,
        now_ns: u64,
    ) -> Result<Hop, DropReason> {
        let id = decision.path.ok_or(DropReason::NoChain)?;
        let table = std::sync::Arc::clone(&self.table);
        let path = table.path(id).ok_or(DropReason::NoChain)?;
        let si = path.len();
        let ttl = self.next_ttl(key, now_ns)?;
        let backend = self
            .pick(path, si, inner, now_ns)
            .ok_or(DropReason::NoBackend)?;
        Ok(Hop {
            path: id,
            si,
            ttl,
            backend,
        })
    }

    /// One less than the flow arrived with at this port, or a whole budget. RFC 8300 §2.2.
    fn next_ttl(&mut self, key: &Key, now_ns: u64) -> Result<u8, DropReason> {
        match self.arrivals.get(key, now_ns) {
            None => Ok(FIRST_TTL),
            Some(arrival) => match arrival.ttl.saturating_sub(1) {
                0 => Err(DropReason::TtlExpired),
                left => Ok(left),
            },
        }
    }

    /// The client's pinned pod while it serves, or else the one that consistent hashing names.
    fn pick(
        &mut self,
        path: &ServicePath,
        si: u8,
        inner: &Inner,
        now_ns: u64,
    ) -> Option<BackendSpec> {
        let family = inner.family;
        let Some(timeout) = path.affinity() else {
            return path.pick(si, family, hash::tuple(&inner.key)).copied();
        };
        let client = Client {
            path: path.id(),
            si,
            address: inner.key.source,
        };
        let pinned = self.affinity.touch(&client, now_ns, timeout);
        if let Some(backend) = pinned.and_then(|address| path.backend(si, family, address)) {
            return Some(*backend);
        }
        let backend = *path.pick(si, family, hash::client(inner.key.source))?;
        // Where the table is full, hashing names the same pod until pods change.
        self.unrecorded += u64::from(!self.affinity.pin(client, backend.address, now_ns, timeout));
        Some(backend)
    }

    fn record(
        &mut self,
        key: Key,
        hop: &Hop,
        inner: &Inner,
        now_ns: u64,
    ) -> Result<(), DropReason> {
        let previous = self.address_of(key.port, inner.family)?;
        let flow = Flow {
            path: hop.path,
            si: hop.si,
            backend: hop.backend.address,
            previous,
            previous_node: self.table.node().address,
            ttl: hop.ttl,
            direction: Direction::Forward,
            state: next_state(None, inner.tcp_flags),
            last_seen_ns: now_ns,
        };
        // Where the table is full, hashing names the same pod until pods change.
        self.unrecorded += u64::from(self.flows.insert(key, flow).is_err());
        Ok(())
    }

    /// Remembers with which hop budget a flow reached a port.
    pub(super) fn note_arrival(
        &mut self,
        port: PortId,
        arrival: &Arrival,
        inner: &Inner,
        now_ns: u64,
    ) {
        if matches!(inner.fragment, Fragment::Later { .. }) {
            return;
        }
        let key = Key {
            port,
            flow: inner.key,
        };
        let before = self.arrivals.get(&key, now_ns).map(|flow| flow.state);
        let flow = Flow {
            path: arrival.path,
            si: arrival.si,
            backend: arrival.previous,
            previous: arrival.previous,
            previous_node: arrival.previous_node,
            ttl: arrival.ttl,
            direction: Direction::Forward,
            state: next_state(before, inner.tcp_flags),
            last_seen_ns: now_ns,
        };
        self.unrecorded += u64::from(self.arrivals.insert(key, flow).is_err());
    }

    /// The address of a port's pod of the inner packet's family.
    pub(super) fn address_of(&self, port: PortId, family: Family) -> Result<IpAddr, DropReason> {
        let port = self.table.port(port).ok_or(DropReason::UnknownPort)?;
        let wanted = |a: &&IpAddr| a.is_ipv4() == (family == Family::V4);
        port.addresses
            .iter()
            .find(wanted)
            .copied()
            .ok_or(DropReason::UnknownPort)
    }
}

/// How long a flow may be idle, by the TCP flags seen so far. RFC 9293 §3.3.2, coarsely.
fn next_state(before: Option<State>, tcp_flags: Option<u8>) -> State {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    match (tcp_flags, before) {
        (None, _) => State::Brief,
        (Some(flags), _) if flags & (FIN | RST) != 0 => State::Closed,
        (Some(flags), _) if flags & SYN != 0 => State::Brief,
        (Some(_), Some(State::Closed)) => State::Closed,
        (Some(_), _) => State::Established,
    }
}

fn fragment_key(inner: &Inner, id: u32) -> FragmentKey {
    let protocol = match inner.family {
        Family::V4 => inner.key.protocol,
        // A later fragment may name an extension header instead.
        Family::V6 => 0,
    };
    FragmentKey {
        source: inner.key.source,
        destination: inner.key.destination,
        protocol,
        id,
    }
}
