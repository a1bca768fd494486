//! redirect: room, tag and socket.

use xsteer_abi::{
    Family,
    counters::Counter,
    maps::Config,
    overhead,
    tag::{Tag, TagKind},
};

use crate::{
    bed::{Bed, XDP_DROP, XDP_REDIRECT},
    frame::{V4, V6, fd00, udp},
};

const WORKER: u8 = 2;

fn bed(outer: Family) -> Bed {
    let mut bed = Bed::xdp("redirect");
    bed.set(
        "CONFIG",
        0,
        Config {
            outer_family: outer as u8,
            ..Config::default()
        },
    );
    bed
}

fn tagged(kind: TagKind, frame: &[u8]) -> Vec<u8> {
    let tag = Tag {
        kind,
        worker: WORKER,
        port: 77,
        classifier: 5,
    };
    [&tag.emit()[..], &frame[12..]].concat()
}

#[test]
fn a_pods_packet_gets_room_for_its_outer_headers() {
    let v4 = V4::new([198, 18, 0, 1], 17, udp(1, 2, b"a")).frame();
    let v6 = V6::new(fd00(1, 1), 17, udp(1, 2, b"a")).frame();
    for outer in [Family::V4, Family::V6] {
        let mut bed = bed(outer);
        let _socket = bed.put_socket(u32::from(WORKER));
        for (kind, inner, frame) in [
            (TagKind::Pod, Family::V4, &v4),
            (TagKind::PodV6, Family::V6, &v6),
        ] {
            let frame = tagged(kind, frame);
            let outcome = bed.buff(&frame);
            assert_eq!(outcome.verdict, XDP_REDIRECT);
            assert_eq!(outcome.counted, [Counter::RedirectPassed]);
            let room = overhead(inner, outer);
            assert_eq!(outcome.frame.len(), frame.len() + room);
            assert_eq!(outcome.frame[..12], frame[..12], "the tag is in front");
            assert_eq!(
                outcome.frame[room + 12..],
                frame[12..],
                "the rest is where it was"
            );
        }
    }
}

#[test]
fn a_frame_from_the_wire_is_not_changed() {
    let mut bed = bed(Family::V4);
    let _socket = bed.put_socket(u32::from(WORKER));
    let frame = tagged(
        TagKind::Wire,
        &V4::new([198, 18, 0, 1], 17, udp(1, 7081, b"a")).frame(),
    );
    let outcome = bed.buff(&frame);
    assert_eq!((outcome.verdict, outcome.frame), (XDP_REDIRECT, frame));
    assert_eq!(outcome.counted, [Counter::RedirectPassed]);
}

#[test]
fn frames_without_a_tag_are_dropped() {
    let mut bed = bed(Family::V4);
    let _socket = bed.put_socket(u32::from(WORKER));
    let plain = V4::new([198, 18, 0, 1], 17, udp(1, 2, b"a")).frame();
    let mut unknown_kind = tagged(TagKind::Pod, &plain);
    unknown_kind[2] = 9;
    for frame in [
        plain.clone(),
        tagged(TagKind::Handover, &plain),
        unknown_kind,
    ] {
        let outcome = bed.buff(&frame);
        assert_eq!(outcome.verdict, XDP_DROP);
        assert_eq!(outcome.counted, [Counter::RedirectDroppedUntagged]);
    }
}

#[test]
fn without_a_socket_the_frame_is_dropped() {
    let mut bed = bed(Family::V4);
    let _other = bed.put_socket(u32::from(WORKER) + 1);
    let frame = tagged(
        TagKind::Wire,
        &V4::new([198, 18, 0, 1], 17, udp(1, 2, b"a")).frame(),
    );
    let outcome = bed.buff(&frame);
    assert_eq!(outcome.verdict, XDP_DROP);
    assert_eq!(outcome.counted, [Counter::RedirectDroppedNoSocket]);
}

#[test]
fn without_a_configuration_there_is_no_room() {
    let mut bed = Bed::xdp("redirect");
    let frame = tagged(
        TagKind::Pod,
        &V4::new([198, 18, 0, 1], 17, udp(1, 2, b"a")).frame(),
    );
    let outcome = bed.buff(&frame);
    assert_eq!(outcome.verdict, XDP_DROP);
    assert_eq!(outcome.counted, [Counter::RedirectDroppedNoRoom]);
}
