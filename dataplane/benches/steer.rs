//! Nanoseconds and allocations per packet of the pure core: no sockets, no rings.
//!
//! `cargo bench -p xsteer-dataplane --bench steer`. 1000 subjects with 100 prefixes each, three
//! functions with affinity, 64-byte UDP packets. Frames are prebuilt; copying one into place is
//! measured alone and taken off. Fails where a steady state allocates.

#[path = "support/mod.rs"]
mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use support::{Counting, Random, cpu_ns, median};
use xsteer_abi::maps::Rule;
use xsteer_abi::tag::{TAG_LEN, Tag, TagKind};
use xsteer_abi::{ETHERNET_LEN, Family, overhead};
use xsteer_dataplane::flow::FlowLimits;
use xsteer_dataplane::steer::{Steering, Verdict};
use xsteer_dataplane::table::SteeringTable;
use xsteer_dataplane::table::spec::*;
use xsteer_dataplane::wire::checksum;

#[global_allocator]
static HEAP: Counting = Counting::new();

const ROUNDS: usize = 9;
const SUBJECTS: u32 = 1000;
const PREFIXES: u32 = 100;
/// Room before the inner header: IPv4 in IPv4.
const OFFSET: usize = ETHERNET_LEN + overhead(Family::V4, Family::V4);
/// 64 bytes on the sender's wire: Ethernet header, 46 bytes of IPv4, checksum of the frame.
const INNER_LEN: usize = 46;
const FRAME_LEN: usize = OFFSET + INNER_LEN;
const NOW: u64 = 1_000_000_000_000;
/// The port that functions of this node have.
const FUNCTION: PortId = PortId(SUBJECTS);

type Frame = [u8; FRAME_LEN];

/// Where the pods of the path are.
#[derive(Clone, Copy)]
enum Pods {
    Remote,
    Local,
}

fn main() {
    println!("{ROUNDS} interleaved rounds: median ns a packet (least..most), allocations a packet");
    let cases = vec![
        Case::existing("steer/existing flow/1k flows", Pods::Remote, 1000),
        Case::existing("steer/existing flow/100k flows", Pods::Remote, 100_000),
        Case::existing("steer/local delivery/1k flows", Pods::Local, 1000),
        Case::fresh("steer/new flow/100k", 100_000),
        Case::from_wire("steer/from wire/1k flows", 1000),
        Case::from_wire("steer/from wire/100k flows", 100_000),
    ];
    measure(cases);
    let before = HEAP.live_bytes();
    let state = steering(spec(Pods::Remote));
    let mib = (HEAP.live_bytes() - before) as f64 / f64::from(1 << 20);
    let flows = state.flows().capacity();
    println!("state: {mib:.1} MiB for {SUBJECTS}x{PREFIXES} prefixes and room for {flows} flows");
}

/// Frames, and what they are steered by.
struct Case {
    name: &'static str,
    frames: Vec<Frame>,
    steering: Steering,
    /// A new state for each round, or one that has seen all frames.
    spec: Option<TableSpec>,
    expected: fn(&Verdict) -> bool,
}

impl Case {
    fn existing(name: &'static str, pods: Pods, flows: usize) -> Self {
        let expected = match pods {
            Pods::Remote => is_encapsulated,
            Pods::Local => is_delivered,
        };
        Self {
            name,
            frames: frames(flows),
            steering: steering(spec(pods)),
            spec: None,
            expected,
        }
    }

    fn fresh(name: &'static str, flows: usize) -> Self {
        Self {
            name,
            frames: frames(flows),
            steering: steering(spec(Pods::Remote)),
            spec: Some(spec(Pods::Remote)),
            expected: is_encapsulated,
        }
    }

    /// The same packets as another node's worker has sent them.
    fn from_wire(name: &'static str, flows: usize) -> Self {
        let mut sender = steering(spec(Pods::Remote));
        let mut frames = frames(flows);
        let tag = Tag {
            kind: TagKind::Wire,
            worker: 0,
            port: FUNCTION.0,
            classifier: 0,
        };
        for frame in &mut frames {
            assert!(is_encapsulated(&sender.steer(frame, FRAME_LEN, NOW)));
            frame[..TAG_LEN].copy_from_slice(&tag.emit());
        }
        let mut receiver = spec(Pods::Local);
        std::mem::swap(
            &mut receiver.node.address,
            &mut receiver.next_hops[0].address,
        );
        Self {
            name,
            frames,
            steering: steering(receiver),
            spec: None,
            expected: is_delivered,
        }
    }

    /// Steers every frame once; ns and allocations of it.
    fn pass(&mut self) -> (f64, usize) {
        if let Some(spec) = &self.spec {
            self.steering = steering(spec.clone());
        }
        let (copy_ns, _) = over(&self.frames, |_| true);
        let before = HEAP.calls();
        let (steering, expected) = (&mut self.steering, self.expected);
        let (ns, fit) = over(&self.frames, |frame| {
            expected(&steering.steer(frame, FRAME_LEN, NOW))
        });
        let calls = HEAP.calls() - before;
        assert!(fit, "{}: another verdict", self.name);
        (ns - copy_ns, calls)
    }
}

/// Nanoseconds a frame for copying it into place and calling `each`; whether all answers were true.
fn over(frames: &[Frame], mut each: impl FnMut(&mut Frame) -> bool) -> (f64, bool) {
    // As many places as a worker's UMEM has in use.
    let mut places = vec![[0; FRAME_LEN]; 2048];
    let mut fit = true;
    let start = cpu_ns();
    for (i, frame) in frames.iter().enumerate() {
        let place = &mut places[i % 2048];
        *place = *frame;
        fit &= each(std::hint::black_box(place));
    }
    ((cpu_ns() - start) as f64 / frames.len() as f64, fit)
}

fn measure(mut cases: Vec<Case>) {
    for case in &mut cases {
        case.pass();
    }
    let mut figures = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for (case, figures) in cases.iter_mut().zip(&mut figures) {
            // Enough packets that the clock does not matter.
            let passes = 100_000usize.div_ceil(case.frames.len());
            let sum = (0..passes).fold(0.0, |sum, _| {
                let (ns, calls) = case.pass();
                // One for the places that frames are copied to.
                assert_eq!(calls, 1, "{} allocates", case.name);
                sum + ns
            });
            figures.push(sum / passes as f64);
        }
    }
    for (case, figures) in cases.iter().zip(&mut figures) {
        let middle = median(figures);
        println!(
            "{:<32} {middle:6.1} ns  ({:.1}..{:.1})  0 allocations",
            case.name,
            figures[0],
            figures[figures.len() - 1],
        );
    }
}

fn is_encapsulated(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Encapsulated { .. })
}

fn is_delivered(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Delivered { .. })
}

fn steering(spec: TableSpec) -> Steering {
    let table = SteeringTable::build(spec, None).expect("a table without contradictions");
    Steering::new(0, Arc::new(table), FlowLimits::default())
}

fn path() -> ServicePathId {
    ServicePathId::new(1).expect("not 0")
}

/// 1000 subjects, each with a classifier of its own, all to one path.
fn spec(pods: Pods) -> TableSpec {
    let mut ports: Vec<_> = (0..SUBJECTS).map(subject).collect();
    let backends: Vec<_> = (0..3).map(|i| backend(i, pods)).collect();
    ports.push(PortSpec {
        addresses: backends.iter().map(|backend| backend.address).collect(),
        classifier: None,
        ..subject(FUNCTION.0)
    });
    TableSpec {
        generation: Generation(1),
        node: NodeSpec {
            address: [198, 18, 0, 1].into(),
            ..NodeSpec::default()
        },
        ports,
        classifiers: (0..SUBJECTS).map(classifier).collect(),
        paths: vec![PathSpec {
            id: path(),
            functions: vec![FunctionSpec {
                v4: backends,
                v6: Vec::new(),
            }],
            affinity: Some(Duration::from_secs(3600)),
        }],
        next_hops: vec![NextHopSpec {
            id: NextHopId(0),
            address: [198, 18, 0, 2].into(),
            mac: [2, 0, 0, 0, 9, 2],
        }],
    }
}

fn subject(number: u32) -> PortSpec {
    PortSpec {
        id: PortId(number),
        ifindex: 100 + number,
        pod_mac: [2, 0, 0, 0, 0, 1],
        host_mac: [2, 0, 0, 0, 0, 2],
        addresses: vec![IpAddr::from((0x0A40_0000 + number).to_be_bytes())],
        worker: 0,
        gate: 50,
        classifier: Some(ClassifierId(number + 1)),
    }
}

fn classifier(number: u32) -> ClassifierSpec {
    let all = Rule {
        last_port: u16::MAX,
        ..Rule::default()
    };
    let decision = Decision {
        path: Some(path()),
        policy: FailurePolicy::Closed,
    };
    let prefix = |i: u32| PrefixSpec {
        prefix: format!("{}.{}.{i}.0/24", 20 + number / 256, number % 256)
            .parse()
            .expect("a prefix"),
        rules: vec![(all, decision)],
    };
    ClassifierSpec {
        id: ClassifierId(number + 1),
        prefixes: (0..PREFIXES).map(prefix).collect(),
    }
}

fn backend(number: u8, pods: Pods) -> BackendSpec {
    BackendSpec {
        address: [10, 65, 2, number].into(),
        via: match pods {
            Pods::Remote => Via::Remote(NextHopId(0)),
            Pods::Local => Via::Local(FUNCTION),
        },
        ready: true,
    }
}

/// One frame for each of `flows` flows, of random subjects, in random order of subjects.
fn frames(flows: usize) -> Vec<Frame> {
    let mut random = Random::new(3);
    (0..flows).map(|flow| frame(flow, &mut random)).collect()
}

/// As redirect hands it to the worker.
fn frame(flow: usize, random: &mut Random) -> Frame {
    let subject = random.below(SUBJECTS.into()) as u32;
    let tag = Tag {
        kind: TagKind::Pod,
        worker: 0,
        port: subject,
        classifier: subject + 1,
    };
    let mut frame = [0xEE; FRAME_LEN];
    frame[..TAG_LEN].copy_from_slice(&tag.emit());
    let ip = &mut frame[OFFSET..];
    ip.fill(0);
    ip[0] = 0x45;
    ip[3] = INNER_LEN as u8;
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = 17;
    // 64 clients behind a subject.
    ip[12..16].copy_from_slice(&(0x0A40_0000 + subject).to_be_bytes());
    ip[14] = ip[14].wrapping_add(8 * random.below(64) as u8);
    let net = [
        20 + subject / 256,
        subject % 256,
        random.below(PREFIXES.into()) as u32,
        1,
    ];
    ip[16..20].copy_from_slice(&net.map(|byte| byte as u8));
    let sum = checksum::of(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    // The flow's number in both ports, so that no two flows are one.
    ip[20..22].copy_from_slice(&(1024 + (flow % 50_000) as u16).to_be_bytes());
    ip[22..24].copy_from_slice(&(1 + (flow / 50_000) as u16).to_be_bytes());
    ip[24..26].copy_from_slice(&((INNER_LEN - 20) as u16).to_be_bytes());
    frame
}
