//! Verdicts, and the bytes that stand in front of the inner packet afterwards.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use xsteer_abi::maps::Rule;
use xsteer_abi::tag::{Shim, ShimVerdict, TAG_LEN, Tag, TagKind};
use xsteer_abi::{ETHERNET_LEN, Family, overhead};

use super::{Steering, Verdict};
use crate::drop::DropReason;
use crate::flow::{FlowLimits, Key};
use crate::table::SteeringTable;
use crate::table::spec::*;
use crate::wire::checksum;
use crate::wire::geneve;

const OFFSET: usize = ETHERNET_LEN + overhead(Family::V4, Family::V4);
const VPN: [u8; 4] = [10, 64, 1, 2];
const SUBJECT: PortId = PortId(1);
const FUNCTION: PortId = PortId(2);
const OTHER_WORKERS: PortId = PortId(3);
const NOW: u64 = 1_000_000_000_000;

fn path_id(id: u32) -> ServicePathId {
    ServicePathId::new(id).unwrap()
}

fn port(id: PortId, address: [u8; 4], worker: u8) -> PortSpec {
    let n = id.0 as u8;
    PortSpec {
        id,
        ifindex: 100 + id.0,
        pod_mac: [2, 0, 0, 0, 0, n],
        host_mac: [2, 0, 0, 0, 1, n],
        addresses: vec![address.into()],
        worker,
        gate: 50 + u32::from(worker),
        classifier: (id == SUBJECT).then_some(ClassifierId(1)),
    }
}

fn backend(address: [u8; 4], via: Via) -> BackendSpec {
    BackendSpec {
        address: address.into(),
        via,
        ready: true,
    }
}

/// Everything goes to path 1: `backends`, with affinity.
pub(crate) fn spec(backends: Vec<BackendSpec>) -> TableSpec {
    let all = Rule {
        last_port: u16::MAX,
        ..Rule::default()
    };
    let decision = Decision {
        path: Some(path_id(1)),
        policy: FailurePolicy::Closed,
    };
    TableSpec {
        generation: Generation(1),
        node: NodeSpec {
            address: [198, 18, 0, 1].into(),
            mac: [2, 0, 0, 0, 9, 1],
            ..NodeSpec::default()
        },
        ports: vec![
            port(SUBJECT, VPN, 0),
            port(FUNCTION, [10, 64, 1, 3], 0),
            port(OTHER_WORKERS, [10, 64, 1, 4], 1),
        ],
        classifiers: vec![ClassifierSpec {
            id: ClassifierId(1),
            prefixes: vec![PrefixSpec {
                prefix: "203.0.113.0/24".parse().unwrap(),
                rules: vec![(all, decision)],
            }],
        }],
        paths: vec![PathSpec {
            id: path_id(1),
            functions: vec![FunctionSpec {
                v4: backends,
                v6: vec![],
            }],
            affinity: Some(Duration::from_secs(60)),
        }],
        next_hops: vec![NextHopSpec {
            id: NextHopId(0),
            address: [198, 18, 0, 2].into(),
            mac: [2, 0, 0, 0, 9, 2],
        }],
    }
}

pub(crate) fn remote(last: u8) -> BackendSpec {
    backend([10, 64, 2, last], Via::Remote(NextHopId(0)))
}

fn steering(spec: TableSpec) -> Steering {
    let table = Arc::new(SteeringTable::build(spec, None).unwrap());
    Steering::new(
        0,
        table,
        FlowLimits {
            flows: 1024,
            ..FlowLimits::default()
        },
    )
}

/// A UDP packet from `source` to 203.0.113.`last`, as redirect hands it to the worker.
pub(crate) fn frame(source: [u8; 4], last: u8, payload: usize, dont_fragment: bool) -> Vec<u8> {
    let tag = Tag {
        kind: TagKind::Pod,
        worker: 0,
        port: SUBJECT.0,
        classifier: 1,
    };
    let mut frame = vec![0xEE; OFFSET];
    frame[..TAG_LEN].copy_from_slice(&tag.emit());
    let len = 28 + payload;
    let mut ip = vec![0u8; len];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    ip[6] = if dont_fragment { 0x40 } else { 0 };
    ip[8] = 64;
    ip[9] = 17;
    ip[12..16].copy_from_slice(&source);
    ip[16..20].copy_from_slice(&[203, 0, 113, last]);
    let sum = checksum::of(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip[20..22].copy_from_slice(&5000u16.to_be_bytes());
    ip[22..24].copy_from_slice(&53u16.to_be_bytes());
    ip[24..26].copy_from_slice(&((8 + payload) as u16).to_be_bytes());
    frame.extend(ip);
    frame
}

fn steer(steering: &mut Steering, frame: &mut [u8]) -> Verdict {
    let len = frame.len();
    steering.steer(frame, len, NOW)
}

fn shim(frame: &[u8]) -> Shim {
    Shim::parse(frame[ETHERNET_LEN..ETHERNET_LEN + 8].try_into().unwrap()).unwrap()
}

#[test]
fn a_selected_packet_is_encapsulated_in_place() {
    let mut steering = steering(spec(vec![remote(2)]));
    let mut packet = frame([10, 8, 0, 9], 1, 100, true);
    let inner = packet[OFFSET..].to_vec();
    assert_eq!(
        steer(&mut steering, &mut packet),
        Verdict::Encapsulated { path: path_id(1) }
    );
    assert_eq!(packet[OFFSET..], inner, "the inner packet is unchanged");
    assert_eq!(packet[..6], [2, 0, 0, 0, 9, 2]);
    assert_eq!(packet[6..12], [2, 0, 0, 0, 9, 1]);
    let outer = geneve::parse(&packet, packet.len()).unwrap();
    assert_eq!(outer.source, IpAddr::from([198, 18, 0, 1]));
    assert_eq!(outer.destination, IpAddr::from([198, 18, 0, 2]));
    assert_eq!(
        (outer.path, outer.si, outer.ttl, outer.flags),
        (1, 1, 63, 0)
    );
    assert_eq!(outer.target, IpAddr::from([10, 64, 2, 2]));
    assert_eq!(
        outer.previous,
        IpAddr::from(VPN),
        "the pod, not the client behind it"
    );
    assert_eq!(outer.inner_offset, OFFSET);
}

#[test]
fn a_client_stays_on_its_pod_when_pods_are_added() {
    let mut first = steering(spec(vec![remote(2)]));
    let mut packet = frame([10, 8, 0, 9], 1, 10, true);
    steer(&mut first, &mut packet);
    let many = spec((2..40).map(remote).collect());
    first.swap(Arc::new(SteeringTable::build(many, None).unwrap()));
    for destination in 1..50 {
        let mut packet = frame([10, 8, 0, 9], destination, 10, true);
        steer(&mut first, &mut packet);
        let outer = geneve::parse(&packet, packet.len()).unwrap();
        assert_eq!(outer.target, IpAddr::from([10, 64, 2, 2]));
    }
}

#[test]
fn clients_spread_over_the_pods() {
    let mut steering = steering(spec(vec![remote(2), remote(3), remote(4)]));
    let mut seen = std::collections::BTreeSet::new();
    for client in 0..30 {
        let mut packet = frame([10, 8, 0, client], 1, 10, true);
        steer(&mut steering, &mut packet);
        seen.insert(geneve::parse(&packet, packet.len()).unwrap().target);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_local_function_gets_the_packet_behind_a_shim() {
    let local = backend([10, 64, 1, 3], Via::Local(FUNCTION));
    let mut steering = steering(spec(vec![local]));
    let mut packet = frame([10, 8, 0, 9], 1, 100, true);
    let inner = packet[OFFSET..].to_vec();
    let delivered = Verdict::Delivered {
        path: path_id(1),
        port: FUNCTION,
    };
    assert_eq!(steer(&mut steering, &mut packet), delivered);
    assert_eq!(packet[OFFSET..], inner);
    assert_eq!(packet[..6], [2, 0, 0, 0, 0, 2], "to the function's pod");
    assert_eq!(packet[12..14], [8, 0]);
    let expected = Shim {
        verdict: ShimVerdict::Pod,
        room: 52,
        ifindex: 102,
    };
    assert_eq!(shim(&packet), expected);
}

#[test]
fn another_workers_pod_is_reached_through_its_gate() {
    let other = backend([10, 64, 1, 4], Via::Local(OTHER_WORKERS));
    let mut steering = steering(spec(vec![other]));
    let mut packet = frame([10, 8, 0, 9], 1, 100, true);
    assert_eq!(
        steer(&mut steering, &mut packet),
        Verdict::HandedOver { path: path_id(1) }
    );
    let tag = Tag::parse(packet[..TAG_LEN].try_into().unwrap()).unwrap();
    assert_eq!((tag.kind, tag.worker, tag.port), (TagKind::Handover, 1, 51));
    let outer = geneve::parse(&packet, packet.len()).unwrap();
    assert_eq!(outer.source, outer.destination);
    assert_eq!(outer.target, IpAddr::from([10, 64, 1, 4]));
}

#[test]
fn a_packet_from_the_wire_reaches_its_target() {
    let mut sender = steering(spec(vec![backend(
        [10, 64, 1, 3],
        Via::Remote(NextHopId(0)),
    )]));
    let mut packet = frame([10, 8, 0, 9], 1, 100, true);
    let inner = packet[OFFSET..].to_vec();
    steer(&mut sender, &mut packet);
    let tag = Tag {
        kind: TagKind::Wire,
        worker: 0,
        port: FUNCTION.0,
        classifier: 0,
    };
    packet[..TAG_LEN].copy_from_slice(&tag.emit());
    let mut receiver = steering(spec(vec![]));
    let delivered = Verdict::Delivered {
        path: path_id(1),
        port: FUNCTION,
    };
    assert_eq!(steer(&mut receiver, &mut packet), delivered);
    assert_eq!(packet[OFFSET..], inner);
    assert_eq!(shim(&packet).room, 52);
}

#[test]
fn a_packet_from_no_node_or_for_no_pod_is_dropped() {
    for (at, byte, reason) in [
        (29, 77, DropReason::ForeignSource),
        (OFFSET - 5, 99, DropReason::UnknownTarget),
    ] {
        let mut sender = steering(spec(vec![backend(
            [10, 64, 1, 3],
            Via::Remote(NextHopId(0)),
        )]));
        let mut packet = frame([10, 8, 0, 9], 1, 100, true);
        steer(&mut sender, &mut packet);
        let tag = Tag {
            kind: TagKind::Wire,
            worker: 0,
            port: FUNCTION.0,
            classifier: 0,
        };
        packet[..TAG_LEN].copy_from_slice(&tag.emit());
        packet[at] = byte;
        let sum_at = ETHERNET_LEN + 10;
        packet[sum_at..sum_at + 2].fill(0);
        let sum = checksum::of(&packet[ETHERNET_LEN..ETHERNET_LEN + 20]);
        packet[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(
            steer(&mut steering(spec(vec![])), &mut packet),
            Verdict::Drop(reason)
        );
    }
}

#[test]
fn the_hop_budget_goes_on_where_a_flow_passes_through_a_function() {
    let mut steering = steering(spec(vec![backend(VPN, Via::Local(SUBJECT))]));
    let mut ttls = Vec::new();
    for _ in 0..64 {
        let mut packet = frame([10, 8, 0, 9], 1, 10, true);
        let verdict = steer(&mut steering, &mut packet);
        ttls.push(verdict);
        // The pod that received it sends it on: its own selector takes it once more.
        steering.flows.remove(&Key {
            port: SUBJECT,
            flow: flow_key(),
        });
    }
    assert_eq!(
        ttls[62],
        Verdict::Delivered {
            path: path_id(1),
            port: SUBJECT
        }
    );
    assert_eq!(ttls[63], Verdict::Drop(DropReason::TtlExpired));
}

fn flow_key() -> crate::wire::FlowKey {
    crate::wire::FlowKey {
        source: [10, 8, 0, 9].into(),
        destination: [203, 0, 113, 1].into(),
        protocol: 17,
        sport: 5000,
        dport: 53,
    }
}

#[test]
fn what_no_rule_takes_is_handed_back_as_the_pod_sent_it() {
    let mut steering = steering(spec(vec![remote(2)]));
    let mut packet = frame([10, 8, 0, 9], 1, 10, true);
    packet[OFFSET + 16..OFFSET + 20].copy_from_slice(&[192, 0, 2, 1]);
    assert_eq!(steer(&mut steering, &mut packet), Verdict::Continued);
    assert_eq!(packet[..6], [2, 0, 0, 0, 1, 1], "to the host's side");
    assert_eq!(packet[6..12], [2, 0, 0, 0, 0, 1], "from the pod");
    let expected = Shim {
        verdict: ShimVerdict::Continue,
        room: 52,
        ifindex: 101,
    };
    assert_eq!(shim(&packet), expected);
}

#[test]
fn without_a_ready_pod_the_policy_decides() {
    let mut closed = steering(spec(vec![]));
    let mut packet = frame([10, 8, 0, 9], 1, 10, true);
    assert_eq!(
        steer(&mut closed, &mut packet),
        Verdict::Drop(DropReason::NoBackend)
    );
    let mut open = spec(vec![]);
    open.classifiers[0].prefixes[0].rules[0].1.policy = FailurePolicy::Open;
    let mut packet = frame([10, 8, 0, 9], 1, 10, true);
    assert_eq!(steer(&mut steering(open), &mut packet), Verdict::Continued);
}

#[test]
fn a_packet_tagged_under_the_table_before_is_steered_by_it() {
    let mut steering = steering(spec(vec![remote(2)]));
    let mut next = spec(vec![remote(2)]);
    next.classifiers.clear();
    next.ports[0].classifier = None;
    steering.swap(Arc::new(SteeringTable::build(next, None).unwrap()));
    let mut packet = frame([10, 8, 0, 9], 1, 10, true);
    assert_eq!(
        steer(&mut steering, &mut packet),
        Verdict::Encapsulated { path: path_id(1) }
    );
    steering.retire();
    let mut packet = frame([10, 8, 0, 10], 1, 10, true);
    assert_eq!(steer(&mut steering, &mut packet), Verdict::Continued);
}

#[test]
fn a_publish_that_broke_off_does_not_make_the_table_in_force_unknown() {
    let mut steering = steering(spec(vec![remote(2)]));
    for generation in 2..20 {
        let mut next = spec(vec![remote(2)]);
        next.generation = Generation(generation);
        next.classifiers[0].id = ClassifierId(generation as u32);
        next.ports[0].classifier = Some(ClassifierId(generation as u32));
        steering.swap(Arc::new(SteeringTable::build(next, None).unwrap()));
    }
    // The ports were never flipped: tags still name classifier 1.
    let mut packet = frame([10, 8, 0, 9], 1, 10, true);
    assert_eq!(
        steer(&mut steering, &mut packet),
        Verdict::Encapsulated { path: path_id(1) }
    );
}

#[test]
fn too_big_with_df_is_told_to_the_pod() {
    let mut steering = steering(spec(vec![remote(2)]));
    let mut packet = frame([10, 8, 0, 9], 1, 1421, true);
    assert_eq!(
        steer(&mut steering, &mut packet),
        Verdict::TooBig { mtu: 1448 }
    );
    let mut out = vec![0; 2048];
    let len = steering
        .too_big_reply(&packet, packet.len(), 1448, NOW, &mut out)
        .unwrap();
    assert_eq!(out[..6], [2, 0, 0, 0, 0, 1], "into the pod that sent it");
    let reply = &out[OFFSET..len];
    assert_eq!(reply[20..22], [3, 4]);
    assert_eq!(u16::from_be_bytes([reply[26], reply[27]]), 1448);
    assert_eq!(reply[16..20], [10, 8, 0, 9]);
    let mut fits = frame([10, 8, 0, 9], 1, 1420, true);
    assert_eq!(
        steer(&mut steering, &mut fits),
        Verdict::Encapsulated { path: path_id(1) }
    );
}

#[test]
fn too_big_without_df_is_cut_and_encapsulated_piece_by_piece() {
    let mut steering = steering(spec(vec![remote(2)]));
    let mut packet = frame([10, 8, 0, 9], 1, 1452, false);
    let Verdict::Fragment { mtu, hop } = steer(&mut steering, &mut packet) else {
        panic!("not cut");
    };
    let cut = steering.cut(&packet, packet.len(), hop, mtu).unwrap();
    let mut payload = Vec::new();
    for piece in steering.pieces(&cut) {
        let mut out = vec![0; 2048];
        let copy = |at: usize, to: &mut [u8]| {
            to.copy_from_slice(&packet[at..at + to.len()]);
            true
        };
        let len = steering
            .emit_piece(&cut, &piece, &packet, copy, &mut out)
            .unwrap();
        let outer = geneve::parse(&out[..len], len).unwrap();
        assert_eq!(outer.path, 1);
        assert!(len - OFFSET <= 1448);
        payload.extend_from_slice(&out[OFFSET + 20..len]);
    }
    assert_eq!(payload, packet[OFFSET + 20..]);
}

#[test]
fn an_untagged_frame_is_dropped() {
    let mut steering = steering(spec(vec![remote(2)]));
    assert_eq!(
        steer(&mut steering, &mut [0; 100]),
        Verdict::Drop(DropReason::Untagged)
    );
    assert_eq!(
        steer(&mut steering, &mut [0; 3]),
        Verdict::Drop(DropReason::Untagged)
    );
}
