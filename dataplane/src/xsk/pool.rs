//! The free frames of one UMEM, and the count of all others.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use xsk_rs::{FrameDesc, Umem};

use super::{
    BATCH_SIZE, CHUNK_SIZE, FRAME_CAPACITY, Frame, MAX_PACKET_FRAMES, Packet, XDP_HEADROOM,
    frame::PoolTag,
};

/// Lists for packets of several frames: a batch of them, and as many held by the worker.
const SPARE_LISTS: usize = 2 * BATCH_SIZE;

/// Where the frames of a UMEM are. `free + held + kernel == total` between any two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCount {
    /// In the pool.
    pub free: usize,
    /// Owned by the worker: received or taken, and neither transmitted nor given back.
    pub held: usize,
    /// In one of the kernel's rings or on their way through it.
    pub kernel: usize,
    /// All frames of the UMEM.
    pub total: usize,
    /// Of the held ones, those dropped outside the pool: a bug, gone until the next start.
    pub lost: usize,
}

impl FrameCount {
    /// Every frame has exactly one owner.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.free + self.held + self.kernel == self.total && self.lost <= self.held
    }
}

/// The bytes behind the frames.
enum Memory {
    /// Shared with the kernel; one descriptor per chunk, at the start of its window.
    Umem(Umem, Box<[FrameDesc]>),
    /// Plain memory, for I/O without sockets.
    Heap(NonNull<u8>, Layout),
}

// SAFETY: the heap block is owned by this value alone; its bytes are reached only through frames,
// of which there is one per chunk. `Umem` is `Send` by itself.
unsafe impl Send for Memory {}

/// The free frames of one UMEM.
///
/// Never handed out whole: two exchanged pools would give the kernel the wrong memory.
pub(super) struct Pool {
    memory: Memory,
    free: Vec<u32>,
    held: usize,
    total: usize,
    spares: Vec<Vec<Frame>>,
    tag: &'static PoolTag,
}

impl Pool {
    /// A pool over a UMEM and all its descriptors, in order of their chunks.
    pub(super) fn of_umem(umem: Umem, descs: Vec<FrameDesc>) -> Self {
        let total = descs.len();
        Self::new(Memory::Umem(umem, descs.into_boxed_slice()), total)
    }

    /// A pool over `total` chunks of plain memory.
    ///
    /// # Panics
    /// When `total` is zero or the memory is not to be had.
    pub(super) fn of_heap(total: usize) -> Self {
        assert!(total > 0, "a pool needs frames");
        let layout = Layout::from_size_align(total * CHUNK_SIZE, CHUNK_SIZE)
            .expect("a number of frames that fits into memory");
        // SAFETY: the layout's size is not zero (asserted above).
        let block = unsafe { alloc_zeroed(layout) };
        let block = NonNull::new(block).expect("memory for the frames");
        Self::new(Memory::Heap(block, layout), total)
    }

    fn new(memory: Memory, total: usize) -> Self {
        Self {
            memory,
            // Low chunks on top: they are handed out first.
            free: (0..total as u32).rev().collect(),
            held: 0,
            total,
            spares: (0..SPARE_LISTS)
                .map(|_| Vec::with_capacity(MAX_PACKET_FRAMES - 1))
                .collect(),
            tag: Box::leak(Box::new(PoolTag {
                lost: AtomicU32::new(0),
            })),
        }
    }

    /// A free frame, its window empty and at its usual start.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Frame> {
        let chunk = self.free.pop()?;
        let desc = self.desc(chunk);
        Some(self.make_frame(chunk, desc, 0))
    }

    /// Takes a frame back.
    ///
    /// # Panics
    /// When the frame belongs to another pool.
    #[inline]
    pub(super) fn put(&mut self, frame: Frame) {
        let chunk = self.pass_on(frame);
        self.free.push(chunk);
    }

    /// Takes all frames of a packet back.
    ///
    /// # Panics
    /// When the packet belongs to another pool.
    #[inline]
    pub(super) fn put_packet(&mut self, packet: Packet) {
        let Packet { first, mut rest } = packet;
        self.put(first);
        for frame in rest.drain(..) {
            self.put(frame);
        }
        self.put_list(rest);
    }

    /// A packet that holds a copy of `bytes`, in as many frames as it takes.
    ///
    /// `None` when frames run short, or `bytes` is empty or too long for one packet.
    pub(super) fn packet_of(&mut self, bytes: &[u8]) -> Option<Packet> {
        let mut pieces = bytes.chunks(FRAME_CAPACITY);
        let mut packet = Packet::single(self.filled(pieces.next()?)?);
        for piece in pieces {
            let Some(frame) = self.filled(piece) else {
                self.put_packet(packet);
                return None;
            };
            if let Err(frame) = packet.push(frame, || self.spares.pop()) {
                self.put(frame);
                self.put_packet(packet);
                return None;
            }
        }
        Some(packet)
    }

    fn filled(&mut self, bytes: &[u8]) -> Option<Frame> {
        let mut frame = self.take()?;
        frame.set_len(bytes.len());
        frame.data_mut().copy_from_slice(bytes);
        Some(frame)
    }

    /// Free frames.
    #[inline]
    #[must_use]
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Counts by owner; `kernel` is what the rings' owner knows to be in them.
    pub(super) fn count(&self, kernel: usize) -> FrameCount {
        let lost = self.tag.lost.load(Ordering::Acquire) as usize;
        FrameCount {
            free: self.free.len(),
            held: self.held,
            kernel,
            total: self.total,
            lost,
        }
    }

    /// The descriptor of a chunk with its window at the usual start.
    #[inline]
    fn desc(&self, chunk: u32) -> FrameDesc {
        match &self.memory {
            Memory::Umem(_, descs) => descs[chunk as usize],
            Memory::Heap(..) => FrameDesc::default(),
        }
    }

    /// A free chunk that leaves for the kernel.
    #[inline]
    pub(super) fn take_chunk(&mut self) -> Option<(u32, FrameDesc)> {
        let chunk = self.free.pop()?;
        Some((chunk, self.desc(chunk)))
    }

    /// A chunk that the kernel gives back empty.
    #[inline]
    pub(super) fn put_chunk(&mut self, chunk: u32) {
        debug_assert!(
            (chunk as usize) < self.total,
            "chunk {chunk} is not of this UMEM"
        );
        self.free.push(chunk);
    }

    /// A spare list for a packet of several frames.
    #[inline]
    pub(super) fn take_list(&mut self) -> Option<Vec<Frame>> {
        self.spares.pop()
    }

    /// Keeps the list of a packet for the next one.
    #[inline]
    pub(super) fn put_list(&mut self, list: Vec<Frame>) {
        debug_assert!(list.is_empty(), "a list with frames in it");
        if list.capacity() > 0 {
            self.spares.push(list);
        }
    }

    /// The frame goes to the kernel or the free list; returns its chunk.
    ///
    /// # Panics
    /// When the frame belongs to another pool: its chunk would get two owners here.
    #[inline]
    pub(super) fn pass_on(&mut self, frame: Frame) -> u32 {
        assert!(std::ptr::eq(frame.tag, self.tag), "a frame of another pool");
        self.held -= 1;
        frame.release()
    }

    /// A frame over a chunk that neither the free list nor the kernel owns any more.
    #[inline]
    pub(super) fn make_frame(&mut self, chunk: u32, mut desc: FrameDesc, len: u32) -> Frame {
        let (start, capacity) = match &self.memory {
            Memory::Umem(umem, _) => umem_window(umem, &mut desc),
            Memory::Heap(base, _) => heap_window(*base, chunk, self.total),
        };
        self.held += 1;
        // The kernel never reports more than the chunk holds; a window that ended outside it
        // would be unsound, so this is checked and not trusted.
        let len = len.min(capacity);
        Frame {
            start,
            len,
            capacity,
            chunk,
            more: desc.has_more_frames(),
            desc,
            tag: self.tag,
        }
    }

    /// The frame's descriptor with the frame's length, for a TX ring.
    #[inline]
    pub(super) fn tx_desc(&self, frame: &Frame, more: bool) -> FrameDesc {
        let mut desc = frame.desc;
        if let Memory::Umem(umem, _) = &self.memory {
            // SAFETY: the descriptor came from this UMEM (`pass_on` checks the pool of every frame
            // that is transmitted), and the chunk is owned by `frame`, whose bytes nobody
            // borrows now: the caller is about to give it away.
            let mut data = unsafe { umem.data_mut(&mut desc) };
            data.cursor().set_pos(frame.len());
        }
        // `XDP_PKT_CONTD`, by the frame's place: it may have been received in another.
        desc.set_options(u32::from(more));
        desc
    }
}

/// First byte of a descriptor's window, and bytes to the end of its chunk.
#[inline]
fn umem_window(umem: &Umem, desc: &mut FrameDesc) -> (NonNull<u8>, u32) {
    // SAFETY: the descriptor came from this UMEM's rings or from its creation, and the caller of
    // `make_frame` has taken the chunk from its last owner, so nobody else reaches the bytes.
    let mut data = unsafe { umem.data_mut(desc) };
    data.cursor().set_pos(CHUNK_SIZE);
    let window = data.contents_mut();
    (NonNull::from(&mut *window).cast(), window.len() as u32)
}

/// The window of a chunk in plain memory, placed as the kernel places it.
#[inline]
fn heap_window(base: NonNull<u8>, chunk: u32, total: usize) -> (NonNull<u8>, u32) {
    assert!((chunk as usize) < total, "chunk {chunk} of {total}");
    // SAFETY: the block has `total` chunks (`of_heap`) and `chunk` is one of them (asserted).
    let start = unsafe { base.add(chunk as usize * CHUNK_SIZE + XDP_HEADROOM) };
    (start, FRAME_CAPACITY as u32)
}

impl Drop for Pool {
    /// Frees the memory, unless frames are still out: then it stays mapped for good, because
    /// they can be read at any time.
    fn drop(&mut self) {
        let lost = self.tag.lost.load(Ordering::Acquire) as usize;
        let out = self.held - lost;
        match &self.memory {
            Memory::Umem(umem, _) if out > 0 => std::mem::forget(umem.clone()),
            Memory::Heap(base, layout) if out == 0 => {
                // SAFETY: allocated with this layout in `of_heap`, freed only here, and no frame
                // is left that could reach it (every one that left the pool is back or dropped).
                unsafe { dealloc(base.as_ptr(), *layout) }
            }
            _ => {}
        }
    }
}
