use etherparse::{PacketBuilder, TcpOptionElement};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const A: [u8; 4] = [10, 0, 2, 12];
const B: [u8; 4] = [198, 18, 0, 7];

fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// An IPv4 packet written out: TOS 0xB8, id 0x1234, DF, TTL 63; then what stands behind it.
fn v4(protocol: u8, word: u16, l4: &[u8]) -> Vec<u8> {
    let [len_0, len_1] = (20 + l4.len() as u16).to_be_bytes();
    let [word_0, word_1] = word.to_be_bytes();
    let mut packet = vec![
        0x45, 0xB8, len_0, len_1, 0x12, 0x34, word_0, word_1, 63, protocol, 0, 0,
    ];
    packet.extend_from_slice(&A);
    packet.extend_from_slice(&B);
    packet.extend_from_slice(l4);
    packet
}

/// An IPv6 packet written out: traffic class 0x12, hop limit 9; then what stands behind it.
fn v6_packet(next: u8, rest: &[u8]) -> Vec<u8> {
    let [len_0, len_1] = (rest.len() as u16).to_be_bytes();
    let mut packet = vec![0x61, 0x20, 0, 0, len_0, len_1, next, 9];
    packet.extend_from_slice(&v6(1));
    packet.extend_from_slice(&v6(2));
    packet.extend_from_slice(rest);
    packet
}

const UDP_8: [u8; 8] = [0x10, 0x01, 0x01, 0xBB, 0, 8, 0, 0];

fn whole(packet: &[u8]) -> Result<Inner, DropReason> {
    parse(packet, packet.len())
}

#[test]
fn a_tcp_syn_over_ipv4_is_read() {
    let mut l4 = [0; 20];
    l4[..4].copy_from_slice(&[0x10, 0x01, 0x01, 0xBB]);
    (l4[12], l4[13]) = (0x50, 0x02);
    let expected = Inner {
        key: FlowKey {
            source: A.into(),
            destination: B.into(),
            protocol: 6,
            sport: 0x1001,
            dport: 443,
        },
        family: Family::V4,
        len: 40,
        l4_offset: 20,
        tos: 0xB8,
        dont_fragment: true,
        fragment: Fragment::None,
        tcp_flags: Some(0x02),
        hop_limit: 63,
        is_icmp_error: false,
    };
    assert_eq!(whole(&v4(6, 0x4000, &l4)), Ok(expected));
}

#[test]
fn extension_headers_of_ipv6_are_walked() {
    // Hop-by-hop, destination options (16 bytes), routing, then UDP.
    let mut rest = vec![60, 0, 1, 4, 0, 0, 0, 0];
    rest.extend_from_slice(&[43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    rest.extend_from_slice(&[17, 0, 4, 0, 0, 0, 0, 0]);
    rest.extend_from_slice(&UDP_8);
    let got = whole(&v6_packet(0, &rest)).unwrap();
    assert_eq!(
        (got.key.protocol, got.key.sport, got.key.dport),
        (17, 0x1001, 443)
    );
    assert_eq!(
        (got.l4_offset, got.len, got.tos, got.hop_limit),
        (72, 80, 0x12, 9)
    );
    assert!(got.dont_fragment);
}

#[test]
fn extension_headers_without_end_are_refused() {
    for count in 1..12 {
        let mut rest = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        rest[8 * (count - 1)] = 17;
        rest.extend_from_slice(&UDP_8);
        let got = whole(&v6_packet(60, &rest)).map(|i| i.l4_offset);
        let expected = if count <= 8 {
            Ok(40 + 8 * count)
        } else {
            Err(DropReason::InnerMalformed)
        };
        assert_eq!(got, expected, "{count} headers");
    }
}

#[test]
fn sctp_has_ports_and_icmp_echo_and_gre_have_none() {
    let l4 = [0x10, 0x01, 0x01, 0xBB, 0, 0, 0, 0, 0, 0, 0, 0];
    let ports = |protocol| {
        let key = whole(&v4(protocol, 0, &l4)).unwrap().key;
        (key.sport, key.dport)
    };
    assert_eq!(ports(132), (0x1001, 443));
    let echo = whole(&v4(1, 0, &[8, 0, 0, 0, 0x77, 0x77, 0, 1])).unwrap();
    assert_eq!(
        (echo.key.sport, echo.key.dport, echo.is_icmp_error),
        (0, 0, false)
    );
    for protocol in [47, 50, 51, 136, 253] {
        assert_eq!(ports(protocol), (0, 0), "protocol {protocol}");
    }
}

#[test]
fn icmp_types_tell_errors_from_queries() {
    for icmp_type in 0..=u8::MAX {
        let l4 = [icmp_type, 0, 0, 0, 0, 0, 0, 0];
        let error_v4 = [3, 4, 5, 11, 12].contains(&icmp_type);
        assert_eq!(whole(&v4(1, 0, &l4)).unwrap().is_icmp_error, error_v4);
        assert_eq!(
            whole(&v6_packet(58, &l4)).unwrap().is_icmp_error,
            icmp_type < 128
        );
    }
}

#[test]
fn fragments_of_ipv4_are_told_apart() {
    let id = 0x1234;
    let parts = |word| whole(&v4(17, word, &UDP_8)).map(|i| (i.fragment, i.key.dport));
    assert_eq!(parts(0x0000), Ok((Fragment::None, 443)));
    assert_eq!(parts(0x2000), Ok((Fragment::First { id }, 443)));
    assert_eq!(parts(0x2001), Ok((Fragment::Later { id }, 0)));
    assert_eq!(parts(0x0001), Ok((Fragment::Later { id }, 0)));
    assert_eq!(
        parts(0x1FFF),
        Err(DropReason::InnerMalformed),
        "ends behind 65535"
    );
}

#[test]
fn fragments_of_ipv6_are_told_apart() {
    let id = 0xDEAD_BEEF;
    let parts = |place: [u8; 2]| {
        let mut rest = vec![17, 0, place[0], place[1], 0xDE, 0xAD, 0xBE, 0xEF];
        rest.extend_from_slice(&UDP_8);
        let got = whole(&v6_packet(44, &rest)).unwrap();
        (got.fragment, got.key.protocol, got.key.dport, got.l4_offset)
    };
    assert_eq!(parts([0, 0]), (Fragment::None, 17, 443, 48), "atomic");
    assert_eq!(parts([0, 1]), (Fragment::First { id }, 17, 443, 48));
    assert_eq!(parts([0, 8]), (Fragment::Later { id }, 17, 0, 48));
    assert_eq!(parts([0, 9]), (Fragment::Later { id }, 17, 0, 48));
}

#[test]
fn a_first_fragment_may_end_within_the_tcp_header() {
    let l4 = [0x10, 0x01, 0x01, 0xBB, 0, 0, 0, 1];
    let got = whole(&v4(6, 0x2000, &l4)).unwrap();
    assert_eq!((got.key.dport, got.tcp_flags), (443, None));
    assert_eq!(whole(&v4(6, 0, &l4)), Err(DropReason::InnerMalformed));
    assert_eq!(
        whole(&v4(6, 0x2000, &l4[..7])),
        Err(DropReason::InnerMalformed)
    );
}

#[test]
fn padding_is_allowed_and_missing_bytes_are_not() {
    let mut packet = v4(17, 0, &UDP_8);
    packet.extend_from_slice(&[0; 18]);
    assert_eq!(whole(&packet).map(|i| i.len), Ok(28));
    packet.truncate(27);
    assert_eq!(whole(&packet), Err(DropReason::Truncated));
    // In two descriptors: the headers in the first one, the rest counted.
    let big = v4(17, 0, &[&UDP_8[..], &[0; 5000]].concat());
    assert_eq!(parse(&big[..4096], big.len()).map(|i| i.len), Ok(5028));
    assert_eq!(parse(&big[..27], big.len()), Err(DropReason::Truncated));
}

#[test]
fn contradictions_are_refused() {
    let good = v4(17, 0, &UDP_8);
    for (at, byte) in [(0, 0x55), (0, 0x44), (3, 19), (3, 27)] {
        let mut packet = good.clone();
        packet[at] = byte;
        assert_eq!(
            whole(&packet),
            Err(DropReason::InnerMalformed),
            "byte {at} = {byte:#x}"
        );
    }
    assert_eq!(whole(&[]), Err(DropReason::Truncated));
    // An extension header that reaches behind the packet.
    let packet = v6_packet(60, &[17, 1, 1, 4, 0, 0, 0, 0]);
    assert_eq!(whole(&packet), Err(DropReason::InnerMalformed));
}

#[test]
fn an_icmp_error_names_the_flow_it_is_about() {
    let quoted = v4(17, 0x4000, &UDP_8);
    let key = whole(&quoted).unwrap().key;
    let error = |quote: &[u8]| {
        let packet = v4(1, 0, &[&[11, 0, 0, 0, 0, 0, 0, 0], quote].concat());
        quoted_key(&packet, &whole(&packet).unwrap())
    };
    assert_eq!(error(&quoted), Some(key));
    assert_eq!(error(&quoted[..24]), Some(key), "the ports are enough");
    assert_eq!(error(&quoted[..23]), None);
    assert_eq!(error(&v6_packet(17, &UDP_8)), None, "another family");
    assert_eq!(error(&v4(17, 1, &UDP_8)), None, "a later fragment");
    assert_eq!(
        error(&v4(1, 0, &[8, 0, 0, 0, 0, 0, 0, 0])).map(|k| k.protocol),
        Some(1)
    );
    assert_eq!(
        quoted_key(&quoted, &whole(&quoted).unwrap()),
        None,
        "no error"
    );
}

#[test]
fn a_key_reversed_twice_is_itself() {
    let key = whole(&v4(17, 0, &UDP_8)).unwrap().key;
    assert_eq!(key.reversed().reversed(), key);
    assert_eq!(
        (key.reversed().source, key.reversed().dport),
        (key.destination, key.sport)
    );
    assert_eq!(key.family(), Family::V4);
}

proptest! {
    #[test]
    fn what_another_library_builds_is_read_back(
        source: [u8; 16], destination: [u8; 16], hop_limit: u8, sport: u16, dport: u16,
        payload in vec(any::<u8>(), 0..64), ipv6: bool, tcp: bool,
    ) {
        let (source_v4, destination_v4) = (*source.first_chunk().unwrap(), *destination.first_chunk().unwrap());
        let ip = if ipv6 {
            PacketBuilder::ipv6(source, destination, hop_limit)
        } else {
            PacketBuilder::ipv4(source_v4, destination_v4, hop_limit)
        };
        let mut packet = Vec::new();
        if tcp {
            let options = [TcpOptionElement::Timestamp(1, 2)];
            let builder = ip.tcp(sport, dport, 1, 2).syn().ack(5).options(&options).unwrap();
            builder.write(&mut packet, &payload).unwrap();
        } else {
            ip.udp(sport, dport).write(&mut packet, &payload).unwrap();
        }
        let got = whole(&packet).unwrap();
        let (source, destination): (IpAddr, IpAddr) = if ipv6 {
            (source.into(), destination.into())
        } else {
            (source_v4.into(), destination_v4.into())
        };
        let protocol = if tcp { 6 } else { 17 };
        prop_assert_eq!(got.key, FlowKey { source, destination, protocol, sport, dport });
        prop_assert_eq!(got.len, packet.len());
        prop_assert_eq!(got.hop_limit, hop_limit);
        prop_assert_eq!(got.tcp_flags, tcp.then_some(0x12));
        prop_assert_eq!(got.fragment, Fragment::None);
    }

    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in vec(any::<u8>(), 0..160), version in prop_oneof![Just(0x45u8), Just(0x60)],
        next in prop_oneof![Just(0u8), Just(1), Just(6), Just(17), Just(44), Just(58), Just(60)],
        total_len in 0usize..70000, short: bool,
    ) {
        if bytes.len() > 40 {
            bytes[0] = version;
            bytes[if version == 0x45 { 9 } else { 6 }] = next;
            if short {
                (bytes[2], bytes[4], bytes[6 + usize::from(version == 0x60)]) = (0, 0, 0);
            }
        }
        if let Ok(inner) = parse(&bytes, total_len) {
            prop_assert!(inner.l4_offset <= inner.len && inner.len <= total_len);
            let _ = quoted_key(&bytes, &inner);
        }
    }
}
