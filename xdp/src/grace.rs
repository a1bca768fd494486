//! Waiting until no program can still work with what a map said before.

use crate::error::KernelError;
use crate::sys;

/// Returns after an RCU grace period: every program run that began before the call has ended, and
/// those that begin later see every map write made before it. Takes milliseconds to tens of them.
///
/// Relies on the kernel waiting so after a write into a map of maps, which it does for this very
/// purpose (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c, since Linux 4.20). Not `membarrier`:
/// its global form fails where the kernel was booted with `nohz_full=`, and does not wait on a
/// machine with one CPU.
///
/// # Errors
///
/// [`KernelError::Grace`] without CAP_BPF, or without memory for two small maps.
pub fn grace() -> Result<(), KernelError> {
    sys::write_map_of_maps().map_err(KernelError::Grace)
}
