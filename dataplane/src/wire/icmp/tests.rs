use etherparse::PacketBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::inner;

const SENDER: [u8; 4] = [10, 0, 0, 1];
const FAR: [u8; 4] = [198, 18, 0, 9];
const NODE: [u8; 4] = [10, 0, 0, 254];

fn udp_v4(source: [u8; 4], destination: [u8; 4], payload: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source, destination, 64)
        .udp(1111, 2222)
        .write(&mut packet, &vec![0xAB; payload])
        .unwrap();
    packet
}

fn udp_v6(payload: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(v6(1), v6(2), 64)
        .udp(1111, 2222)
        .write(&mut packet, &vec![0xCD; payload])
        .unwrap();
    packet
}

fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fn answer(packet: &[u8], source: IpAddr, mtu: u16) -> Option<Vec<u8>> {
    let parsed = inner::parse(packet, packet.len()).unwrap();
    let mut out = [0xEE; MAX_LEN];
    packet_too_big(packet, &parsed, source, mtu, &mut out).map(|len| out[..len].to_vec())
}

#[test]
fn an_ipv4_sender_gets_the_bytes_of_rfc_1191() {
    let packet = udp_v4(SENDER, FAR, 0);
    let got = answer(&packet, NODE.into(), 1448).unwrap();
    let mut expected = vec![
        0x45, 0xC0, 0, 56, 0, 0, 0x40, 0, 64, 1, 0x25, 0x07, // 20 IP + 8 ICMP + 28 quoted
        10, 0, 0, 254, 10, 0, 0, 1, // to the sender
        3, 4, 0, 0, 0, 0, 0x05, 0xA8, // fragmentation needed, 1448
    ];
    expected.extend_from_slice(&packet);
    let sum = checksum::of(&expected[20..]);
    put_be16(&mut expected, 22, sum);
    assert_eq!(got, expected);
    assert_eq!(checksum::of(&got[..20]), 0);
}

#[test]
fn an_ipv6_sender_gets_the_bytes_of_rfc_4443() {
    let packet = udp_v6(4);
    let got = answer(&packet, v6(0xFE).into(), 1404).unwrap();
    let icmp_len = 8 + packet.len();
    assert_eq!(got[..8], [0x60, 0, 0, 0, 0, icmp_len as u8, 58, 64]);
    assert_eq!(got[8..24], v6(0xFE));
    assert_eq!(got[24..40], v6(1));
    assert_eq!((got[40], got[41]), (2, 0));
    assert_eq!(got[44..48], [0, 0, 0x05, 0x7C]);
    assert_eq!(got[48..], packet);
    let sum = Sum::new().pseudo_header(v6(0xFE).into(), v6(1).into(), 58, icmp_len);
    assert_eq!(sum.bytes(&got[40..]).finish(), 0);
}

#[test]
fn quotes_are_as_long_as_may_be() {
    let got = answer(&udp_v4(SENDER, FAR, 3000), NODE.into(), 1448).unwrap();
    assert_eq!(got.len(), 576);
    let got = answer(&udp_v6(3000), v6(9).into(), 1404).unwrap();
    assert_eq!(got.len(), 1280);
}

#[test]
fn the_answer_is_an_error_that_quotes_the_flow() {
    for (packet, source) in [
        (udp_v4(SENDER, FAR, 1500), NODE.into()),
        (udp_v6(1500), v6(9).into()),
    ] {
        let key = inner::parse(&packet, packet.len()).unwrap().key;
        let got = answer(&packet, source, 1400).unwrap();
        let error = inner::parse(&got, got.len()).unwrap();
        assert!(error.is_icmp_error);
        assert_eq!(error.key.destination, key.source);
        assert_eq!(inner::quoted_key(&got, &error), Some(key));
        assert_eq!(
            answer(&got, key.source, 576),
            None,
            "an error answers an error"
        );
    }
}

#[test]
fn what_no_error_may_answer_is_not_answered() {
    let node = IpAddr::from(NODE);
    for source in [
        [0, 0, 0, 0],
        [127, 0, 0, 1],
        [224, 0, 0, 5],
        [240, 0, 0, 1],
        [255; 4],
    ] {
        assert_eq!(
            answer(&udp_v4(source, FAR, 9), node, 576),
            None,
            "from {source:?}"
        );
    }
    for destination in [[239, 1, 2, 3], [255; 4]] {
        assert_eq!(answer(&udp_v4(SENDER, destination, 9), node, 576), None);
    }
    let mut later = udp_v4(SENDER, FAR, 90);
    later[7] = 4;
    assert_eq!(answer(&later, node, 576), None);
    let mut first = udp_v4(SENDER, FAR, 90);
    first[6] = 0x20;
    assert!(answer(&first, node, 576).is_some());
    let mut redirect = udp_v6(32);
    (redirect[6], redirect[40]) = (58, 137);
    assert_eq!(answer(&redirect, v6(9).into(), 1280), None);
}

#[test]
fn an_answer_needs_room_and_an_address_of_the_same_family() {
    let packet = udp_v4(SENDER, FAR, 100);
    let parsed = inner::parse(&packet, packet.len()).unwrap();
    assert_eq!(answer(&packet, v6(1).into(), 1400), None);
    for len in [0, 27, 28, 55] {
        assert_eq!(
            packet_too_big(&packet, &parsed, NODE.into(), 1400, &mut vec![0; len]),
            None
        );
    }
    assert_eq!(
        packet_too_big(&packet, &parsed, NODE.into(), 1400, &mut [0; 56]),
        Some(56)
    );
}

proptest! {
    #[test]
    fn checksums_of_any_answer_hold(payload in vec(any::<u8>(), 0..1500), mtu: u16, ipv6: bool) {
        let mut packet = Vec::new();
        let (source, node): (IpAddr, IpAddr) = if ipv6 {
            let builder = PacketBuilder::ipv6(v6(1), v6(2), 64).udp(1, 2);
            builder.write(&mut packet, &payload).unwrap();
            (v6(1).into(), v6(7).into())
        } else {
            let builder = PacketBuilder::ipv4(SENDER, FAR, 64).udp(1, 2);
            builder.write(&mut packet, &payload).unwrap();
            (SENDER.into(), NODE.into())
        };
        let got = answer(&packet, node, mtu).unwrap();
        let at = if ipv6 { 40 } else { 20 };
        let sum = match ipv6 {
            true => Sum::new().pseudo_header(node, source, 58, got.len() - at),
            false => Sum::new(),
        };
        prop_assert_eq!(sum.bytes(&got[at..]).finish(), 0);
    }
}
