//! The maps, typed: one writer, the agent; what was written by an agent before can be listed.

mod plain;
mod prefixes;
mod records;
mod shape;

use aya::Ebpf;
use aya::maps::{Array, DevMap, Map, MapData, MapError, PerCpuArray, XskMap};
use xsteer_abi::maps::{Address, Config, ConnectionKey, PortRecord, RuleSet, Target};

use crate::error::KernelError;
use crate::heartbeat::Heartbeats;

pub use plain::Plain;
pub use prefixes::{Exempt, Selector, Selectors};
pub use records::Records;

pub(crate) use plain::Raw;
pub(crate) use shape::{NAMES, check};

/// Every map of the object, taken from it.
pub(crate) struct Maps {
    pub(crate) config: Array<MapData, Raw<Config>>,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) gates: DevMap<MapData>,
    pub(crate) gate_ifindex: Array<MapData, u32>,
    pub(crate) sockets: XskMap<MapData>,
    pub(crate) ports: Records<u32, PortRecord>,
    pub(crate) selectors: Selectors,
    pub(crate) rule_sets: Records<u32, RuleSet>,
    pub(crate) exempt: Exempt,
    pub(crate) nodes: Records<Address, u32>,
    pub(crate) targets: Records<Address, Target>,
    pub(crate) opened: Records<ConnectionKey, u64>,
    pub(crate) counters: PerCpuArray<MapData, u64>,
}

impl Maps {
    /// Takes the maps out of the object; reads what is in `SELECTORS`.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            config: take(ebpf, "CONFIG")?,
            heartbeats: heartbeats(ebpf)?,
            gates: take(ebpf, "GATES")?,
            gate_ifindex: take(ebpf, "GATE_IFINDEX")?,
            sockets: take(ebpf, "SOCKETS")?,
            ports: Records::new("PORTS", take(ebpf, "PORTS")?),
            selectors: Selectors::new(take(ebpf, "SELECTORS")?)?,
            rule_sets: Records::new("RULE_SETS", take(ebpf, "RULE_SETS")?),
            exempt: Exempt::new(take(ebpf, "EXEMPT")?),
            nodes: Records::new("NODES", take(ebpf, "NODES")?),
            targets: Records::new("TARGETS", take(ebpf, "TARGETS")?),
            opened: Records::new("OPENED", take(ebpf, "OPENED")?),
            counters: take(ebpf, "COUNTERS")?,
        })
    }
}

fn heartbeats(ebpf: &mut Ebpf) -> Result<Heartbeats, KernelError> {
    const NAME: &str = "HEARTBEATS";
    match ebpf.take_map(NAME) {
        Some(Map::Array(data)) => Heartbeats::map(std::os::fd::AsFd::as_fd(data.fd())),
        _ => Err(KernelError::Missing {
            what: "map",
            name: NAME,
        }),
    }
}

fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, KernelError> {
    ebpf.take_map(name)
        .and_then(|map| M::try_from(map).ok())
        .ok_or(KernelError::Missing { what: "map", name })
}

/// Names the map and what was tried on it.
pub(crate) fn failed<E: Into<MapError>>(
    map: &'static str,
    action: &'static str,
) -> impl Fn(E) -> KernelError {
    move |source| KernelError::Map {
        map,
        action,
        source: Box::new(source.into()),
    }
}

/// Turns "it was not there" into `false`.
pub(crate) fn removed(result: Result<(), MapError>) -> Result<bool, MapError> {
    match result {
        Ok(()) => Ok(true),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(false),
        Err(MapError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}
