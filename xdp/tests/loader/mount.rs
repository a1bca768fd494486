//! Mounting bpffs, in a mount namespace of its own.

use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use xsteer_xdp::{Kernel, KernelError, PinRoot, RootError};

#[test]
fn bpffs_is_mounted_where_it_is_missing() {
    let test = || {
        // SAFETY: takes one flag; the new namespace is this thread's alone.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        assert_eq!(unshared, 0, "a mount namespace needs root");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let root = PinRoot::new("/sys/fs/bpf/xsteer-test-mount").unwrap();
        root.mount_if_missing().unwrap();
        umount2("/sys/fs/bpf", MntFlags::MNT_DETACH).unwrap();

        let refused = Kernel::open(&root).err();
        assert!(matches!(
            refused,
            Some(KernelError::Root(RootError::NotBpffs { .. }))
        ));
        assert!(root.mount_if_missing().unwrap());
        assert!(!root.mount_if_missing().unwrap());
        umount2("/sys/fs/bpf", MntFlags::MNT_DETACH).unwrap();
    };
    if let Err(panic) = thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}
