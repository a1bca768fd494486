//! The workers' sign of life: one store into a memory-mapped BPF array, no system call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xsteer_abi::MAX_WORKERS;

use crate::error::KernelError;

/// `HEARTBEATS`, mapped into memory. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct Heartbeats {
    mapping: Arc<Mapping>,
}

/// One worker's place in [`Heartbeats`]; keeps the mapping alive by itself.
#[derive(Clone, Debug)]
pub struct HeartbeatCell {
    mapping: Arc<Mapping>,
    worker: u8,
}

impl Heartbeats {
    pub(crate) fn map(fd: BorrowedFd<'_>) -> Result<Self, KernelError> {
        let mapping = Mapping::new(fd).map_err(KernelError::Heartbeats)?;
        Ok(Self {
            mapping: Arc::new(mapping),
        })
    }

    /// The cell of `worker`.
    ///
    /// # Errors
    ///
    /// [`KernelError::WorkerOutOfRange`] from [`MAX_WORKERS`] on.
    pub fn cell(&self, worker: u8) -> Result<HeartbeatCell, KernelError> {
        if u32::from(worker) >= MAX_WORKERS {
            return Err(KernelError::WorkerOutOfRange { worker });
        }
        Ok(HeartbeatCell {
            mapping: Arc::clone(&self.mapping),
            worker,
        })
    }
}

impl HeartbeatCell {
    /// Says that the worker was alive at `now_ns` of `CLOCK_MONOTONIC_COARSE`; 0 says that it is gone.
    pub fn stamp(&self, now_ns: u64) {
        // Release: what the worker wrote before it said "alive" is visible to who sees the stamp.
        self.as_atomic().store(now_ns, Ordering::Release);
    }

    /// The word that entry reads.
    #[must_use]
    pub fn as_atomic(&self) -> &AtomicU64 {
        self.mapping.word(self.worker)
    }
}

/// Pages of the map, shared with the kernel.
#[derive(Debug)]
struct Mapping {
    words: NonNull<AtomicU64>,
}

/// Bytes of the array: its element size is a multiple of 8, so words stand side by side.
const MAPPING_LEN: usize = MAX_WORKERS as usize * size_of::<u64>();

// SAFETY: the memory is reached only through `&AtomicU64` and stays mapped until the last owner
// drops the mapping, on whatever thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared access is atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                MAPPING_LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { words })
    }

    fn word(&self, worker: u8) -> &AtomicU64 {
        let place = usize::from(worker);
        debug_assert!(place < MAX_WORKERS as usize);
        // SAFETY: `Heartbeats::cell` refuses workers from MAX_WORKERS on, so the word lies inside
        // the mapping.
        let word = unsafe { self.words.add(place) };
        // SAFETY: the mapping is page-aligned, lives as long as `self`, and is only ever
        // accessed atomically (the kernel's programs read whole words).
        unsafe { word.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly what `new` mapped, and no reference outlives `self`.
        unsafe { libc::munmap(self.words.as_ptr().cast(), MAPPING_LEN) };
    }
}
