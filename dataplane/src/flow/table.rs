//! Decisions about flows: what a packet of a known flow does needs no lookup of selectors.

use std::net::IpAddr;

use super::slab::Slab;
use crate::table::spec::{PortId, ServicePathId};
use crate::wire::FlowKey;

const SECOND_NS: u64 = 1_000_000_000;
/// Slots looked at for a victim, at the most.
const EVICTION_WINDOW: usize = 64;

/// A flow at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The port.
    pub port: PortId,
    /// The inner packet's 5-tuple.
    pub flow: FlowKey,
}

/// Which way along the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the subject to the destination.
    Forward,
    /// An answer.
    Return,
}

/// How long a flow may be idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Half-open TCP and all other protocols: 60 s.
    Brief,
    /// Established TCP: 6 h.
    Established,
    /// Closed TCP: 10 s.
    Closed,
}

impl State {
    /// Idle time after which the flow is forgotten.
    #[must_use]
    pub const fn timeout_ns(self) -> u64 {
        match self {
            Self::Brief => 60 * SECOND_NS,
            Self::Established => 6 * 3600 * SECOND_NS,
            Self::Closed => 10 * SECOND_NS,
        }
    }
}

/// What was decided about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The service path.
    pub path: ServicePathId,
    /// Service index.
    pub si: u8,
    /// The pod it goes to.
    pub backend: IpAddr,
    /// The pod it came from.
    pub previous: IpAddr,
    /// The node of `previous`.
    pub previous_node: IpAddr,
    /// Hops left on service paths.
    pub ttl: u8,
    /// Which way along the path.
    pub direction: Direction,
    /// How long it may be idle.
    pub state: State,
    /// When its last packet was seen.
    pub last_seen_ns: u64,
}

impl Flow {
    /// Whether it has been idle for too long.
    #[must_use]
    pub const fn is_expired(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_seen_ns) >= self.state.timeout_ns()
    }
}

/// Bounds of a flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Flows in all.
    pub flows: usize,
    /// Flows of one port.
    pub flows_per_port: u32,
    /// Ports that have flows at one time.
    pub ports: usize,
}

impl Default for FlowLimits {
    /// A quarter of a million flows, as many for each port, of up to 1024 ports.
    fn default() -> Self {
        Self {
            flows: 262_144,
            flows_per_port: 262_144,
            ports: 1024,
        }
    }
}

/// A flow was not recorded: no room, and nothing that may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The whole table.
    Table,
    /// The port's share of it.
    Port,
}

/// Flows of the ports of one worker.
pub struct FlowTable {
    flows: Slab<Key, Flow>,
    per_port: Slab<PortId, u32>,
    quota: u32,
    /// Next slot that [`Self::expire`] looks at.
    sweep: u32,
    /// Next slot that eviction looks at.
    hand: u32,
}

impl FlowTable {
    /// An empty table; all memory is taken here.
    #[must_use]
    pub fn new(limits: FlowLimits) -> Self {
        Self {
            flows: Slab::new(limits.flows),
            per_port: Slab::new(limits.ports),
            quota: limits.flows_per_port,
            sweep: 0,
            hand: 0,
        }
    }

    /// How many flows it holds, expired ones that were not swept yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.flows.capacity()
    }

    /// The flow, unless it has expired.
    #[must_use]
    pub fn get(&self, key: &Key, now_ns: u64) -> Option<&Flow> {
        let slot = self.flows.find(key)?;
        let (_, flow) = self.flows.slot(slot)?;
        (!flow.is_expired(now_ns)).then_some(flow)
    }

    /// The flow with its time set to now, unless it has expired; the caller may change it.
    pub fn touch(&mut self, key: &Key, now_ns: u64) -> Option<&mut Flow> {
        let flow = self.flows.get_mut(key)?;
        if flow.is_expired(now_ns) {
            return None;
        }
        flow.last_seen_ns = now_ns;
        Some(flow)
    }

    /// Records or replaces a flow, seen at `flow.last_seen_ns`.
    ///
    /// Where there is no room, one that has expired, is closed or is brief goes: of the same port
    /// where the port has its share. An established one never does.
    ///
    /// # Errors
    /// No victim was found in a bounded search.
    pub fn insert(&mut self, key: Key, flow: Flow) -> Result<(), Full> {
        if let Some(known) = self.flows.get_mut(&key) {
            *known = flow;
            return Ok(());
        }
        let count = self.per_port.get_mut(&key.port).map_or(0, |count| *count);
        if count >= self.quota && !self.evict(Some(key.port), flow.last_seen_ns) {
            return Err(Full::Port);
        }
        let full = self.flows.len() == self.flows.capacity();
        if full && !self.evict(None, flow.last_seen_ns) {
            return Err(Full::Table);
        }
        let count = self.per_port.get_mut(&key.port).map_or(0, |count| *count);
        self.per_port
            .insert(key.port, count + 1)
            .map_err(|_| Full::Port)?;
        self.flows.insert(key, flow).map_err(|_| Full::Table)
    }

    /// Forgets a flow.
    pub fn remove(&mut self, key: &Key) -> Option<Flow> {
        let flow = self.flows.remove(key)?;
        let left = self.per_port.get_mut(&key.port).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            self.per_port.remove(&key.port);
        }
        Some(flow)
    }

    /// Looks at `budget` slots and forgets what has expired there; says how many flows.
    pub fn expire(&mut self, now_ns: u64, budget: usize) -> usize {
        let mut expired = 0;
        for _ in 0..budget.min(self.capacity()) {
            let found = self.flows.slot(self.sweep);
            if let Some(&(key, _)) = found.filter(|(_, flow)| flow.is_expired(now_ns)) {
                self.remove(&key);
                expired += 1;
            }
            self.sweep = (self.sweep + 1) % self.capacity() as u32;
        }
        expired
    }

    /// All flows, expired ones that were not swept yet included.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Flow)> {
        self.flows.iter()
    }

    /// Removes the flow that is missed least among those in the window; false if there is none.
    fn evict(&mut self, port: Option<PortId>, now_ns: u64) -> bool {
        let mut victim = None;
        for _ in 0..EVICTION_WINDOW.min(self.capacity()) {
            if let Some((key, flow)) = self.flows.slot(self.hand) {
                let rank = match flow.state {
                    _ if flow.is_expired(now_ns) => Some(0),
                    State::Closed => Some(1),
                    State::Brief => Some(2),
                    State::Established => None,
                };
                if let Some(rank) = rank.filter(|_| port.is_none_or(|port| port == key.port)) {
                    let candidate = (rank, flow.last_seen_ns, *key);
                    victim = match victim {
                        Some(v @ (r, seen, _)) if (r, seen) <= (rank, flow.last_seen_ns) => Some(v),
                        _ => Some(candidate),
                    };
                }
            }
            self.hand = (self.hand + 1) % self.capacity() as u32;
        }
        victim.is_some_and(|(_, _, key)| self.remove(&key).is_some())
    }
}

#[cfg(test)]
mod tests;
