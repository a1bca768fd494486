//! Socket options of AF_XDP that neither xsk-rs nor nix knows.

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `XDP_OPTIONS` of `linux/if_xdp.h`: how the socket is bound.
const XDP_OPTIONS: libc::c_int = 8;
/// Flag in the answer to [`XDP_OPTIONS`].
const XDP_OPTIONS_ZEROCOPY: u32 = 1;
/// `XDP_MAX_TX_SKB_BUDGET` of `linux/if_xdp.h` (kernel 6.17): packets that one kick may send.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// Whether the socket is bound in zero-copy mode.
pub(super) fn is_zero_copy(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut flags = 0_u32;
    let mut len = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `flags`, which both live until it returns;
    // `fd` is open as long as it is borrowed.
    let answer = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            XDP_OPTIONS,
            (&raw mut flags).cast(),
            &raw mut len,
        )
    };
    if answer == 0 {
        Ok(flags & XDP_OPTIONS_ZEROCOPY != 0)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets one kick send up to `packets` instead of 32. Kernels before 6.17 refuse.
pub(super) fn set_tx_budget(fd: BorrowedFd<'_>, packets: u32) -> io::Result<()> {
    // SAFETY: the kernel reads the four bytes of `packets`, which live until it returns; `fd` is
    // open as long as it is borrowed.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const packets).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
