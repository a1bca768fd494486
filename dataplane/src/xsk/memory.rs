//! Packet I/O without sockets: a test or a fuzzer plays the kernel.

use std::{collections::VecDeque, io, time::Duration};

use super::{
    BATCH_SIZE, Frame, FrameCount, IoStatistics, Packet, PacketBatch, PacketIo, Side, Waker,
    pool::Pool, wake::Sleeper,
};

/// Sizes of a [`MemoryIo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Frames in all.
    pub frames: usize,
    /// Frames that the fill ring holds.
    pub fill_ring: usize,
    /// Frames that each TX ring holds until a flush.
    pub tx_ring: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            frames: 512,
            fill_ring: 256,
            tx_ring: 256,
        }
    }
}

/// One TX ring and what left it.
#[derive(Default)]
struct MemoryRing {
    /// Transmitted, not flushed: chunks of each packet and its bytes.
    queued: Vec<(Vec<u32>, Vec<u8>)>,
    queued_frames: usize,
    /// Flushed, not yet complete or not yet reclaimed.
    in_flight: Vec<u32>,
    sent: Vec<Vec<u8>>,
}

/// Two sockets made of plain memory, with the same frames, packets and limits as the real ones.
pub struct MemoryIo {
    config: MemoryConfig,
    filled: VecDeque<u32>,
    arrived: VecDeque<Packet>,
    arrived_frames: usize,
    gate: MemoryRing,
    uplink: MemoryRing,
    completing: bool,
    statistics: IoStatistics,
    sleeper: Sleeper,
    pool: Pool,
}

impl MemoryIo {
    /// Rings of the given sizes, with all frames in the pool.
    ///
    /// # Errors
    /// When the process has no file descriptor left for the waker.
    pub fn new(config: MemoryConfig) -> io::Result<Self> {
        Ok(Self {
            config,
            filled: VecDeque::new(),
            arrived: VecDeque::new(),
            arrived_frames: 0,
            gate: MemoryRing::default(),
            uplink: MemoryRing::default(),
            completing: true,
            statistics: IoStatistics::default(),
            sleeper: Sleeper::new(None)?,
            pool: Pool::of_heap(config.frames),
        })
    }

    /// Plays the kernel: a packet arrives at the gate. False, and counted as the kernel counts
    /// it, when the fill ring has too few frames.
    pub fn deliver(&mut self, bytes: &[u8]) -> bool {
        let need = bytes.len().div_ceil(super::FRAME_CAPACITY);
        if need == 0 || self.filled.len() < need {
            self.statistics.gate.fill_ring_empty += 1;
            return false;
        }
        for chunk in self.filled.drain(..need) {
            self.pool.put_chunk(chunk);
        }
        let Some(packet) = self.pool.packet_of(bytes) else {
            self.statistics.rx_oversized += 1;
            return false;
        };
        self.arrived_frames += packet.frames();
        self.arrived.push_back(packet);
        true
    }

    /// What was flushed on one side since the last call, oldest first.
    pub fn sent(&mut self, side: Side) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.ring(side).sent)
    }

    /// Whether flushed frames complete at once (the default) or stay in flight.
    pub fn set_completing(&mut self, completing: bool) {
        self.completing = completing;
    }

    fn ring(&mut self, side: Side) -> &mut MemoryRing {
        match side {
            Side::Gate => &mut self.gate,
            Side::Uplink => &mut self.uplink,
        }
    }
}

impl PacketIo for MemoryIo {
    fn receive(&mut self, out: &mut PacketBatch) -> usize {
        let n = out.room().min(self.arrived.len());
        for packet in self.arrived.drain(..n) {
            self.arrived_frames -= packet.frames();
            out.push(packet);
        }
        n
    }

    fn transmit(&mut self, side: Side, packet: Packet) -> Result<(), Packet> {
        let limit = self.config.tx_ring;
        if packet.has_empty_frame() {
            self.statistics.empty_frame += 1;
            return Err(packet);
        }
        if self.ring(side).queued_frames + packet.frames() > limit {
            self.statistics.ring_full += 1;
            return Err(packet);
        }
        let mut bytes = packet.first().data().to_vec();
        packet
            .rest()
            .iter()
            .for_each(|frame| bytes.extend_from_slice(frame.data()));
        let Packet { first, mut rest } = packet;
        let mut chunks = vec![self.pool.pass_on(first)];
        chunks.extend(rest.drain(..).map(|frame| self.pool.pass_on(frame)));
        self.pool.put_list(rest);
        let ring = self.ring(side);
        ring.queued_frames += chunks.len();
        ring.queued.push((chunks, bytes));
        Ok(())
    }

    fn flush(&mut self) {
        for ring in [&mut self.gate, &mut self.uplink] {
            self.statistics.kicks += u64::from(!ring.queued.is_empty());
            ring.queued_frames = 0;
            for (chunks, bytes) in ring.queued.drain(..) {
                ring.in_flight.extend(chunks);
                ring.sent.push(bytes);
            }
        }
    }

    fn reclaim(&mut self) -> usize {
        if !self.completing {
            return 0;
        }
        let before = self.pool.free();
        for ring in [&mut self.gate, &mut self.uplink] {
            ring.in_flight
                .drain(..)
                .for_each(|chunk| self.pool.put_chunk(chunk));
        }
        self.pool.free() - before
    }

    fn refill(&mut self) {
        let reserve = BATCH_SIZE.min(self.config.frames / 4);
        while self.filled.len() < self.config.fill_ring && self.pool.free() > reserve {
            let (chunk, _) = self
                .pool
                .take_chunk()
                .expect("more than the reserve is free");
            self.filled.push_back(chunk);
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

    fn outstanding(&self) -> usize {
        let frames = |ring: &MemoryRing| ring.queued_frames + ring.in_flight.len();
        frames(&self.gate) + frames(&self.uplink)
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        if self.outstanding() > 0 || !self.arrived.is_empty() {
            return Ok(());
        }
        self.sleeper.sleep(timeout)
    }

    fn waker(&self) -> Waker {
        self.sleeper.waker()
    }

    fn frames(&self) -> FrameCount {
        // Frames of arrived packets are made already, but still stand for the RX ring.
        let mut count = self.pool.count(self.filled.len() + self.outstanding());
        count.held -= self.arrived_frames;
        count.kernel += self.arrived_frames;
        count
    }

    fn statistics(&self) -> IoStatistics {
        self.statistics
    }
}

impl Drop for MemoryIo {
    fn drop(&mut self) {
        for packet in self.arrived.drain(..) {
            self.pool.put_packet(packet);
        }
    }
}
