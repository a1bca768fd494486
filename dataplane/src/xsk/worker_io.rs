//! Packet I/O over the two real sockets of a worker.

use std::{io, os::fd::BorrowedFd, time::Duration};

use xsk_rs::{FillQueue, FrameDesc, RxQueue};

use super::{
    BATCH_SIZE, CHUNK_SIZE, Frame, FrameCount, IoStatistics, Packet, PacketBatch, PacketIo, Side,
    Waker, pool::Pool, socket::Transmitter, wake::Sleeper,
};

/// Frames that refill leaves in the pool, for packets that the worker makes itself.
const RESERVE: usize = BATCH_SIZE;
/// Sleep while completions are outstanding that the kernel does not make: interface down.
const STALLED_SLEEP: Duration = Duration::from_millis(1);

/// The gate's receive half.
pub(super) struct Receiver {
    pub(super) rx: RxQueue,
    pub(super) fill: FillQueue,
    /// Frames in the fill or RX ring.
    filled: usize,
    /// The frames of a packet whose end has not arrived yet.
    partial: Option<Packet>,
    /// The rest of an oversized packet is being thrown away.
    skipping: bool,
    oversized: u64,
}

impl Receiver {
    pub(super) fn new(rx: RxQueue, fill: FillQueue) -> Self {
        Self {
            rx,
            fill,
            filled: 0,
            partial: None,
            skipping: false,
            oversized: 0,
        }
    }

    /// Joins a received frame to its packet; returns the packet when it is whole.
    #[inline]
    fn join(&mut self, pool: &mut Pool, frame: Frame) -> Option<Packet> {
        let more = frame.more;
        if self.skipping {
            self.skipping = more;
            pool.put(frame);
            return None;
        }
        let packet = match self.partial.take() {
            None => Packet {
                first: frame,
                rest: Vec::new(),
            },
            Some(mut packet) => match packet.push(frame, || pool.take_list()) {
                Ok(()) => packet,
                Err(frame) => {
                    self.oversized += 1;
                    self.skipping = more;
                    pool.put(frame);
                    pool.put_packet(packet);
                    return None;
                }
            },
        };
        if packet.is_incomplete() {
            self.partial = Some(packet);
            return None;
        }
        Some(packet)
    }
}

/// A worker's I/O: one UMEM, the gate's socket and the uplink's. Made by
/// [`Xsk::open`](super::Xsk::open), then moved into the worker's thread.
pub struct WorkerIo {
    // Sockets before the memory they use.
    receiver: Receiver,
    gate: Transmitter,
    uplink: Transmitter,
    sleeper: Sleeper,
    pool: Pool,
}

impl WorkerIo {
    pub(super) fn new(
        receiver: Receiver,
        gate: Transmitter,
        uplink: Transmitter,
        pool: Pool,
    ) -> io::Result<Self> {
        let sleeper = Sleeper::new(Some(gate.fd()))?;
        Ok(Self {
            receiver,
            gate,
            uplink,
            sleeper,
            pool,
        })
    }

    /// The gate's socket, for the loader to put into the socket map.
    #[must_use]
    pub fn gate_fd(&self) -> BorrowedFd<'_> {
        self.gate.fd()
    }

    fn transmitter(&mut self, side: Side) -> (&mut Transmitter, &mut Pool) {
        match side {
            Side::Gate => (&mut self.gate, &mut self.pool),
            Side::Uplink => (&mut self.uplink, &mut self.pool),
        }
    }
}

impl PacketIo for WorkerIo {
    fn receive(&mut self, out: &mut PacketBatch) -> usize {
        let before = out.len();
        let mut descs = [FrameDesc::default(); BATCH_SIZE];
        let room = out.room();
        // SAFETY: the RX ring was made with the pool's UMEM (`Xsk::open`); the descriptors are
        // only written here.
        let n = unsafe { self.receiver.rx.consume(&mut descs[..room]) };
        self.receiver.filled -= n;
        for desc in &descs[..n] {
            let chunk = (desc.addr() / CHUNK_SIZE) as u32;
            let frame = self
                .pool
                .make_frame(chunk, *desc, desc.lengths().data() as u32);
            if let Some(packet) = self.receiver.join(&mut self.pool, frame) {
                out.push(packet);
            }
        }
        out.len() - before
    }

    #[inline]
    fn transmit(&mut self, side: Side, packet: Packet) -> Result<(), Packet> {
        let (transmitter, pool) = self.transmitter(side);
        transmitter.transmit(pool, packet)
    }

    fn flush(&mut self) {
        self.gate.flush();
        self.uplink.flush();
    }

    fn reclaim(&mut self) -> usize {
        self.gate.reclaim(&mut self.pool) + self.uplink.reclaim(&mut self.pool)
    }

    fn refill(&mut self) {
        let receiver = &mut self.receiver;
        let room = receiver.fill.nb_free(BATCH_SIZE as u32) as usize;
        let mut want = room.min(self.pool.free().saturating_sub(RESERVE));
        while want > 0 {
            let n = want.min(BATCH_SIZE);
            let mut descs = [FrameDesc::default(); BATCH_SIZE];
            for desc in &mut descs[..n] {
                (_, *desc) = self.pool.take_chunk().expect("as many as were free");
            }
            // SAFETY: the chunks have just left the free list of this UMEM's pool: the kernel is
            // their only owner until it returns them in the RX ring.
            let produced = unsafe { receiver.fill.produce(&descs[..n]) };
            debug_assert_eq!(produced, n, "the ring had room");
            receiver.filled += n;
            want -= n;
        }
        if receiver.fill.needs_wakeup() {
            // Zero-copy drivers only. A failed poll is repeated by the next refill.
            let _next_time = receiver.fill.wakeup(receiver.rx.fd_mut(), 0);
        }
    }

    #[inline]
    fn take_frame(&mut self) -> Option<Frame> {
        self.pool.take()
    }

    #[inline]
    fn put_frame(&mut self, frame: Frame) {
        self.pool.put(frame);
    }

    #[inline]
    fn put(&mut self, packet: Packet) {
        self.pool.put_packet(packet);
    }

    fn packet_of(&mut self, bytes: &[u8]) -> Option<Packet> {
        self.pool.packet_of(bytes)
    }

    #[inline]
    fn outstanding(&self) -> usize {
        self.gate.outstanding() + self.uplink.outstanding()
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        if self.outstanding() == 0 {
            return self.sleeper.sleep(timeout);
        }
        if self.gate.is_stalled() || self.uplink.is_stalled() {
            return self.sleeper.sleep(timeout.min(STALLED_SLEEP));
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.sleeper.waker()
    }

    fn frames(&self) -> FrameCount {
        self.pool.count(self.receiver.filled + self.outstanding())
    }

    fn statistics(&self) -> IoStatistics {
        let (gate, uplink) = (self.gate.count(), self.uplink.count());
        IoStatistics {
            gate: self.gate.statistics(),
            uplink: self.uplink.statistics(),
            kicks: gate.kicks + uplink.kicks,
            busy: gate.busy + uplink.busy,
            link_down: gate.link_down + uplink.link_down,
            ring_full: gate.ring_full + uplink.ring_full,
            empty_frame: gate.empty_frame + uplink.empty_frame,
            rx_oversized: self.receiver.oversized,
        }
    }
}

impl Drop for WorkerIo {
    fn drop(&mut self) {
        if let Some(packet) = self.receiver.partial.take() {
            self.pool.put_packet(packet);
        }
    }
}
