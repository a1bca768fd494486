//! collect: what it takes off the uplink, by XDP and by tc alike.

use xsteer_abi::{
    counters::Counter,
    maps::{Address, NODE_LOCAL, Target},
    tag::{Tag, TagKind},
};

use crate::{
    bed::{Bed, Outcome, PASS, REDIRECT, SHOT, XDP_DROP, XDP_PASS, XDP_REDIRECT},
    frame::{V4, V6, ethernet, extension, fd00, fragment_header, geneve, option, our_option, udp},
};

const HERE: [u8; 4] = [198, 18, 0, 1];
const THERE: [u8; 4] = [198, 18, 0, 2];
const POD: [u8; 4] = [10, 0, 0, 9];
const GATELESS_POD: [u8; 4] = [10, 0, 0, 10];
const TARGET: Target = Target {
    port: 0x0A0B_0C0D,
    worker: 3,
};
const OURS: [u8; 2] = [0, 0x40];

/// The same program twice.
struct Both {
    xdp: Bed,
    tc: Bed,
}

impl Both {
    fn new() -> Self {
        let mut both = Self {
            xdp: Bed::xdp("collect"),
            tc: Bed::tc("collect_tc"),
        };
        for bed in [&mut both.xdp, &mut both.tc] {
            bed.put("NODES", Address::v4(HERE), NODE_LOCAL);
            bed.put("NODES", Address::v4(THERE), 0u32);
            bed.put("NODES", Address::v6(fd00(9, 1)), NODE_LOCAL);
            bed.put("NODES", Address::v6(fd00(9, 2)), 0u32);
            bed.put("TARGETS", Address::v4(POD), TARGET);
            bed.put("TARGETS", Address::v6(fd00(1, 9)), TARGET);
            bed.put(
                "TARGETS",
                Address::v4(GATELESS_POD),
                Target {
                    worker: 4,
                    ..TARGET
                },
            );
            bed.put_gate(TARGET.worker);
        }
        both
    }

    /// Runs both: they count the same, and leave the same of a frame that goes on.
    #[track_caller]
    fn run(&mut self, frame: &[u8], verdict: (i32, i32)) -> Outcome {
        let xdp = self.xdp.buff(frame);
        let tc = self.tc.skb(frame, 0);
        assert_eq!((xdp.verdict, tc.verdict), verdict);
        assert_eq!(xdp.counted, tc.counted);
        if verdict.1 != SHOT {
            assert_eq!(xdp.frame, tc.frame);
        }
        xdp
    }

    #[track_caller]
    fn takes(&mut self, frame: &[u8]) {
        let outcome = self.run(frame, (XDP_REDIRECT, REDIRECT));
        assert_eq!(outcome.counted, [Counter::CollectRedirected]);
        let Target { port, worker } = TARGET;
        let tag = Tag {
            kind: TagKind::Wire,
            worker: worker as u8,
            port,
            classifier: 0,
        };
        assert_eq!(outcome.frame, [&tag.emit()[..], &frame[12..]].concat());
    }

    #[track_caller]
    fn passes(&mut self, frame: &[u8]) {
        let outcome = self.run(frame, (XDP_PASS, PASS));
        assert_eq!((outcome.counted, &outcome.frame[..]), (vec![], frame));
    }

    #[track_caller]
    fn drops(&mut self, frame: &[u8], counter: Counter) {
        let outcome = self.run(frame, (XDP_DROP, SHOT));
        assert_eq!(outcome.counted, [counter]);
    }
}

fn inner() -> Vec<u8> {
    V4::new([198, 18, 7, 7], 17, udp(1, 2, b"inner")).packet()
}

/// UDP payload for a pod, with our option only.
fn payload(target: [u8; 4]) -> Vec<u8> {
    geneve(OURS, 0x0800, &our_option(&target, &[10, 0, 0, 1]), &inner())
}

/// An outer packet from the other node.
fn outer(payload: &[u8]) -> V4 {
    V4 {
        source: THERE,
        ..V4::new(HERE, 17, udp(0xC001, 7081, payload))
    }
}

fn outer_v6(payload: &[u8]) -> V6 {
    V6 {
        source: fd00(9, 2),
        ..V6::new(fd00(9, 1), 17, udp(0xC001, 7081, payload))
    }
}

#[test]
fn steered_packets_go_to_the_gate_of_their_pods_worker() {
    let mut both = Both::new();
    both.takes(&outer(&payload(POD)).frame());
    both.takes(&outer_v6(&payload(POD)).frame());
    let inner_v6 = V6::new(fd00(5, 5), 17, udp(1, 2, b"inner")).packet();
    let v6 = geneve(
        OURS,
        0x86DD,
        &our_option(&fd00(1, 9), &fd00(1, 1)),
        &inner_v6,
    );
    both.takes(&outer(&v6).frame());
    both.takes(&outer_v6(&v6).frame());
}

#[test]
fn a_padded_frame_is_whole() {
    let frame = [&outer(&payload(POD)).frame()[..], &[0; 9]].concat();
    Both::new().takes(&frame);
}

#[test]
fn unknown_options_are_skipped_unless_critical() {
    let mut both = Both::new();
    let ours = our_option(&POD, &[10, 0, 0, 1]);
    let harmless = option(0x0102, 0x01, &[1, 2, 3, 4]);
    let before = geneve(OURS, 0x0800, &[&harmless[..], &ours].concat(), &inner());
    both.takes(&outer(&before).frame());
    let seven = [harmless.repeat(7), ours.clone()].concat();
    both.takes(&outer(&geneve(OURS, 0x0800, &seven, &inner())).frame());
    let eight = [harmless.repeat(8), ours.clone()].concat();
    let dropped = outer(&geneve(OURS, 0x0800, &eight, &inner())).frame();
    both.drops(&dropped, Counter::CollectDroppedGeneve);
    for options in [
        [option(0x0102, 0x81, &[]), ours.clone()],
        [ours.clone(), option(9, 0x80, &[])],
    ] {
        let frame = outer(&geneve(OURS, 0x0800, &options.concat(), &inner())).frame();
        both.drops(&frame, Counter::CollectDroppedGeneve);
    }
}

#[test]
fn what_is_not_for_us_is_passed() {
    let mut both = Both::new();
    let payload = payload(POD);
    let vlan = [&[0, 5], &[8, 0][..], &outer(&payload).packet()].concat();
    let later = V4 {
        fragment: 5,
        ..outer(&payload)
    };
    for frame in [
        V4 {
            destination: THERE,
            ..outer(&payload)
        }
        .frame(),
        V4 {
            destination: [198, 18, 0, 99],
            ..outer(&payload)
        }
        .frame(),
        V4 {
            payload: udp(7081, 7082, &payload),
            ..outer(&[])
        }
        .frame(),
        V4 {
            protocol: 6,
            ..outer(&payload)
        }
        .frame(),
        later.frame(),
        V6 {
            payload: fragment_header(17, 0x0100, &[0; 16]),
            next: 44,
            ..outer_v6(&[])
        }
        .frame(),
        ethernet(0x0806, &[0; 28]),
    ] {
        both.passes(&frame);
    }
    both.passes(&ethernet(0x8100, &vlan));
    // The kernel runs no tc program over an IP packet without its header.
    assert_eq!(both.xdp.buff(&ethernet(0x0800, &[0x45])).verdict, XDP_PASS);
}

#[test]
fn fragments_to_our_port_are_dropped() {
    let mut both = Both::new();
    let udp = udp(0xC001, 7081, &payload(POD));
    let first = V4 {
        fragment: 0x2000,
        ..outer(&payload(POD))
    };
    both.drops(&first.frame(), Counter::CollectDroppedFragment);
    let first = V6 {
        payload: fragment_header(17, 1, &udp),
        next: 44,
        ..outer_v6(&[])
    };
    both.drops(&first.frame(), Counter::CollectDroppedFragment);
}

#[test]
fn only_nodes_may_send() {
    let mut both = Both::new();
    let foreign = V4 {
        source: [198, 18, 0, 99],
        ..outer(&payload(POD))
    };
    both.drops(&foreign.frame(), Counter::CollectDroppedForeign);
    let foreign = V6 {
        source: fd00(9, 99),
        ..outer_v6(&payload(POD))
    };
    both.drops(&foreign.frame(), Counter::CollectDroppedForeign);
}

#[test]
fn lengths_must_agree() {
    let mut both = Both::new();
    let whole = outer(&payload(POD)).frame();
    let mut long_udp = whole.clone();
    long_udp[39] += 1;
    let mut short_udp = whole.clone();
    short_udp[39] -= 1;
    let with_options = V4 {
        options: vec![1; 4],
        ..outer(&payload(POD))
    };
    let no_inner = geneve(
        OURS,
        0x0800,
        &our_option(&POD, &[10, 0, 0, 1]),
        &inner()[..19],
    );
    let mut udp = udp(0xC001, 7081, &payload(POD));
    udp = extension(17, &udp);
    for frame in [
        whole[..whole.len() - 1].to_vec(),
        whole[..45].to_vec(),
        long_udp,
        short_udp,
        with_options.frame(),
        outer(&no_inner).frame(),
        outer(&[]).frame(),
        V6 {
            payload: udp,
            next: 60,
            ..outer_v6(&[])
        }
        .frame(),
    ] {
        both.drops(&frame, Counter::CollectDroppedLength);
    }
}

#[test]
fn geneve_must_be_ours() {
    let mut both = Both::new();
    let ours = our_option(&POD, &[10, 0, 0, 1]);
    let short = option(0xFF53, 0x81, &[0, 63, 1, 0, 10, 0, 0, 9]);
    let mut overlong = ours.clone();
    overlong[3] = 31;
    for (start, protocol, options) in [
        ([0x40, 0x40], 0x0800, &ours),
        ([0x00, 0xC0], 0x0800, &ours),
        (OURS, 0x6558, &ours),
        (OURS, 0x86DD, &ours),
        (OURS, 0x0800, &Vec::new()),
        (OURS, 0x0800, &short),
        (OURS, 0x0800, &overlong),
    ] {
        let inner = [inner(), vec![0; 40]].concat();
        let frame = outer(&geneve(start, protocol, options, &inner)).frame();
        both.drops(&frame, Counter::CollectDroppedGeneve);
    }
}

#[test]
fn unknown_targets_and_missing_gates_are_told_apart() {
    let mut both = Both::new();
    both.drops(
        &outer(&payload([10, 0, 0, 99])).frame(),
        Counter::CollectDroppedNoTarget,
    );
    both.drops(
        &outer(&payload(GATELESS_POD)).frame(),
        Counter::CollectDroppedNoGate,
    );
}
