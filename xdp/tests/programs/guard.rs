//! guard: which connections towards a pod it remembers.

use xsteer_abi::{
    counters::Counter,
    maps::{ConnectionKey, PortRecord},
};

use crate::{
    bed::{Bed, LO, PASS},
    frame::{ACK, SYN, V4, V6, ethernet, fd00, tcp, udp},
};

const PORT: PortRecord = PortRecord {
    port: 9,
    classifier: 0,
    worker: 0,
    gate: LO,
};
const POD: [u8; 4] = [10, 0, 0, 9];

fn bed() -> Bed {
    let mut bed = Bed::tc("guard");
    bed.put("PORTS", LO, PORT);
    bed
}

fn recorded(bed: &Bed) -> Vec<ConnectionKey> {
    bed.entries::<ConnectionKey, u64>("OPENED")
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

/// The key of a connection from 10.0.0.5 to the pod.
fn key(protocol: u8, sport: u16, dport: u16) -> ConnectionKey {
    let mut key = ConnectionKey {
        port: PORT.port,
        sport,
        dport,
        protocol,
        family: 4,
        ..Default::default()
    };
    key.source[..4].copy_from_slice(&[10, 0, 0, 5]);
    key.destination[..4].copy_from_slice(&POD);
    key
}

#[test]
fn a_syn_is_recorded_once() {
    let mut bed = bed();
    let frame = V4::new(POD, 6, tcp(4000, 80, SYN)).frame();
    let first = bed.skb(&frame, 0);
    assert_eq!((first.verdict, first.frame), (PASS, frame.clone()));
    assert_eq!(first.counted, [Counter::GuardRecorded]);
    assert_eq!(bed.skb(&frame, 0).counted, []);
    assert_eq!(recorded(&bed), [key(6, 4000, 80)]);
    assert!(
        bed.entries::<ConnectionKey, u64>("OPENED")[0].1 > 0,
        "stamped"
    );
}

#[test]
fn ipv6_is_recorded_with_whole_addresses() {
    let mut bed = bed();
    bed.skb(&V6::new(fd00(1, 9), 6, tcp(4000, 80, SYN)).frame(), 0);
    let key = ConnectionKey {
        family: 6,
        source: fd00(0xA, 5),
        destination: fd00(1, 9),
        ..key(6, 4000, 80)
    };
    assert_eq!(recorded(&bed), [key]);
}

#[test]
fn udp_is_recorded_unless_the_pod_began() {
    let mut bed = bed();
    bed.skb(&V4::new(POD, 17, udp(53, 4000, b"a")).frame(), 0);
    assert_eq!(recorded(&bed), [key(17, 53, 4000)]);
    let mut outbound = key(17, 5000, 53);
    (outbound.source, outbound.destination) = (outbound.destination, outbound.source);
    bed.put("OPENED", outbound, 1u64);
    let answer = bed.skb(&V4::new(POD, 17, udp(53, 5000, b"a")).frame(), 0);
    assert_eq!((answer.verdict, answer.counted), (PASS, vec![]));
}

#[test]
fn what_opens_nothing_is_not_recorded() {
    let mut bed = bed();
    let later = V4 {
        fragment: 5,
        ..V4::new(POD, 17, udp(4000, 80, b"12345678"))
    };
    let whole = V4::new(POD, 6, tcp(4000, 80, SYN)).frame();
    for frame in [
        V4::new(POD, 6, tcp(4000, 80, SYN | ACK)).frame(),
        V4::new(POD, 6, tcp(4000, 80, ACK)).frame(),
        V4::new(POD, 1, vec![8, 0, 0, 0, 0, 1, 0, 1]).frame(),
        later.frame(),
        whole[..40].to_vec(),
        ethernet(0x0806, &[0; 28]),
    ] {
        let outcome = bed.skb(&frame, 0);
        assert_eq!((outcome.verdict, outcome.counted), (PASS, vec![]));
    }
    assert_eq!(recorded(&bed), []);
}
