//! entry: what it diverts, drops and leaves alone.

use xsteer_abi::{
    CONTINUE_MARK,
    counters::Counter,
    maps::{
        ACTION_DROP, Address, NODE_LOCAL, POLICY_CLOSED, POLICY_OPEN, PREFIX_KEY_EXACT_BITS,
        PROTOCOL_ANY, PortRecord, PrefixKey, Rule, RuleSet, SELECTOR_KEY_EXACT_BITS, SelectorKey,
    },
    tag::{Tag, TagKind},
};

use crate::{
    bed::{Bed, LO, PASS, REDIRECT, SHOT},
    frame::{ACK, V4, V6, ethernet, extension, fd00, fragment_header, tcp, udp},
};

const PORT: PortRecord = PortRecord {
    port: 0x0102_0304,
    classifier: 7,
    worker: 3,
    gate: LO,
};
const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMP: u8 = 1;
/// Selected by the /16 and, inside it, by the /24.
const WIDE: [u8; 4] = [198, 18, 1, 1];
const NARROW: [u8; 4] = [198, 18, 5, 1];
const EXEMPT: [u8; 4] = [198, 18, 9, 1];
const ELSEWHERE: [u8; 4] = [10, 9, 9, 9];
const NODE: [u8; 4] = [198, 18, 200, 1];

fn rule(protocol: u8, ports: (u16, u16), policy: u8) -> Rule {
    Rule {
        protocol,
        policy,
        first_port: ports.0,
        last_port: ports.1,
        ..Rule::default()
    }
}

fn rules(rules: &[Rule]) -> RuleSet {
    let mut set = RuleSet {
        len: rules.len() as u32,
        ..RuleSet::default()
    };
    set.rules[..rules.len()].copy_from_slice(rules);
    set
}

fn select(bed: &mut Bed, family: u8, address: &[u8], bits: u32, set: u32) {
    let mut key = SelectorKey {
        classifier: PORT.classifier,
        family,
        ..SelectorKey::default()
    };
    key.bytes[..address.len()].copy_from_slice(address);
    bed.put_prefix("SELECTORS", (SELECTOR_KEY_EXACT_BITS + bits, key), set);
}

/// A subject pod with two prefixes of each kind, and a worker that is alive.
fn bed() -> Bed {
    let mut bed = Bed::tc("entry");
    bed.put("PORTS", LO, PORT);
    select(&mut bed, 4, &WIDE, 16, 5);
    select(&mut bed, 6, &fd00(1, 0), 32, 5);
    select(&mut bed, 4, &NARROW, 24, 6);
    let dropping = Rule {
        action: ACTION_DROP,
        ..rule(TCP, (80, 80), POLICY_CLOSED)
    };
    let wide = [
        rule(TCP, (443, 443), POLICY_CLOSED),
        rule(UDP, (53, 54), POLICY_OPEN),
        dropping,
        rule(ICMP, (0, 65535), POLICY_CLOSED),
    ];
    bed.put("RULE_SETS", 5u32, rules(&wide));
    let last = rule(PROTOCOL_ANY, (9000, 9000), POLICY_CLOSED);
    let mut full = [rule(132, (1, 1), POLICY_CLOSED); 64];
    full[63] = last;
    bed.put("RULE_SETS", 6u32, rules(&full));
    let mut exempt = PrefixKey {
        family: 4,
        ..PrefixKey::default()
    };
    exempt.bytes[..4].copy_from_slice(&EXEMPT);
    bed.put_prefix("EXEMPT", (PREFIX_KEY_EXACT_BITS + 24, exempt), 1u8);
    bed.put("NODES", Address::v4(NODE), 0u32);
    bed.put("NODES", Address::v6(fd00(1, 0xFE)), NODE_LOCAL);
    bed.set("HEARTBEATS", PORT.worker, u64::MAX);
    bed
}

fn diverted(frame: &[u8], kind: TagKind) -> Vec<u8> {
    let PortRecord {
        port,
        classifier,
        worker,
        ..
    } = PORT;
    let tag = Tag {
        kind,
        worker: worker as u8,
        port,
        classifier,
    };
    [&tag.emit()[..], &frame[12..]].concat()
}

#[track_caller]
fn diverts(bed: &mut Bed, frame: &[u8], kind: TagKind) {
    let outcome = bed.skb(frame, 0);
    assert_eq!(
        (outcome.verdict, &outcome.counted[..]),
        (REDIRECT, &[Counter::EntryDiverted][..])
    );
    assert_eq!(
        outcome.frame,
        diverted(frame, kind),
        "only the MACs are written over"
    );
}

#[track_caller]
fn ends(bed: &mut Bed, frame: &[u8], verdict: i32, counted: &[Counter]) {
    let outcome = bed.skb(frame, 0);
    assert_eq!((outcome.verdict, &outcome.counted[..]), (verdict, counted));
    assert_eq!(outcome.frame, frame, "an undiverted packet is not touched");
}

#[test]
fn what_a_rule_takes_is_diverted() {
    let mut bed = bed();
    for (destination, protocol, payload) in [
        (WIDE, TCP, tcp(4000, 443, ACK)),
        (WIDE, UDP, udp(4000, 53, b"a")),
        (WIDE, UDP, udp(4000, 54, b"a")),
        (WIDE, ICMP, vec![8, 0, 0, 0, 0, 1, 0, 1]),
        (NARROW, 132, udp(4000, 1, b"sctp")),
        (NARROW, UDP, udp(4000, 9000, b"the last of 64 rules")),
    ] {
        diverts(
            &mut bed,
            &V4::new(destination, protocol, payload).frame(),
            TagKind::Pod,
        );
    }
    let v6 = V6::new(fd00(1, 9), TCP, tcp(4000, 443, ACK));
    diverts(&mut bed, &v6.frame(), TagKind::PodV6);
}

#[test]
fn what_no_rule_takes_is_passed_untouched() {
    let mut bed = bed();
    for (destination, protocol, payload) in [
        (WIDE, TCP, tcp(443, 4000, ACK)),
        (WIDE, UDP, udp(4000, 55, b"a")),
        (WIDE, UDP, udp(4000, 443, b"a")),
        (NARROW, TCP, tcp(4000, 443, ACK)),
        (ELSEWHERE, TCP, tcp(4000, 443, ACK)),
    ] {
        let frame = V4::new(destination, protocol, payload).frame();
        ends(&mut bed, &frame, PASS, &[Counter::EntryPassed]);
    }
    let v6 = V6::new(fd00(2, 9), TCP, tcp(4000, 443, ACK)).frame();
    ends(&mut bed, &v6, PASS, &[Counter::EntryPassed]);
}

#[test]
fn options_and_extension_headers_do_not_hide_the_ports() {
    let mut bed = bed();
    let mut v4 = V4::new(WIDE, TCP, tcp(4000, 443, ACK));
    v4.options = vec![1; 40];
    diverts(&mut bed, &v4.frame(), TagKind::Pod);
    let mut payload = tcp(4000, 443, ACK);
    let mut next = TCP;
    for header in [60, 43, 0] {
        payload = extension(next, &payload);
        next = header;
    }
    diverts(
        &mut bed,
        &V6::new(fd00(1, 9), next, payload).frame(),
        TagKind::PodV6,
    );
}

#[test]
fn a_chain_of_extension_headers_without_end_is_dropped() {
    let mut payload = tcp(4000, 443, ACK);
    for next in [TCP, 60, 60, 60, 60, 60, 60] {
        payload = extension(next, &payload);
    }
    let frame = V6::new(fd00(1, 9), 60, payload).frame();
    ends(&mut bed(), &frame, SHOT, &[Counter::EntryDroppedError]);
}

#[test]
fn fragments_go_to_the_worker_if_any_rule_has_their_protocol() {
    let mut bed = bed();
    let fragment = |protocol, fragment, payload| {
        V4 {
            fragment,
            ..V4::new(WIDE, protocol, payload)
        }
        .frame()
    };
    let port_bytes_of_nothing = udp(1, 1, b"12345678");
    diverts(
        &mut bed,
        &fragment(UDP, 0x2000, udp(9, 53, b"first")),
        TagKind::Pod,
    );
    diverts(
        &mut bed,
        &fragment(UDP, 0x2005, port_bytes_of_nothing.clone()),
        TagKind::Pod,
    );
    diverts(&mut bed, &fragment(TCP, 0x0005, vec![0; 8]), TagKind::Pod);
    let unruled = fragment(132, 0x0005, port_bytes_of_nothing.clone());
    ends(&mut bed, &unruled, PASS, &[Counter::EntryPassed]);
    let unselected = fragment(UDP, 0x2000, udp(9, 99, b"first"));
    ends(&mut bed, &unselected, PASS, &[Counter::EntryPassed]);
    let later = V6::new(
        fd00(1, 9),
        44,
        fragment_header(UDP, 0x0101, &port_bytes_of_nothing),
    );
    diverts(&mut bed, &later.frame(), TagKind::PodV6);
}

#[test]
fn exempt_destinations_are_passed_though_selected() {
    let mut bed = bed();
    let frame = V4::new(EXEMPT, TCP, tcp(4000, 443, ACK)).frame();
    ends(&mut bed, &frame, PASS, &[Counter::EntryExempt]);
    let unselected = V4::new(EXEMPT, TCP, tcp(4000, 444, ACK)).frame();
    ends(&mut bed, &unselected, PASS, &[Counter::EntryPassed]);
}

#[test]
fn a_missing_chain_drops() {
    let frame = V4::new(WIDE, TCP, tcp(4000, 80, ACK)).frame();
    ends(&mut bed(), &frame, SHOT, &[Counter::EntryDroppedNoChain]);
}

#[test]
fn the_policy_decides_while_the_worker_is_not_alive() {
    let mut bed = bed();
    bed.set("HEARTBEATS", PORT.worker, 1u64);
    let closed = V4::new(WIDE, TCP, tcp(4000, 443, ACK)).frame();
    ends(&mut bed, &closed, SHOT, &[Counter::EntryDroppedClosed]);
    let open = V4::new(WIDE, UDP, udp(4000, 53, b"a")).frame();
    ends(&mut bed, &open, PASS, &[Counter::EntryPassedOpen]);
    let unselected = V4::new(WIDE, UDP, udp(4000, 99, b"a")).frame();
    ends(&mut bed, &unselected, PASS, &[Counter::EntryPassed]);
    bed.set("HEARTBEATS", PORT.worker, u64::MAX);
    diverts(&mut bed, &closed, TagKind::Pod);
}

#[test]
fn nobody_else_speaks_to_nodes_on_our_port() {
    let mut bed = bed();
    let spoofed = V4::new(NODE, UDP, udp(4000, 7081, b"geneve")).frame();
    let spoofed_v6 = V6::new(fd00(1, 0xFE), UDP, udp(4000, 7081, b"geneve")).frame();
    ends(&mut bed, &spoofed_v6, SHOT, &[Counter::EntryDroppedSpoofed]);
    ends(&mut bed, &spoofed, SHOT, &[Counter::EntryDroppedSpoofed]);
    bed.put(
        "PORTS",
        LO,
        PortRecord {
            classifier: 0,
            ..PORT
        },
    );
    ends(&mut bed, &spoofed, SHOT, &[Counter::EntryDroppedSpoofed]);
    let tcp = V4::new(NODE, TCP, tcp(4000, 7081, ACK)).frame();
    ends(&mut bed, &tcp, PASS, &[Counter::EntryPassed]);
    let elsewhere = V4::new(ELSEWHERE, UDP, udp(4000, 7081, b"a")).frame();
    ends(&mut bed, &elsewhere, PASS, &[Counter::EntryPassed]);
}

#[test]
fn the_mark_of_a_continued_packet_is_taken_off() {
    let frame = V4::new(WIDE, TCP, tcp(4000, 443, ACK)).frame();
    let outcome = bed().skb(&frame, CONTINUE_MARK);
    assert_eq!((outcome.verdict, outcome.mark), (PASS, 0));
    assert_eq!(
        (outcome.frame, outcome.counted),
        (frame, vec![Counter::EntryContinued])
    );
}

#[test]
fn a_foreign_mark_changes_nothing_and_stays() {
    let frame = V4::new(ELSEWHERE, TCP, tcp(4000, 443, ACK)).frame();
    let outcome = bed().skb(&frame, 0xABCD);
    assert_eq!((outcome.verdict, outcome.mark), (PASS, 0xABCD));
}

#[test]
fn interfaces_without_a_record_and_frames_without_ip_are_passed() {
    let mut bed = bed();
    for other in [
        ethernet(0x0806, &[0; 28]),
        ethernet(0x8100, &[0; 50]),
        ethernet(0x88CC, &[]),
    ] {
        ends(&mut bed, &other, PASS, &[]);
    }
    let selected = V4::new(WIDE, TCP, tcp(4000, 443, ACK)).frame();
    ends(&mut Bed::tc("entry"), &selected, PASS, &[]);
}

#[test]
fn unreadable_packets_of_a_subject_are_dropped() {
    let mut bed = bed();
    let whole = V4::new(WIDE, TCP, tcp(4000, 443, ACK)).frame();
    let mut bad_version = whole.clone();
    bad_version[14] = 0x65;
    let mut short_header = whole.clone();
    short_header[14] = 0x44;
    let cut = V6::new(fd00(1, 9), 60, vec![6, 0, 1]).frame();
    let hidden = V6::new(fd00(1, 9), 44, fragment_header(60, 0x0100, &[0; 16])).frame();
    for frame in [&bad_version, &short_header, &cut, &hidden] {
        ends(&mut bed, frame, SHOT, &[Counter::EntryDroppedError]);
    }
    bed.put(
        "PORTS",
        LO,
        PortRecord {
            classifier: 0,
            ..PORT
        },
    );
    ends(&mut bed, &bad_version, PASS, &[]);
}

#[test]
fn ports_cut_off_count_as_unknown() {
    let whole = V4::new(WIDE, TCP, tcp(4000, 443, ACK)).frame();
    diverts(&mut bed(), &whole[..37], TagKind::Pod);
}
