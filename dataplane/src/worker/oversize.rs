//! Packets too big for the uplink: an ICMP error for the sender, or inner fragments.

use super::forward::Forwarder;
use crate::drop::DropReason;
use crate::steer::{Cut, Hop, Verdict};
use crate::wire::fragment::Piece;
use crate::xsk::{Frame, Packet, PacketIo, Side};

impl<Io: PacketIo> Forwarder<Io> {
    /// Tells the pod that sent `packet` what fits, and drops it.
    pub(super) fn answer_too_big(&mut self, packet: Packet, mtu: u16, now_ns: u64) {
        let reason = match self.blank_frame() {
            None => DropReason::NoFrame,
            Some(mut frame) => {
                let (first, total_len) = (packet.first().data(), packet.total_len());
                let out = frame.data_mut();
                match self
                    .steering
                    .too_big_reply(first, total_len, mtu, now_ns, out)
                {
                    Some(len) => {
                        frame.set_len(len);
                        let told = Verdict::TooBig { mtu };
                        self.send(Side::Gate, Packet::single(frame), &told);
                        DropReason::TooBig
                    }
                    None => {
                        self.io.put_frame(frame);
                        DropReason::TooBigSilent
                    }
                }
            }
        };
        self.discard(packet, reason);
    }

    /// Cuts `packet` into inner fragments that fit and sends each like the whole.
    pub(super) fn send_pieces(&mut self, packet: Packet, hop: Hop, mtu: u16) {
        let (first, total_len) = (packet.first().data(), packet.total_len());
        let Some(cut) = self.steering.cut(first, total_len, hop, mtu) else {
            return self.discard(packet, DropReason::InnerMalformed);
        };
        for piece in self.steering.pieces(&cut) {
            match self.piece(&packet, &cut, &piece) {
                Ok(frame) => {
                    self.stats.pieces += 1;
                    let sent = Verdict::Encapsulated { path: hop.path };
                    self.send(Side::Uplink, Packet::single(frame), &sent);
                }
                Err(reason) => return self.discard(packet, reason),
            }
        }
        self.stats.count(&Verdict::Fragment { mtu, hop });
        self.io.put(packet);
    }

    /// One encapsulated piece in a frame of its own.
    fn piece(&mut self, packet: &Packet, cut: &Cut, piece: &Piece) -> Result<Frame, DropReason> {
        let mut frame = self.blank_frame().ok_or(DropReason::NoFrame)?;
        let copy = |at: usize, out: &mut [u8]| copy_out(packet, at, out);
        let first = packet.first().data();
        match self
            .steering
            .emit_piece(cut, piece, first, copy, frame.data_mut())
        {
            Ok(len) => {
                frame.set_len(len);
                Ok(frame)
            }
            Err(reason) => {
                self.io.put_frame(frame);
                Err(reason)
            }
        }
    }

    /// A free frame, its whole capacity open.
    fn blank_frame(&mut self) -> Option<Frame> {
        let mut frame = self.io.take_frame()?;
        frame.set_len(frame.capacity());
        Some(frame)
    }
}

/// Copies `out.len()` bytes of a packet from offset `at` on, across its frames; false where the
/// packet is shorter.
fn copy_out(packet: &Packet, mut at: usize, mut out: &mut [u8]) -> bool {
    for frame in std::iter::once(packet.first()).chain(packet.rest()) {
        let data = frame.data();
        if let Some(from) = data.get(at..) {
            let n = from.len().min(out.len());
            let (now, later) = out.split_at_mut(n);
            now.copy_from_slice(&from[..n]);
            out = later;
        }
        if out.is_empty() {
            return true;
        }
        at = at.saturating_sub(data.len());
    }
    out.is_empty()
}
