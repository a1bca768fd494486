//! deliver: what it makes of a worker's shim.

use xsteer_abi::{
    CONTINUE_MARK,
    counters::Counter,
    tag::{Shim, ShimVerdict, Tag, TagKind},
};

use crate::{
    bed::{Bed, LO, REDIRECT, SHOT},
    frame::{V4, V6, ethernet, fd00, udp},
};

/// Puts a shim and the rest of its room between Ethernet and IP header.
fn shimmed(verdict: ShimVerdict, room: u8, frame: &[u8]) -> Vec<u8> {
    let shim = Shim {
        verdict,
        room,
        ifindex: LO,
    }
    .emit();
    let rest = vec![0xEE; usize::from(room).saturating_sub(shim.len())];
    [&frame[..14], &shim, &rest, &frame[14..]].concat()
}

fn frames() -> [(u8, Vec<u8>); 3] {
    let v4 = V4::new([198, 18, 0, 1], 17, udp(1, 2, b"some data")).frame();
    let v6 = V6::new(fd00(1, 1), 17, udp(1, 2, b"some data")).frame();
    [(52, v4.clone()), (8, v4), (96, v6)]
}

#[test]
fn a_pods_packet_is_cut_and_redirected() {
    let mut bed = Bed::tc("deliver");
    for (room, frame) in frames() {
        let outcome = bed.skb(&shimmed(ShimVerdict::Pod, room, &frame), 0);
        assert_eq!((outcome.verdict, outcome.mark), (REDIRECT, 0));
        assert_eq!(outcome.counted, [Counter::DeliverPod]);
        assert_eq!(outcome.frame, frame);
    }
}

#[test]
fn a_continued_packet_is_cut_and_marked() {
    let mut bed = Bed::tc("deliver");
    for (room, frame) in frames() {
        let outcome = bed.skb(&shimmed(ShimVerdict::Continue, room, &frame), 0);
        assert_eq!((outcome.verdict, outcome.mark), (REDIRECT, CONTINUE_MARK));
        assert_eq!(outcome.counted, [Counter::DeliverContinued]);
        assert_eq!(outcome.frame, frame);
    }
}

#[test]
fn a_handover_becomes_a_frame_from_the_wire() {
    let frame = V4::new([198, 18, 0, 1], 17, udp(1, 7081, b"geneve")).frame();
    let tag = Tag {
        kind: TagKind::Handover,
        worker: 4,
        port: LO,
        classifier: 0,
    };
    let outcome = Bed::tc("deliver").skb(&[&tag.emit()[..], &frame[12..]].concat(), 0);
    assert_eq!(outcome.verdict, REDIRECT);
    assert_eq!(outcome.counted, [Counter::DeliverHandover]);
    let wire = Tag {
        kind: TagKind::Wire,
        ..tag
    };
    assert_eq!(outcome.frame, [&wire.emit()[..], &frame[12..]].concat());
}

#[test]
fn all_else_on_a_gate_is_dropped() {
    let mut bed = Bed::tc("deliver");
    let plain = V4::new([198, 18, 0, 1], 17, udp(1, 2, b"some data")).frame();
    let from_pod = Tag {
        kind: TagKind::Pod,
        worker: 4,
        port: LO,
        classifier: 0,
    };
    let mut unknown_verdict = shimmed(ShimVerdict::Pod, 52, &plain);
    unknown_verdict[16] = 9;
    let arp = [
        &shimmed(ShimVerdict::Pod, 52, &plain)[..12],
        &[8, 6],
        &plain[14..],
    ]
    .concat();
    for frame in [
        plain.clone(),
        ethernet(0x0806, &[0; 4]),
        [&from_pod.emit()[..], &plain[12..]].concat(),
        shimmed(ShimVerdict::Pod, 0, &plain),
        shimmed(ShimVerdict::Pod, 7, &plain),
        shimmed(ShimVerdict::Pod, 97, &plain),
        shimmed(ShimVerdict::Continue, 52, &plain)[..60].to_vec(),
        unknown_verdict,
        arp,
    ] {
        let outcome = bed.skb(&frame, 0);
        assert_eq!(outcome.verdict, SHOT, "{frame:02x?}");
        assert_eq!(outcome.counted, [Counter::DeliverDropped]);
    }
}
