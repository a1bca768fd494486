//! Tag and shim: the few bytes by which programs and worker talk about one packet.
//!
//! **Tag**, 12 bytes over the destination and source MAC of a frame on its way to the worker:
//! ```text
//!  0       2      3        4            8              12
//!  | magic | kind | worker | port       | classifier   |
//! ```
//! The first byte of the magic has the group bit set: no unicast MAC can look like a tag.
//!
//! **Shim**, 8 bytes right behind the Ethernet header of a frame that the worker sends on its gate:
//! ```text
//! 14      16        17     18            22
//!  | magic | verdict | room | ifindex    |
//! ```
//! `room` is how many bytes deliver cuts out between Ethernet and IP header (shim included).
//! Only a worker can write into a gate, so neither needs to be authenticated.

/// First two bytes of a tag, in memory order.
pub const TAG_MAGIC: [u8; 2] = [0xF1, 0x58];
/// First two bytes of a shim, in memory order.
pub const SHIM_MAGIC: [u8; 2] = [0x58, 0x53];
/// Bytes of a tag.
pub const TAG_LEN: usize = 12;
/// Bytes of a shim.
pub const SHIM_LEN: usize = 8;
/// Offset of the shim in a frame that the worker sends on its gate.
pub const SHIM_OFFSET: usize = super::ETHERNET_LEN;

/// Where a tagged frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TagKind {
    /// An IPv4 packet from a pod: room, then (at `overhead + 14`) the inner IP packet.
    Pod = 1,
    /// From the wire: outer IP header right behind the (overwritten) Ethernet header.
    Wire = 2,
    /// From another worker, encapsulated as on the wire; deliver turns it into [`TagKind::Wire`]
    /// and sends it to the gate whose ifindex stands in `port`.
    Handover = 3,
    /// An IPv6 packet from a pod. Told apart by the tag, since the room holds stale bytes.
    PodV6 = 4,
}

/// What entry and collect tell the worker about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Where the frame comes from.
    pub kind: TagKind,
    /// The worker that owns the port; redirect's key into the socket map.
    pub worker: u8,
    /// Id of the port the packet came from (pod) or goes to (wire); gate ifindex for a handover.
    pub port: u32,
    /// The classifier that selected the packet; 0 for frames from the wire.
    pub classifier: u32,
}

impl Tag {
    /// The 12 bytes of the tag.
    #[must_use]
    pub const fn emit(&self) -> [u8; TAG_LEN] {
        let p = self.port.to_ne_bytes();
        let c = self.classifier.to_ne_bytes();
        [
            TAG_MAGIC[0],
            TAG_MAGIC[1],
            self.kind as u8,
            self.worker,
            p[0],
            p[1],
            p[2],
            p[3],
            c[0],
            c[1],
            c[2],
            c[3],
        ]
    }

    /// Reads a tag; `None` where magic or kind say that it is none.
    #[must_use]
    pub const fn parse(b: &[u8; TAG_LEN]) -> Option<Self> {
        if b[0] != TAG_MAGIC[0] || b[1] != TAG_MAGIC[1] {
            return None;
        }
        let kind = match b[2] {
            1 => TagKind::Pod,
            2 => TagKind::Wire,
            3 => TagKind::Handover,
            4 => TagKind::PodV6,
            _ => return None,
        };
        Some(Self {
            kind,
            worker: b[3],
            port: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            classifier: u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
        })
    }
}

/// What deliver does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ShimVerdict {
    /// Into the pod behind the host interface `ifindex` (`bpf_redirect_peer`).
    Pod = 1,
    /// Back to the kernel's path, as if it had just come in on host interface `ifindex`.
    Continue = 2,
}

/// What the worker tells deliver about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shim {
    /// What to do.
    pub verdict: ShimVerdict,
    /// Bytes to cut out behind the Ethernet header, shim included.
    pub room: u8,
    /// Host interface of the pod.
    pub ifindex: u32,
}

impl Shim {
    /// The 8 bytes of the shim.
    #[must_use]
    pub const fn emit(&self) -> [u8; SHIM_LEN] {
        let i = self.ifindex.to_ne_bytes();
        [
            SHIM_MAGIC[0],
            SHIM_MAGIC[1],
            self.verdict as u8,
            self.room,
            i[0],
            i[1],
            i[2],
            i[3],
        ]
    }

    /// Reads a shim; `None` where magic or verdict say that it is none.
    #[must_use]
    pub const fn parse(b: &[u8; SHIM_LEN]) -> Option<Self> {
        if b[0] != SHIM_MAGIC[0] || b[1] != SHIM_MAGIC[1] {
            return None;
        }
        let verdict = match b[2] {
            1 => ShimVerdict::Pod,
            2 => ShimVerdict::Continue,
            _ => return None,
        };
        Some(Self {
            verdict,
            room: b[3],
            ifindex: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_reads_back_as_written() {
        for kind in [
            TagKind::Pod,
            TagKind::Wire,
            TagKind::Handover,
            TagKind::PodV6,
        ] {
            let tag = Tag {
                kind,
                worker: 3,
                port: 0x0102_0304,
                classifier: 77,
            };
            assert_eq!(Tag::parse(&tag.emit()), Some(tag));
        }
        assert_eq!(Tag::parse(&[0; TAG_LEN]), None);
    }

    #[test]
    fn a_shim_reads_back_as_written() {
        for verdict in [ShimVerdict::Pod, ShimVerdict::Continue] {
            let shim = Shim {
                verdict,
                room: 52,
                ifindex: 9,
            };
            assert_eq!(Shim::parse(&shim.emit()), Some(shim));
        }
        assert_eq!(Shim::parse(&[0; SHIM_LEN]), None);
    }
}
