//! Waiting until no program can still work with what a map said before.

use std::io;

use crate::error::KernelError;

// include/uapi/linux/membarrier.h
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// Returns after an RCU grace period: every program run that began before the call has ended.
///
/// Relies on `MEMBARRIER_CMD_GLOBAL` being `synchronize_rcu()` (kernel/sched/membarrier.c) and on
/// tc and XDP programs running under `rcu_read_lock`. With one CPU online the kernel returns at
/// once, and rightly: programs run with softirqs off, so none is under way while we are. Takes
/// some milliseconds to tens of them.
///
/// # Errors
///
/// [`KernelError::Grace`] where the kernel was booted with `nohz_full=`, which has no such call,
/// or a sandbox forbids it.
pub fn grace() -> Result<(), KernelError> {
    // SAFETY: membarrier takes three plain numbers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if answer < 0 {
        return Err(KernelError::Grace(io::Error::last_os_error()));
    }
    Ok(())
}
