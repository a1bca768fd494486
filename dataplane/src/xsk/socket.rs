//! The transmit half of one socket: TX ring, kick, completion ring.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, send},
};
use xsk_rs::{CompQueue, FrameDesc, TxQueue};

use super::{BATCH_SIZE, CHUNK_SIZE, MAX_PACKET_FRAMES, Packet, SocketStatistics, pool::Pool};

/// Kicks of one flush at the most: a ring of 2048 at 32 packets a kick (kernels before 6.17).
const MAX_KICKS: u32 = 64;

/// Own counters of one socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TransmitCount {
    pub(super) kicks: u64,
    pub(super) busy: u64,
    pub(super) link_down: u64,
    pub(super) ring_full: u64,
    pub(super) empty_frame: u64,
}

/// One socket's way out, and back.
pub(super) struct Transmitter {
    tx: TxQueue,
    completion: CompQueue,
    ring_size: u32,
    /// Frames in the TX ring, in flight, or in the completion ring.
    outstanding: usize,
    /// The last flush left frames in the ring that the kernel would not take.
    stalled: bool,
    count: TransmitCount,
}

impl Transmitter {
    /// Over the rings of one socket.
    pub(super) fn new(tx: TxQueue, completion: CompQueue, ring_size: u32) -> Self {
        let count = TransmitCount::default();
        Self {
            tx,
            completion,
            ring_size,
            outstanding: 0,
            stalled: false,
            count,
        }
    }

    /// Writes all frames of a packet into the TX ring, or none.
    #[inline]
    pub(super) fn transmit(&mut self, pool: &mut Pool, packet: Packet) -> Result<(), Packet> {
        if packet.has_empty_frame() {
            self.count.empty_frame += 1;
            return Err(packet);
        }
        let frames = packet.frames();
        // Ring space first: past this point the packet cannot be given back.
        if (self.tx.nb_free(frames as u32) as usize) < frames {
            self.count.ring_full += 1;
            return Err(packet);
        }
        let mut descs = [FrameDesc::default(); MAX_PACKET_FRAMES];
        let Packet { first, mut rest } = packet;
        descs[0] = pool.tx_desc(&first, frames > 1);
        pool.pass_on(first);
        for (i, frame) in rest.drain(..).enumerate() {
            descs[i + 1] = pool.tx_desc(&frame, i + 2 < frames);
            pool.pass_on(frame);
        }
        pool.put_list(rest);
        // SAFETY: each descriptor comes from a frame of this socket's UMEM that `pass_on` has just
        // ended, so the kernel becomes the chunk's only owner until its completion.
        let produced = unsafe { self.tx.produce(&descs[..frames]) };
        debug_assert_eq!(produced, frames, "the ring had room");
        self.outstanding += frames;
        Ok(())
    }

    /// Kicks until the TX ring is empty, the kernel makes no more progress, or enough is enough.
    pub(super) fn flush(&mut self) {
        self.stalled = false;
        if self.outstanding == 0 {
            return;
        }
        let mut waiting = self.waiting();
        for _ in 0..MAX_KICKS {
            if waiting == 0 || !self.tx.needs_wakeup() {
                return;
            }
            let goes_on = self.kick();
            let left = self.waiting();
            // EBUSY means that the device refused one packet: the next may pass. Without
            // progress the send buffer or the completion ring is full: reclaim comes first.
            self.stalled = left == waiting;
            if self.stalled || !goes_on {
                return;
            }
            waiting = left;
        }
    }

    /// Frames in the TX ring that the kernel has not taken yet.
    #[inline]
    fn waiting(&mut self) -> u32 {
        self.ring_size - self.tx.nb_free_exact()
    }

    /// One system call. `TxQueue::wakeup` does the same but hides what the kernel answers.
    fn kick(&mut self) -> bool {
        self.count.kicks += 1;
        match send(self.tx.fd().as_raw_fd(), &[], MsgFlags::MSG_DONTWAIT) {
            Ok(_) => true,
            Err(Errno::EAGAIN | Errno::EBUSY | Errno::ENOBUFS) => {
                self.count.busy += 1;
                true
            }
            Err(_) => {
                self.count.link_down += 1;
                false
            }
        }
    }

    /// Takes completed frames back into the pool.
    #[inline]
    pub(super) fn reclaim(&mut self, pool: &mut Pool) -> usize {
        let mut reclaimed = 0;
        while self.outstanding > 0 {
            let mut descs = [FrameDesc::default(); BATCH_SIZE];
            // SAFETY: the completion ring was made with the pool's UMEM (`Xsk::open`); the
            // descriptors are only written here.
            let n = unsafe { self.completion.consume(&mut descs) };
            for desc in &descs[..n] {
                // The address is the one submitted, anywhere inside its chunk.
                pool.put_chunk((desc.addr() / CHUNK_SIZE) as u32);
            }
            self.outstanding -= n;
            reclaimed += n;
            if n < descs.len() {
                break;
            }
        }
        reclaimed
    }

    /// Frames transmitted and not reclaimed.
    #[inline]
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The kernel would not take what is left in the ring.
    #[inline]
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Own counters.
    pub(super) fn count(&self) -> TransmitCount {
        self.count
    }

    /// The kernel's counters; zeros when it does not answer.
    pub(super) fn statistics(&self) -> SocketStatistics {
        let Ok(kernel) = self.tx.fd().xdp_statistics() else {
            return SocketStatistics::default();
        };
        SocketStatistics {
            rx_dropped: kernel.rx_dropped(),
            rx_ring_full: kernel.rx_ring_full(),
            fill_ring_empty: kernel.rx_fill_ring_empty_descs(),
            rx_invalid: kernel.rx_invalid_descs(),
            tx_invalid: kernel.tx_invalid_descs(),
        }
    }

    /// The socket.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the TX queue keeps its socket open as long as it lives, and the borrow of
        // `self` keeps the queue alive.
        unsafe { BorrowedFd::borrow_raw(self.tx.fd().as_raw_fd()) }
    }
}
