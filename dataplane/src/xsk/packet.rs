//! A packet as one frame or several, and a batch of packets.

use super::{BATCH_SIZE, Frame, MAX_PACKET_FRAMES};

/// A received packet, or one to be sent: headers in the first frame, the rest in up to 17 more.
///
/// As linear as its frames: transmit it, or give it back by `put`.
#[derive(Debug)]
pub struct Packet {
    pub(super) first: Frame,
    /// Without heap memory for a packet of one frame; else from the pool's spares.
    pub(super) rest: Vec<Frame>,
}

impl Packet {
    /// A packet of one frame.
    #[inline]
    #[must_use]
    pub fn single(mut frame: Frame) -> Self {
        frame.more = false;
        Self {
            first: frame,
            rest: Vec::new(),
        }
    }

    /// The first frame: tag or headers.
    #[inline]
    #[must_use]
    pub fn first(&self) -> &Frame {
        &self.first
    }

    /// The first frame, to be written.
    #[inline]
    #[must_use]
    pub fn first_mut(&mut self) -> &mut Frame {
        &mut self.first
    }

    /// The frames behind the first, in order.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &[Frame] {
        &self.rest
    }

    /// Frames of the packet, which is also its descriptors in a TX ring.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> usize {
        1 + self.rest.len()
    }

    /// Bytes of the whole packet.
    #[inline]
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.rest
            .iter()
            .fold(self.first.len(), |sum, frame| sum + frame.len())
    }

    /// One of the frames is empty: the kernel would refuse it.
    #[inline]
    pub(super) fn has_empty_frame(&self) -> bool {
        self.first.is_empty() || self.rest.iter().any(Frame::is_empty)
    }

    /// The last frame says that another one follows.
    #[inline]
    pub(super) fn is_incomplete(&self) -> bool {
        self.rest.last().unwrap_or(&self.first).more
    }

    /// Appends a frame; `spare` supplies the list for the second one.
    ///
    /// # Errors
    /// Gives the frame back when the packet is full or no spare list is left.
    pub(super) fn push(
        &mut self,
        frame: Frame,
        spare: impl FnOnce() -> Option<Vec<Frame>>,
    ) -> Result<(), Frame> {
        if self.rest.capacity() == 0 {
            match spare() {
                Some(list) => self.rest = list,
                None => return Err(frame),
            }
        }
        if self.frames() == MAX_PACKET_FRAMES {
            return Err(frame);
        }
        self.rest.last_mut().unwrap_or(&mut self.first).more = true;
        self.rest.push(frame);
        Ok(())
    }
}

/// Up to [`BATCH_SIZE`] packets, in order of their arrival. Allocates once.
///
/// Empty it into pool or rings before the I/O object it was filled from is dropped.
#[derive(Debug)]
pub struct PacketBatch {
    packets: Vec<Packet>,
}

impl PacketBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            packets: Vec::with_capacity(BATCH_SIZE),
        }
    }

    /// Packets in it.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// There is no packet in it.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Packets that it can still take.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        BATCH_SIZE - self.packets.len()
    }

    /// The packets, to be looked at or written.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Packet> {
        self.packets.iter_mut()
    }

    /// Takes the packets out, oldest first. What the iterator is not asked for is dropped,
    /// which is a bug: run it to its end.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Packet> {
        self.packets.drain(..)
    }

    /// Appends a packet; the caller has looked at [`room`](Self::room).
    #[inline]
    pub(super) fn push(&mut self, packet: Packet) {
        debug_assert!(self.room() > 0, "batch overrun");
        self.packets.push(packet);
    }
}

impl Default for PacketBatch {
    fn default() -> Self {
        Self::new()
    }
}
