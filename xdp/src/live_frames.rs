//! A traffic generator of a few instructions: `BPF_PROG_TEST_RUN` with live frames.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::KernelError;
use crate::sys::{bpf, number, owned};

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_FUNC_REDIRECT: i32 = 23;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
/// Frames that the kernel makes and sends at once; its own default.
const BATCH: u32 = 64;

/// Sends copies of a frame out of one interface, millions a second from one core.
///
/// For benches and tests. The interface must offer `ndo_xdp_xmit`; of a veth pair the *other* end
/// must be up and have NAPI (`ethtool -K other gro on`, or a native XDP program), else the kernel
/// drops every frame without a word.
pub struct LiveFrames {
    program: OwnedFd,
}

/// `struct { prog_type; insn_cnt; insns; license }` of `union bpf_attr`.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// `struct { prog_fd; … } test` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct TestAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

impl LiveFrames {
    /// Loads a program that redirects to `ifindex` of the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`KernelError::Inject`] without CAP_BPF and CAP_NET_ADMIN.
    pub fn new(ifindex: u32) -> Result<Self, KernelError> {
        let instructions = redirect_to(ifindex);
        let mut attr = LoadAttr {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: instructions.len() as u32,
            insns: instructions.as_ptr() as u64,
            license: c"Apache-2.0".as_ptr() as u64,
        };
        let program = bpf(BPF_PROG_LOAD, &mut attr).map_err(KernelError::Inject)?;
        Ok(Self {
            program: owned(program),
        })
    }

    /// Sends `count` copies of `frame` (Ethernet header first, at most a page less its room), and
    /// returns when the last has been handed over. Call it in the namespace of `new`.
    ///
    /// # Errors
    ///
    /// [`KernelError::Inject`], EINVAL for a frame that is too short or too long.
    pub fn inject(&self, frame: &[u8], count: u32) -> Result<(), KernelError> {
        if count == 0 {
            return Ok(());
        }
        let len = u32::try_from(frame.len())
            .map_err(|_| KernelError::Inject(io::Error::from_raw_os_error(libc::EINVAL)))?;
        let mut attr = TestAttr {
            prog_fd: number(self.program.as_raw_fd()),
            data_size_in: len,
            data_in: frame.as_ptr() as u64,
            repeat: count,
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            batch_size: BATCH,
            ..TestAttr::default()
        };
        bpf(BPF_PROG_TEST_RUN, &mut attr)
            .map(drop)
            .map_err(KernelError::Inject)
    }
}

/// `return bpf_redirect(ifindex, 0)`: one `struct bpf_insn` each.
fn redirect_to(ifindex: u32) -> [[u8; 8]; 4] {
    const MOVE: u8 = 0xb7;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    let instruction = |code: u8, register: u8, immediate: i32| {
        let i = immediate.to_ne_bytes();
        [code, register, 0, 0, i[0], i[1], i[2], i[3]]
    };
    [
        instruction(MOVE, 1, ifindex.cast_signed()),
        instruction(MOVE, 2, 0),
        instruction(CALL, 0, BPF_FUNC_REDIRECT),
        instruction(EXIT, 0, 0),
    ]
}
