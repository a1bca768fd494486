//! What steering says of a packet, and what it knows of one on the way.

use crate::drop::DropReason;
use crate::table::spec::{BackendSpec, PortId, ServicePathId};
use crate::wire::inner::Inner;

/// What happens to a packet. Except for `TooBig` and `Fragment` the frame is ready to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On the uplink: encapsulated towards another node.
    Encapsulated {
        /// The path it travels.
        path: ServicePathId,
    },
    /// On the gate: into a pod of this node.
    Delivered {
        /// The path it travels.
        path: ServicePathId,
        /// The pod's port.
        port: PortId,
    },
    /// On the gate: encapsulated towards another worker of this node.
    HandedOver {
        /// The path it travels.
        path: ServicePathId,
    },
    /// On the gate: back to the kernel's path.
    Continued,
    /// The sender must be told (ICMP) that only `mtu` bytes fit.
    TooBig {
        /// Largest inner packet, bytes.
        mtu: u16,
    },
    /// To be cut into inner fragments of at most `mtu` bytes, each encapsulated like the first.
    Fragment {
        /// Largest inner packet, bytes.
        mtu: u16,
        /// Where each of them goes.
        hop: Hop,
    },
    /// Not sent on.
    Drop(DropReason),
}

/// A packet on its way through the worker, as far as it has been looked at.
#[derive(Clone, Copy, Debug)]
pub struct Parsed {
    /// The inner packet's headers.
    pub inner: Inner,
    /// Offset of the inner IP header in the frame.
    pub offset: usize,
}

/// One hop that has been decided for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The path.
    pub path: ServicePathId,
    /// Service index: which function comes next.
    pub si: u8,
    /// Hop budget left, as written on the wire.
    pub ttl: u8,
    /// The pod that serves the function.
    pub backend: BackendSpec,
}
