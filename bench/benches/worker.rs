//! Packets a second that one worker steers, beside a plain AF_XDP forwarder over the same sockets.
//!
//! `cargo bench -p xsteer-bench --bench worker`, as root. A real gate and uplink (veth), the real
//! redirect program, real sockets. This thread, on core 0, injects 64-byte frames into the gate as
//! entry would have tagged them; the worker, on core 1, encapsulates each and sends it; the far end
//! of the uplink counts. The forwarder does the same but for steering: it writes two MACs. Both
//! take turns; the ratio of each pair counts, by the CPU time of turns that had packets: what other jobs
//! take does not count in it. Packets a second by the wall clock need a machine that is quiet.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossbeam_channel::unbounded;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use xsteer_abi::ETHERNET_LEN;
use xsteer_abi::maps::{Config, Rule};
use xsteer_abi::tag::{TAG_LEN, Tag, TagKind};
use xsteer_dataplane::flow::FlowLimits;
use xsteer_dataplane::steer::Steering;
use xsteer_dataplane::table::SteeringTable;
use xsteer_dataplane::table::spec::*;
use xsteer_dataplane::wire::checksum;
use xsteer_dataplane::worker::{Command, Heartbeat, Turn, Worker, WorkerConfig};
use xsteer_dataplane::xsk::{IoStatistics, PacketBatch, PacketIo, Side, WorkerIo, Xsk, XskConfig};
use xsteer_xdp::{HeartbeatCell, Kernel, LiveFrames, PinRoot, detach};

const PAIRS: usize = 7;
const FLOWS: u16 = 16;
const FRAMES_PER_FLOW: u32 = 1 << 16;
/// 64 bytes on the wire with the frame's checksum.
const FRAME_LEN: usize = 60;
const WITHIN: Duration = Duration::from_secs(30);
const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 9, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 9, 2];

fn main() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace: run as root")?;
    pin(0)?;
    let mut bed = Bed::new()?;
    println!("64-byte frames, {FLOWS} flows one after another, {PAIRS} pairs in turns");
    let (mut by_cpu, mut by_clock) = (Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        let forwarded = bed.pass(TagKind::Wire, forward)?;
        let steered = bed.pass(TagKind::Pod, steer)?;
        println!("pair {pair}");
        println!("  l2fwd   {forwarded}");
        println!("  steered {steered}");
        by_cpu.push(forwarded.cpu_ns() / steered.cpu_ns());
        by_clock.push(steered.rate() / forwarded.rate());
    }
    println!("steered / l2fwd by CPU time:   {}", spread(by_cpu));
    println!("steered / l2fwd by wall clock: {}", spread(by_clock));
    Ok(())
}

/// Median, and the range.
fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    format!("{:.3} ({least:.3}..{most:.3})", ratios[ratios.len() / 2])
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs()
}

/// Interfaces and programs, in a namespace that ends with the process.
struct Bed {
    kernel: Kernel,
    root: PinRoot,
    live: LiveFrames,
}

/// What one pass came to.
struct Pass {
    injected: u64,
    taken: Taken,
    /// Frames that reached the far end while frames were injected.
    sent: u64,
    seconds: f64,
}

/// What a thread says of the frames it had.
struct Taken {
    received: u64,
    transmitted: u64,
    dropped: u64,
    /// CPU time of the turns that had packets.
    busy_ns: u64,
    io: IoStatistics,
}

/// A thread's work: until `stop`, then its figures.
type Work = fn(WorkerIo, HeartbeatCell, &AtomicBool) -> Taken;

impl Bed {
    fn new() -> Result<Self> {
        for (one, other) in [("xst0", "xst0w"), ("up0", "far0")] {
            ip(&format!(
                "link add {one} mtu 3498 type veth peer name {other} mtu 3498"
            ))?;
            for end in [one, other] {
                ip(&format!("link set {end} up"))?;
            }
        }
        let root = PinRoot::new(format!("/sys/fs/bpf/xsbench-{}", std::process::id()))?;
        root.mount_if_missing()?;
        let mut kernel = Kernel::open(&root)?;
        kernel.set_config(Config {
            outer_family: 4,
            uplink: if_nametoindex("up0")?,
            ..Config::default()
        })?;
        kernel.attach_gate(0, "xst0", "xst0w")?;
        let live = LiveFrames::new(if_nametoindex("xst0")?)?;
        Ok(Self { kernel, root, live })
    }

    /// Opens the sockets, runs `work` on core 1 and injects all frames.
    fn pass(&mut self, kind: TagKind, work: Work) -> Result<Pass> {
        let (io, _) = Xsk::open(&XskConfig::new("xst0w", "up0", 0))?;
        self.kernel.set_socket(0, io.gate_fd())?;
        let heartbeat = self.kernel.heartbeats().cell(0)?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                pin(1)?;
                anyhow::Ok(work(io, heartbeat, &stop))
            });
            // The first flow warms up, and shows that the way is open.
            let injected = self.warm_up(kind).and_then(|()| self.inject(kind));
            stop.store(true, Ordering::Release);
            let taken = worker.join();
            let Ok(taken) = taken else {
                bail!("the worker panicked")
            };
            let (sent, seconds) = injected?;
            Ok(Pass {
                injected: u64::from(FRAMES_PER_FLOW) * u64::from(FLOWS),
                taken: taken?,
                sent,
                seconds,
            })
        })
    }

    /// Injects until a frame arrives: the fill ring may not have been filled yet.
    fn warm_up(&self, kind: TagKind) -> Result<()> {
        let (before, start) = (arrived()?, Instant::now());
        while arrived()? == before {
            if start.elapsed() > WITHIN {
                bail!("no frame reached the far end of the uplink");
            }
            self.live.inject(&frame(kind, 0), 64)?;
        }
        Ok(())
    }

    fn inject(&self, kind: TagKind) -> Result<(u64, f64)> {
        let (before, start) = (arrived()?, Instant::now());
        for flow in 0..FLOWS {
            self.live.inject(&frame(kind, flow), FRAMES_PER_FLOW)?;
        }
        Ok((arrived()? - before, start.elapsed().as_secs_f64()))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Err(error) = detach(&self.root) {
            eprintln!(
                "pins are left under {}: {error}",
                self.root.path().display()
            );
        }
    }
}

impl Pass {
    /// Worker's CPU time per packet, system calls included.
    fn cpu_ns(&self) -> f64 {
        self.taken.busy_ns as f64 / self.taken.received as f64
    }

    /// Packets a second at the far end.
    fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }
}

impl std::fmt::Display for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Taken {
            received,
            transmitted,
            dropped,
            io,
            ..
        } = &self.taken;
        write!(
            f,
            "{:.0} ns of CPU a packet, {:.3} Mpps (injected {}, received {received}, transmitted {transmitted}, dropped {dropped}, \
             rx ring full {}, fill ring empty {}, kicks {}, tx ring full {})",
            self.cpu_ns(),
            self.rate() / 1e6,
            self.injected,
            io.gate.rx_ring_full,
            io.gate.fill_ring_empty,
            io.kicks,
            io.ring_full
        )
    }
}

/// The limit: receives on the gate, writes two MACs, transmits on the uplink.
fn forward(mut io: WorkerIo, _heartbeat: HeartbeatCell, stop: &AtomicBool) -> Taken {
    let mut batch = PacketBatch::new();
    let (mut received, mut dropped) = (0, 0);
    let (mut busy_ns, mut then_ns) = (0, cpu_ns());
    while !stop.load(Ordering::Acquire) {
        io.reclaim();
        io.refill();
        let count = io.receive(&mut batch) as u64;
        received += count;
        for mut packet in batch.drain() {
            let macs = packet.first_mut().data_mut();
            macs[..6].copy_from_slice(&PEER_MAC);
            macs[6..12].copy_from_slice(&NODE_MAC);
            if let Err(packet) = io.transmit(Side::Uplink, packet) {
                dropped += 1;
                io.put(packet);
            }
        }
        io.flush();
        let now_ns = cpu_ns();
        busy_ns += if count > 0 { now_ns - then_ns } else { 0 };
        then_ns = now_ns;
    }
    Taken {
        received,
        transmitted: received - dropped,
        dropped,
        busy_ns,
        io: io.statistics(),
    }
}

/// The worker itself, as an agent runs it.
fn steer(io: WorkerIo, heartbeat: HeartbeatCell, stop: &AtomicBool) -> Taken {
    let table = SteeringTable::build(spec(), None).expect("a table without contradictions");
    let steering = Steering::new(0, Arc::new(table), FlowLimits::default());
    let (commands, mailbox) = unbounded();
    let (told, _events) = unbounded();
    let heartbeat = Box::new(Beat(heartbeat));
    let config = WorkerConfig::default();
    let mut worker = Worker::new(config, io, steering, (mailbox, told), heartbeat);
    let now_ns = xsteer_dataplane::worker::monotonic_coarse_ns;
    let (mut busy_ns, mut then_ns) = (0, cpu_ns());
    while !stop.load(Ordering::Acquire) {
        let turn = worker.cycle(now_ns());
        let now_ns = cpu_ns();
        busy_ns += if turn == Turn::Busy {
            now_ns - then_ns
        } else {
            0
        };
        then_ns = now_ns;
    }
    let (reply, answer) = unbounded();
    commands
        .send(Command::Report(reply))
        .expect("the worker holds the other end");
    worker.cycle(now_ns());
    let report = answer.recv().expect("the worker has answered");
    let stats = &report.stats;
    Taken {
        received: stats.received,
        transmitted: stats.encapsulated,
        dropped: stats.received - stats.encapsulated,
        busy_ns,
        io: report.io,
    }
}

struct Beat(HeartbeatCell);

impl Heartbeat for Beat {
    fn stamp(&self, now_ns: u64) {
        self.0.stamp(now_ns);
    }
}

/// One subject with 100 prefixes; a function with three pods on another node, with affinity.
fn spec() -> TableSpec {
    let path = ServicePathId::new(1).expect("not 0");
    let all = Rule {
        last_port: u16::MAX,
        ..Rule::default()
    };
    let decision = Decision {
        path: Some(path),
        policy: FailurePolicy::Closed,
    };
    let prefix = |i: u32| PrefixSpec {
        prefix: format!("198.19.{i}.0/24").parse().expect("a prefix"),
        rules: vec![(all, decision)],
    };
    let backend = |last: u8| BackendSpec {
        address: [10, 65, 2, last].into(),
        via: Via::Remote(NextHopId(0)),
        ready: true,
    };
    TableSpec {
        generation: Generation(1),
        node: NodeSpec {
            address: [198, 18, 0, 1].into(),
            mac: NODE_MAC,
            ..NodeSpec::default()
        },
        ports: vec![subject()],
        classifiers: vec![ClassifierSpec {
            id: ClassifierId(1),
            prefixes: (0..100).map(prefix).collect(),
        }],
        paths: vec![PathSpec {
            id: path,
            functions: vec![FunctionSpec {
                v4: (1..=3).map(backend).collect(),
                v6: Vec::new(),
            }],
            affinity: Some(Duration::from_secs(3600)),
        }],
        next_hops: vec![NextHopSpec {
            id: NextHopId(0),
            address: [198, 18, 0, 2].into(),
            mac: PEER_MAC,
        }],
    }
}

fn subject() -> PortSpec {
    PortSpec {
        id: PortId(1),
        ifindex: 100,
        pod_mac: [2, 0, 0, 0, 0, 1],
        host_mac: [2, 0, 0, 0, 0, 2],
        addresses: vec![IpAddr::from([10, 64, 1, 2])],
        worker: 0,
        gate: 50,
        classifier: Some(ClassifierId(1)),
    }
}

/// A UDP packet of the subject, as entry tags it: no room yet, redirect makes it for `Pod`.
fn frame(kind: TagKind, flow: u16) -> [u8; FRAME_LEN] {
    let tag = Tag {
        kind,
        worker: 0,
        port: 1,
        classifier: 1,
    };
    let mut frame = [0; FRAME_LEN];
    frame[..TAG_LEN].copy_from_slice(&tag.emit());
    frame[12] = 8;
    let ip = &mut frame[ETHERNET_LEN..];
    ip[0] = 0x45;
    ip[3] = ip.len() as u8;
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&[10, 64, 1, 2]);
    ip[16..20].copy_from_slice(&[198, 19, flow as u8, 1]);
    let sum = checksum::of(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip[20..22].copy_from_slice(&(5000 + flow).to_be_bytes());
    ip[22..24].copy_from_slice(&53u16.to_be_bytes());
    ip[25] = (ip.len() - 20) as u8;
    frame
}

/// Frames that have reached the far end of the uplink.
fn arrived() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("far0:"));
    let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    packets.context("no far0 in /proc/thread-self/net/dev")
}

/// Pins the calling thread.
fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("this bench needs two cores")
}

fn ip(arguments: &str) -> Result<()> {
    let status = std::process::Command::new("ip")
        .args(arguments.split(' '))
        .status()?;
    if !status.success() {
        bail!("ip {arguments}");
    }
    Ok(())
}
