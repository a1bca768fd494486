//! A network namespace and a folder of pins of its own for each test.

use std::panic::resume_unwind;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use xsteer_xdp::{Kernel, PinRoot, detach};

/// What a test works with; dropping it takes the pins away, also in a panic.
pub(crate) struct Bed {
    pub(crate) root: PinRoot,
}

/// Runs `test` on a thread in a new network namespace, which ends with it and takes its
/// interfaces along.
pub(crate) fn in_namespace(test: impl FnOnce(&Bed) + Send + 'static) {
    let run = || {
        // SAFETY: takes one flag; the new namespace is this thread's alone.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(unshared, 0, "a network namespace needs root");
        test(&Bed::new());
    };
    if let Err(panic) = thread::spawn(run).join() {
        resume_unwind(panic);
    }
}

impl Bed {
    /// One more folder of pins, in the namespace of the caller.
    pub(crate) fn new() -> Self {
        Self { root: new_root() }
    }

    /// Opens the kernel side, as an agent does at its start.
    pub(crate) fn open(&self) -> Kernel {
        Kernel::open(&self.root).expect("the programs load")
    }

    /// Whether anything is left under the root.
    pub(crate) fn has_pins(&self) -> bool {
        self.root.path().exists()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = detach(&self.root);
    }
}

/// A folder of pins that no other test uses.
fn new_root() -> PinRoot {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static MOUNTING: Mutex<()> = Mutex::new(());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/sys/fs/bpf/xsteer-test-{}-{number}", std::process::id());
    let root = PinRoot::new(path).expect("the path is absolute");
    let guard = MOUNTING.lock();
    root.mount_if_missing().expect("bpffs can be mounted");
    drop(guard);
    root
}

/// Runs `ip` in the test's namespace.
pub(crate) fn ip(arguments: &str) {
    run("ip", arguments);
}

/// Runs a program in the test's namespace; it must succeed.
pub(crate) fn run(program: &str, arguments: &str) {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .expect("the program is installed");
    assert!(output.status.success(), "{program} {arguments}: {output:?}");
}

/// Makes a veth pair, up; answers the ifindex of the first end.
pub(crate) fn veth(one: &str, other: &str) -> u32 {
    ip(&format!("link add {one} type veth peer name {other}"));
    ip(&format!("link set {one} up"));
    ip(&format!("link set {other} up"));
    ifindex(one)
}

/// A veth pair that is up and sends nothing by itself (no router solicitations): counts are exact.
pub(crate) fn quiet_veth(one: &str, other: &str) {
    ip(&format!("link add {one} type veth peer name {other}"));
    for end in [one, other] {
        ip(&format!("link set {end} addrgenmode none"));
        ip(&format!("link set {end} up"));
    }
}

/// Packets that an interface has received.
pub(crate) fn received(interface: &str) -> u64 {
    let output = Command::new("ip")
        .args(["-s", "-j", "link", "show", "dev", interface])
        .output()
        .expect("iproute2 is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, rx) = text.split_once("\"rx\":").expect("statistics");
    let (_, packets) = rx.split_once("\"packets\":").expect("a count");
    let digits: String = packets.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// Waits until `condition` holds, ten seconds at the most.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "the condition does not come to hold"
        );
        thread::yield_now();
    }
}

pub(crate) fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("the interface exists")
}

/// Ids of the programs at tcx ingress of an interface, in order.
pub(crate) fn ingress(interface: &str) -> Vec<u32> {
    tcx(interface, TcAttachType::Ingress)
}

/// Ids of the programs at tcx egress of an interface, in order.
pub(crate) fn egress(interface: &str) -> Vec<u32> {
    tcx(interface, TcAttachType::Egress)
}

fn tcx(interface: &str, side: TcAttachType) -> Vec<u32> {
    let (_, programs) = SchedClassifier::query_tcx(interface, side).expect("tcx can be queried");
    programs
        .iter()
        .map(aya::programs::ProgramInfo::id)
        .collect()
}
