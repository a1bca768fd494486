//! Keys and values of the BPF maps. Each is `repr(C)` without implicit padding.
//!
//! | map | kind | key | value | who reads |
//! |---|---|---|---|---|
//! | `CONFIG` | ARRAY of 1 | 0 | [`Config`] | redirect, collect |
//! | `HEARTBEATS` | ARRAY, mmapped | worker | u64 ns, `CLOCK_MONOTONIC_COARSE` | entry |
//! | `GATES` | DEVMAP | worker | ifindex of `xstN` | collect (XDP) |
//! | `GATE_IFINDEX` | ARRAY | worker | u32 ifindex of `xstN`, 0 = none | collect (tc) |
//! | `SOCKETS` | XSKMAP | worker | AF_XDP socket of `xstNw` | redirect |
//! | `PORTS` | HASH | ifindex of the host interface | [`PortRecord`] | entry, guard |
//! | `SELECTORS` | LPM_TRIE | [`SelectorKey`] | u32 rule-set id | entry |
//! | `RULE_SETS` | HASH | u32 rule-set id | [`RuleSet`] | entry |
//! | `EXEMPT` | LPM_TRIE | [`PrefixKey`] | u8 (1) | entry: never steered destinations |
//! | `NODES` | HASH | [`Address`] | u32 flags ([`NODE_LOCAL`]) | entry, collect |
//! | `TARGETS` | HASH | [`Address`] of a local pod | [`Target`] | collect |
//! | `OPENED` | LRU_HASH | [`ConnectionKey`] | u64 ns | written by guard |
//! | `COUNTERS` | PERCPU_ARRAY | [`crate::counters::Counter`] | u64 packets | agent |

use crate::Family;

/// Node-wide settings of the programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// 4 or 6: the family of the node addresses that steered packets travel between.
    pub outer_family: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Ifindex of the uplink.
    pub uplink: u32,
}

/// An address of either family; IPv4 stands in the first four bytes, the rest is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Address {
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// Network byte order.
    pub bytes: [u8; 16],
}

impl Address {
    /// An IPv4 address.
    #[must_use]
    pub const fn v4(a: [u8; 4]) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = a[0];
        bytes[1] = a[1];
        bytes[2] = a[2];
        bytes[3] = a[3];
        Self {
            family: Family::V4 as u8,
            reserved: [0; 3],
            bytes,
        }
    }

    /// An IPv6 address.
    #[must_use]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self {
            family: Family::V6 as u8,
            reserved: [0; 3],
            bytes,
        }
    }
}

/// Flag in the value of `NODES`: the address is this node's own.
pub const NODE_LOCAL: u32 = 1;

/// A pod's host interface that we attach to. Publishing a change is one write of this record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortRecord {
    /// Id of the port, as in the tag.
    pub port: u32,
    /// The pod's classifier; 0 = no selector takes its packets.
    pub classifier: u32,
    /// The worker that owns the port.
    pub worker: u32,
    /// Ifindex of that worker's gate, `xstN`.
    pub gate: u32,
}

/// Data of a key in `SELECTORS`: exact classifier and family, then the destination prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SelectorKey {
    /// The classifier.
    pub classifier: u32,
    /// 4 or 6.
    pub family: u8,
    /// Destination; IPv4 in the first four bytes.
    pub bytes: [u8; 16],
    /// Zero.
    pub reserved: [u8; 3],
}

/// Bits of a [`SelectorKey`] before the destination prefix.
pub const SELECTOR_KEY_EXACT_BITS: u32 = 40;

/// Data of a key in `EXEMPT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PrefixKey {
    /// 4 or 6.
    pub family: u8,
    /// Destination; IPv4 in the first four bytes.
    pub bytes: [u8; 16],
    /// Zero.
    pub reserved: [u8; 3],
}

/// Bits of a [`PrefixKey`] before the prefix.
pub const PREFIX_KEY_EXACT_BITS: u32 = 8;

/// Protocol number in a [`Rule`] that stands for every protocol (IPv6 hop-by-hop's number is
/// never a transport protocol).
pub const PROTOCOL_ANY: u8 = 0;
/// [`Rule::action`]: to the worker.
pub const ACTION_DIVERT: u8 = 0;
/// [`Rule::action`]: drop at once (the chain is missing and the selector says Closed).
pub const ACTION_DROP: u8 = 1;
/// [`Rule::policy`]: drop while the worker is not alive.
pub const POLICY_CLOSED: u8 = 0;
/// [`Rule::policy`]: pass unsteered while the worker is not alive.
pub const POLICY_OPEN: u8 = 1;

/// One rule of a prefix. The first rule of a set that fits a packet decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Rule {
    /// IP protocol number, or [`PROTOCOL_ANY`].
    pub protocol: u8,
    /// [`ACTION_DIVERT`] or [`ACTION_DROP`].
    pub action: u8,
    /// [`POLICY_CLOSED`] or [`POLICY_OPEN`].
    pub policy: u8,
    /// Zero.
    pub reserved: u8,
    /// First destination port; 0..=65535 stands for all ports.
    pub first_port: u16,
    /// Last destination port.
    pub last_port: u16,
}

impl Rule {
    /// Whether the rule takes a packet of `protocol` to `dport` (0 where the protocol has no ports).
    #[must_use]
    pub const fn matches(&self, protocol: u8, dport: u16) -> bool {
        (self.protocol == PROTOCOL_ANY || self.protocol == protocol)
            && self.first_port <= dport
            && dport <= self.last_port
    }
}

/// Rules of one set at the most; the compiler reports what does not fit.
pub const MAX_RULES: usize = 64;

/// The rules of one prefix, those of shorter prefixes merged in behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RuleSet {
    /// How many of `rules` hold.
    pub len: u32,
    /// In order of precedence.
    pub rules: [Rule; MAX_RULES],
}

impl Default for RuleSet {
    fn default() -> Self {
        const NONE: Rule = Rule {
            protocol: 0,
            action: 0,
            policy: 0,
            reserved: 0,
            first_port: 0,
            last_port: 0,
        };
        Self {
            len: 0,
            rules: [NONE; MAX_RULES],
        }
    }
}

/// Where collect sends what is for a local pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Target {
    /// Id of the pod's port.
    pub port: u32,
    /// The worker that owns it.
    pub worker: u32,
}

/// A connection opened towards a pod, seen from the outside. Ports in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ConnectionKey {
    /// Id of the pod's port.
    pub port: u32,
    /// The opener's transport port.
    pub sport: u16,
    /// The pod's transport port.
    pub dport: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The opener's address; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// The pod-side address; IPv4 in the first four bytes.
    pub destination: [u8; 16],
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::size_of;

    #[test]
    fn no_value_has_implicit_padding() {
        assert_eq!(size_of::<Config>(), 8);
        assert_eq!(size_of::<Address>(), 20);
        assert_eq!(size_of::<PortRecord>(), 16);
        assert_eq!(size_of::<SelectorKey>(), 24);
        assert_eq!(size_of::<PrefixKey>(), 20);
        assert_eq!(size_of::<Rule>(), 8);
        assert_eq!(size_of::<RuleSet>(), 4 + 8 * MAX_RULES);
        assert_eq!(size_of::<ConnectionKey>(), 44);
    }

    #[test]
    fn a_rule_matches_its_protocol_and_ports() {
        let https = Rule {
            protocol: 6,
            first_port: 443,
            last_port: 444,
            ..Rule::default()
        };
        assert!(https.matches(6, 443) && https.matches(6, 444));
        assert!(!https.matches(6, 442) && !https.matches(6, 445) && !https.matches(17, 443));
        let any = Rule {
            protocol: PROTOCOL_ANY,
            last_port: 65535,
            ..Rule::default()
        };
        assert!(any.matches(1, 0) && any.matches(6, 65535));
    }
}
