//! AF_XDP for one worker: a UMEM, the frames in it, and the two sockets that share it.
//!
//! The *gate* socket receives and transmits, the *uplink* socket only transmits. Frames are
//! linear: pool, worker or kernel owns each of them, never two at once, and
//! `free + held + kernel == total` holds at any time ([`FrameCount`]). A packet is one frame or
//! several (`XDP_PKT_CONTD`). All unsafe code of the dataplane lives in this module; nothing
//! unsafe leaves it. Programs and maps belong to the loader, not here.
//!
//! Kernel: `Documentation/networking/af_xdp.rst`, `net/xdp/xsk.c`.

mod error;
mod frame;
mod memory;
mod open;
mod packet;
mod pool;
mod socket;
mod sys;
mod wake;
mod worker_io;

#[cfg(test)]
mod tests;

use std::{io, time::Duration};

pub use error::XskError;
pub use frame::Frame;
pub use memory::{MemoryConfig, MemoryIo};
pub use open::{Mode, Xsk, XskConfig, XskInfo};
pub use packet::{Packet, PacketBatch};
pub use pool::FrameCount;
pub use wake::Waker;
pub use worker_io::WorkerIo;

/// Bytes of a UMEM chunk; the kernel refuses more than a page (`xdp_umem_reg`).
pub const CHUNK_SIZE: usize = 4096;
/// Bytes before a packet that the kernel keeps for XDP programs (`XDP_PACKET_HEADROOM`).
pub const XDP_HEADROOM: usize = 256;
/// Bytes that a frame from the pool can hold.
pub const FRAME_CAPACITY: usize = CHUNK_SIZE - XDP_HEADROOM;
/// Frames of one packet at the most: a linear part and 17 fragments (`MAX_SKB_FRAGS`).
pub const MAX_PACKET_FRAMES: usize = 18;
/// Packets of one batch at the most.
pub const BATCH_SIZE: usize = 64;

/// One of a worker's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The worker's veth pair: towards pods and back to the kernel.
    Gate,
    /// The interface to the underlay.
    Uplink,
}

/// What the kernel counts for one socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStatistics {
    /// Received packets dropped for other reasons than the rings.
    pub rx_dropped: u64,
    /// Received packets dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Received packets dropped because the fill ring was empty.
    pub fill_ring_empty: u64,
    /// Descriptors in the fill ring that the kernel refused.
    pub rx_invalid: u64,
    /// Descriptors in the TX ring that the kernel refused; each one loses a frame.
    pub tx_invalid: u64,
}

/// What a worker's I/O has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoStatistics {
    /// The gate socket, by the kernel.
    pub gate: SocketStatistics,
    /// The uplink socket, by the kernel.
    pub uplink: SocketStatistics,
    /// System calls that started a transmission.
    pub kicks: u64,
    /// Kicks that the kernel ended early (EAGAIN, EBUSY, ENOBUFS).
    pub busy: u64,
    /// Kicks refused because the interface is down (ENETDOWN) or gone (ENXIO).
    pub link_down: u64,
    /// Packets given back because the TX ring was full.
    pub ring_full: u64,
    /// Packets given back because one of their frames was empty.
    pub empty_frame: u64,
    /// Received packets dropped because they had more than [`MAX_PACKET_FRAMES`] frames, or
    /// because too many packets of several frames were held at once.
    pub rx_oversized: u64,
}

/// Packet input and output of one worker: real sockets ([`WorkerIo`]) or none ([`MemoryIo`]).
///
/// A cycle is `reclaim`, `refill`, `receive`, `transmit` per packet, `flush`.
pub trait PacketIo {
    /// Appends received packets of the gate to `out` until it is full; returns how many.
    fn receive(&mut self, out: &mut PacketBatch) -> usize;

    /// Writes a packet into the TX ring of `side`; [`flush`](Self::flush) sends it.
    ///
    /// # Errors
    /// Gives the packet back when the ring has no room for all of it, or when one of its frames
    /// is empty (the kernel would refuse that descriptor and never complete it).
    fn transmit(&mut self, side: Side, packet: Packet) -> Result<(), Packet>;

    /// Makes the kernel send what was transmitted since; bounded, what is left waits for the next.
    fn flush(&mut self);

    /// Takes frames whose transmission is complete back into the pool; returns how many.
    fn reclaim(&mut self) -> usize;

    /// Tops up the fill ring of the gate from the pool.
    fn refill(&mut self);

    /// Frames transmitted and not yet reclaimed.
    fn outstanding(&self) -> usize;

    /// Sleeps until the gate has packets, a [`Waker`] wakes, or `timeout` is over.
    ///
    /// Returns at once while completions are outstanding: a worker that sleeps on them starves
    /// its fill ring (0.36 instead of 1.2 Mpps).
    ///
    /// # Errors
    /// When epoll fails, which leaves the caller to poll.
    fn wait(&mut self, timeout: Duration) -> io::Result<()>;

    /// A handle that ends [`wait`](Self::wait) from any thread.
    fn waker(&self) -> Waker;

    /// Where the frames are.
    fn frames(&self) -> FrameCount;

    /// What was counted so far; a system call per socket.
    fn statistics(&self) -> IoStatistics;

    /// A free frame, empty, its window at its usual start, if there is one.
    fn take_frame(&mut self) -> Option<Frame>;

    /// Gives a frame back to the pool.
    ///
    /// # Panics
    /// When the frame belongs to another I/O object.
    fn put_frame(&mut self, frame: Frame);

    /// Drops a packet: all its frames go back to the pool.
    ///
    /// # Panics
    /// When the packet belongs to another I/O object.
    fn put(&mut self, packet: Packet);

    /// A packet that holds a copy of `bytes`, in as many frames as it takes.
    ///
    /// `None` when frames run short, or `bytes` is empty or too long for one packet.
    fn packet_of(&mut self, bytes: &[u8]) -> Option<Packet>;
}
