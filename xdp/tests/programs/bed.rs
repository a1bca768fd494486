//! Loads one program with maps of its own and runs it over single frames (`BPF_PROG_TEST_RUN`).
//! Nothing is pinned, and attached only in a test's own namespace. Needs CAP_BPF and CAP_NET_ADMIN, and fails without.

use std::{
    ops::Range,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, Pod, TestRun, TestRunOptions, include_bytes_aligned,
    maps::{
        Array, HashMap, LpmTrie, MapData, PerCpuArray,
        lpm_trie::Key,
        xdp::{DevMap, XskMap},
    },
    programs::{SchedClassifier, TcAttachType, Xdp},
};
use xsteer_abi::counters::Counter;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xsteer-ebpf"));

pub(crate) const PASS: i32 = -1;
pub(crate) const SHOT: i32 = 2;
pub(crate) const REDIRECT: i32 = 7;
pub(crate) const XDP_DROP: i32 = 1;
pub(crate) const XDP_PASS: i32 = 2;
pub(crate) const XDP_REDIRECT: i32 = 4;
/// The loopback interface: test runs of skbs happen on it, and every namespace has it.
pub(crate) const LO: u32 = 1;

/// Bytes of `struct __sk_buff`, and where its mark is (linux/bpf.h).
const CONTEXT_LEN: usize = 192;
const MARK: Range<usize> = 8..12;

/// A value of the abi as a map takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Plain<T>(pub(crate) T);

// SAFETY: used with types of the abi only, which are `repr(C)` integers without padding.
unsafe impl<T: Copy + 'static> Pod for Plain<T> {}

/// What a program made of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: i32,
    pub(crate) frame: Vec<u8>,
    pub(crate) mark: u32,
    /// Every counter that went up, as often as it did.
    pub(crate) counted: Vec<Counter>,
}

/// One loaded program and its maps.
pub(crate) struct Bed {
    ebpf: Ebpf,
    program: &'static str,
}

impl Bed {
    pub(crate) fn tc(program: &'static str) -> Self {
        let mut bed = Self::empty(program);
        bed.classifier()
            .load()
            .expect("the verifier takes the program");
        bed
    }

    pub(crate) fn xdp(program: &'static str) -> Self {
        let mut bed = Self::empty(program);
        bed.xdp_program()
            .load()
            .expect("the verifier takes the program");
        bed
    }

    fn empty(program: &'static str) -> Self {
        let ebpf = Ebpf::load(OBJECT).expect("the maps can be made (CAP_BPF)");
        Self { ebpf, program }
    }

    fn classifier(&mut self) -> &mut SchedClassifier {
        let program = self
            .ebpf
            .program_mut(self.program)
            .expect("the object has the program");
        program.try_into().expect("a tc program")
    }

    fn xdp_program(&mut self) -> &mut Xdp {
        let program = self
            .ebpf
            .program_mut(self.program)
            .expect("the object has the program");
        program.try_into().expect("an XDP program")
    }

    /// Runs the tc program over a frame.
    pub(crate) fn skb(&mut self, frame: &[u8], mark: u32) -> Outcome {
        let before = self.counters();
        let mut context = [0; CONTEXT_LEN];
        context[MARK].copy_from_slice(&mark.to_ne_bytes());
        let mut context_out = [0; CONTEXT_LEN];
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ctx_out: Some(&mut context_out),
            ..TestRunOptions::new()
        };
        let run = self.classifier().test_run(options).expect("test run");
        out.truncate(run.data_size_out as usize);
        Outcome {
            verdict: run.return_value as i32,
            frame: out,
            mark: u32::from_ne_bytes(context_out[MARK].try_into().expect("four bytes")),
            counted: self.since(&before),
        }
    }

    /// Runs the XDP program over a frame.
    pub(crate) fn buff(&mut self, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let mut out = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let run = self.xdp_program().test_run(options).expect("test run");
        out.truncate(run.data_size_out as usize);
        let verdict = run.return_value as i32;
        Outcome {
            verdict,
            frame: out,
            mark: 0,
            counted: self.since(&before),
        }
    }

    /// Attaches the tc program to the ingress of an interface for as long as the bed lives.
    pub(crate) fn attach(&mut self, interface: &str) {
        self.classifier()
            .attach(interface, TcAttachType::Ingress)
            .expect("attached");
    }

    /// How often a counter went up.
    pub(crate) fn counted(&self, counter: Counter) -> u64 {
        self.counters()[counter as usize]
    }

    /// Waits until a counter is above a value.
    pub(crate) fn wait_for(&self, counter: Counter, value: u64, at_most: Duration) {
        let end = Instant::now() + at_most;
        while self.counted(counter) <= value {
            assert!(Instant::now() < end, "{} does not go up", counter.label());
            std::thread::yield_now();
        }
    }

    fn counters(&self) -> Vec<u64> {
        let map = self.ebpf.map("COUNTERS").expect("map");
        let map = PerCpuArray::<_, u64>::try_from(map).expect("COUNTERS");
        let sum = |c: &Counter| map.get(&(*c as u32), 0).expect("counter").iter().sum();
        Counter::ALL.iter().map(sum).collect()
    }

    fn since(&self, before: &[u64]) -> Vec<Counter> {
        let now = self.counters();
        let ups = now
            .iter()
            .zip(before)
            .map(|(now, before)| (now - before) as usize);
        Counter::ALL
            .iter()
            .zip(ups)
            .flat_map(|(c, n)| std::iter::repeat_n(*c, n))
            .collect()
    }

    pub(crate) fn set<V: Copy + 'static>(&mut self, map: &str, index: u32, value: V) {
        let map = self.ebpf.map_mut(map).expect("map");
        let mut map = Array::<_, Plain<V>>::try_from(map).expect("array of this value");
        map.set(index, Plain(value), 0).expect("set");
    }

    pub(crate) fn put<K: Copy + 'static, V: Copy + 'static>(
        &mut self,
        map: &str,
        key: K,
        value: V,
    ) {
        let map = self.ebpf.map_mut(map).expect("map");
        let mut map = HashMap::<_, Plain<K>, Plain<V>>::try_from(map).expect("hash of these");
        map.insert(Plain(key), Plain(value), 0).expect("insert");
    }

    pub(crate) fn entries<K: Copy + 'static, V: Copy + 'static>(&self, map: &str) -> Vec<(K, V)> {
        let map = self.ebpf.map(map).expect("map");
        let map: HashMap<&MapData, Plain<K>, Plain<V>> = map.try_into().expect("hash of these");
        let entries = map.iter().map(|entry| entry.expect("entry"));
        entries.map(|(key, value)| (key.0, value.0)).collect()
    }

    pub(crate) fn put_prefix<K: Copy + 'static, V: Copy + 'static>(
        &mut self,
        map: &str,
        (prefix_len, data): (u32, K),
        value: V,
    ) {
        let map = self.ebpf.map_mut(map).expect("map");
        let mut map = LpmTrie::<_, Plain<K>, Plain<V>>::try_from(map).expect("trie of these");
        map.insert(&Key::new(prefix_len, Plain(data)), Plain(value), 0)
            .expect("insert");
    }

    /// Makes loopback the gate of a worker.
    pub(crate) fn put_gate(&mut self, worker: u32) {
        let map = self.ebpf.map_mut("GATES").expect("map");
        let mut map = DevMap::try_from(map).expect("GATES");
        map.set(worker, LO, None, 0).expect("set");
        self.set("GATE_IFINDEX", worker, LO);
    }

    /// Gives a worker a socket: the kernel only asks that it have a receive ring.
    pub(crate) fn put_socket(&mut self, worker: u32) -> OwnedFd {
        let socket = socket();
        let map = self.ebpf.map_mut("SOCKETS").expect("map");
        let mut map = XskMap::try_from(map).expect("SOCKETS");
        map.set(worker, socket.as_raw_fd(), 0).expect("set");
        socket
    }
}

/// An AF_XDP socket with a receive ring, bound to nothing.
fn socket() -> OwnedFd {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) };
    assert!(
        fd >= 0,
        "AF_XDP socket: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let entries: u32 = 64;
    // SAFETY: the option value is a word that lives across the call, and its size is given.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_RX_RING,
            (&raw const entries).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "XDP_RX_RING: {}", std::io::Error::last_os_error());
    socket
}
