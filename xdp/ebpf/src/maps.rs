//! The maps, by the names that loader, agent and `abi::maps` know them by.
//!
//! Sizes are upper bounds of one node. Tables that only the agent writes are not preallocated:
//! an empty rule set would cost 516 bytes.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray, XskMap},
};
use xsteer_abi::{
    MAX_WORKERS,
    counters::Counter,
    maps::{Address, Config, ConnectionKey, PortRecord, PrefixKey, RuleSet, SelectorKey, Target},
};

/// Node-wide settings, at index 0.
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
/// Last sign of life of each worker, in nanoseconds of `CLOCK_MONOTONIC_COARSE`.
#[map]
pub static HEARTBEATS: Array<u64> = Array::with_max_entries(MAX_WORKERS, BPF_F_MMAPABLE);
/// The kernel end of each worker's gate, for XDP.
#[map]
pub static GATES: DevMap = DevMap::with_max_entries(MAX_WORKERS, 0);
/// Ifindex of the same, 0 for none, for tc: a DEVMAP belongs to the type of the first program that
/// names it, and the other type's load fails with a bare EINVAL (`__bpf_prog_map_compatible`,
/// kernel/bpf/core.c).
#[map]
pub static GATE_IFINDEX: Array<u32> = Array::with_max_entries(MAX_WORKERS, 0);
/// The socket of each worker on its gate.
#[map]
pub static SOCKETS: XskMap = XskMap::with_max_entries(MAX_WORKERS, 0);
/// Host interfaces that entry and guard act on, by ifindex.
#[map]
pub static PORTS: HashMap<u32, PortRecord> = HashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);
/// Rule-set id of each steered prefix of each classifier.
#[map]
pub static SELECTORS: LpmTrie<SelectorKey, u32> = LpmTrie::with_max_entries(1 << 20, 0);
/// Rule sets; never changed under an id in use.
#[map]
pub static RULE_SETS: HashMap<u32, RuleSet> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);
/// Destinations that are never steered.
#[map]
pub static EXEMPT: LpmTrie<PrefixKey, u8> = LpmTrie::with_max_entries(1 << 14, 0);
/// Addresses of the cluster's nodes.
#[map]
pub static NODES: HashMap<Address, u32> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);
/// Addresses of this node's pods that frames from the wire may be for.
#[map]
pub static TARGETS: HashMap<Address, Target> = HashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);
/// Connections opened towards pods, the least recently used forgotten first.
#[map]
pub static OPENED: LruHashMap<ConnectionKey, u64> = LruHashMap::with_max_entries(1 << 16, 0);
/// Packets by [`Counter`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// Counts one packet.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot is this CPU's own and the verifier knows its size; a program on top of
        // this one on the same CPU could at worst lose a count.
        unsafe { *slot += 1 }
    }
}
