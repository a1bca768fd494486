//! One packet: steer, then send where the verdict says, or count why not.

use super::Stats;
use crate::drop::DropReason;
use crate::steer::{Steering, Verdict};
use crate::xsk::{Packet, PacketIo, Side};

/// What a packet meets in a worker.
pub(super) struct Forwarder<Io> {
    pub(super) io: Io,
    pub(super) steering: Steering,
    pub(super) stats: Stats,
}

impl<Io: PacketIo> Forwarder<Io> {
    /// Steers one packet and sends it where the verdict says.
    pub(super) fn forward(&mut self, mut packet: Packet, now_ns: u64) {
        let total_len = packet.total_len();
        let verdict = self
            .steering
            .steer(packet.first_mut().data_mut(), total_len, now_ns);
        match verdict {
            Verdict::Encapsulated { .. } => self.send(Side::Uplink, packet, &verdict),
            Verdict::Delivered { .. } | Verdict::HandedOver { .. } | Verdict::Continued => {
                self.send(Side::Gate, packet, &verdict);
            }
            Verdict::TooBig { mtu } => self.answer_too_big(packet, mtu, now_ns),
            Verdict::Fragment { mtu, hop } => self.send_pieces(packet, hop, mtu),
            Verdict::Drop(reason) => self.discard(packet, reason),
        }
    }

    /// Sends a packet and counts it as `verdict`, or as dropped where the ring is full.
    pub(super) fn send(&mut self, side: Side, packet: Packet, verdict: &Verdict) {
        match self.io.transmit(side, packet) {
            Ok(()) => self.stats.count(verdict),
            Err(packet) => self.discard(packet, DropReason::TransmitFull),
        }
    }

    /// Counts a packet as dropped; its frames go back to the pool.
    pub(super) fn discard(&mut self, packet: Packet, reason: DropReason) {
        self.stats.drop(reason);
        self.io.put(packet);
    }
}
