//! A UMEM chunk that exactly one owner may touch.

use std::{
    fmt,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, Ordering},
};

use xsk_rs::FrameDesc;

/// Identity of a pool, and how many of its frames were dropped outside of it.
///
/// One per pool, never freed (4 bytes): frames refer to it, and may outlive the pool.
pub(super) struct PoolTag {
    pub(super) lost: AtomicU32,
}

/// One owned UMEM chunk and the window of packet bytes in it.
///
/// Linear: neither `Copy` nor `Clone`; it goes back by
/// [`PacketIo::put_frame`](super::PacketIo::put_frame) or into a TX ring. Dropping it anywhere else loses the chunk, and panics in debug builds.
pub struct Frame {
    /// First byte of the window; valid for `capacity` bytes.
    pub(super) start: NonNull<u8>,
    pub(super) len: u32,
    pub(super) capacity: u32,
    /// Number of the chunk in its UMEM.
    pub(super) chunk: u32,
    /// More frames of the same packet follow.
    pub(super) more: bool,
    /// The kernel's name of the window; its address cannot be changed.
    pub(super) desc: FrameDesc,
    pub(super) tag: &'static PoolTag,
}

// SAFETY: the frame is the only owner of its chunk's bytes (kept by `Pool`, which makes one frame
// per chunk at a time), and everything else in it is plain data; no thread is special to it.
unsafe impl Send for Frame {}

impl Frame {
    /// The bytes of the window.
    #[inline]
    #[must_use]
    pub fn data(&self) -> &[u8] {
        // SAFETY: `start` is valid for `capacity >= len` initialised bytes (mapped zeroed), which
        // only this frame may touch (`Pool` hands each chunk out once) and which stay mapped as
        // long as a frame is out (`Drop for Pool`).
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }

    /// The bytes of the window, to be written.
    #[inline]
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`; `&mut self` excludes every other reference to the bytes.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len as usize) }
    }

    /// Bytes in the window.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// The window has no bytes; such a frame cannot be transmitted.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes from the start of the window to the end of the chunk.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Moves the end of the window. Bytes that come in hold whatever was there before.
    ///
    /// The start cannot be moved: a received packet is sent from where it was received, and
    /// redirect has made the room for what is written before it.
    ///
    /// # Panics
    /// When `len` is more than [`capacity`](Self::capacity).
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        assert!(
            len <= self.capacity(),
            "{len} bytes in a frame of {}",
            self.capacity
        );
        self.len = len as u32;
    }

    /// This is the last frame of its packet.
    #[inline]
    #[must_use]
    pub fn is_last(&self) -> bool {
        !self.more
    }

    /// Ends the frame without giving its chunk to anybody: the caller has passed it on.
    #[inline]
    pub(super) fn release(self) -> u32 {
        let chunk = self.chunk;
        std::mem::forget(self);
        chunk
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.tag.lost.fetch_add(1, Ordering::Release);
        // While another panic unwinds, frames go down with it; a second panic would abort.
        debug_assert!(
            std::thread::panicking(),
            "frame {} dropped outside its pool",
            self.chunk
        );
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("chunk", &self.chunk)
            .field("len", &self.len)
            .field("more", &self.more)
            .finish_non_exhaustive()
    }
}
