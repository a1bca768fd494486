use etherparse::PacketBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::drop::DropReason;
use crate::wire::bytes::put_be16;
use crate::wire::checksum;

const V4_IN_V4: &[u8] = &[
    0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
    0x45, 0xBA, 0x00, 0x48, 0, 0, 0x40, 0, 64, 17, 0xAD, 0xC3, // IPv4: 72 bytes, DF, UDP
    198, 18, 0, 1, 198, 18, 0, 2, // node to node
    0xC1, 0x23, 0x1B, 0xA9, 0x00, 0x34, 0, 0, // UDP: to 7081, 52 bytes, no checksum
    0x04, 0x40, 0x08, 0x00, 0x00, 0x00, 0x07, 0x00, // Geneve: 16 bytes of options, C, path 7
    0xFF, 0x53, 0x81, 0x03, // option: 12 bytes
    0x01, 63, 2, 0, // return, TTL 63, SI 2
    10, 0, 2, 7, 10, 0, 1, 5, // target, previous
    0x45, 0xBA, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 0, 1, 5, 10, 0, 9, 9, // inner
];

const V6_IN_V6: &[u8] = &[
    0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x86, 0xDD, // Ethernet
    0x60, 0x20, 0, 0, 0x00, 0x60, 17, 64, // IPv6: traffic class 2, 96 bytes, UDP
    0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // source
    0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // destination
    0xC0, 0x00, 0x1B, 0xA9, 0x00, 0x60, 0, 0, // UDP
    0x0A, 0x40, 0x86, 0xDD, 0x0F, 0xFF, 0xFF,
    0x00, // Geneve: 40 bytes of options, path 1048575
    0xFF, 0x53, 0x81, 0x09, // option: 36 bytes
    0x02, 1, 0, 0, // final, TTL 1, SI 0
    0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // target
    0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // previous
    0x60, 0x20, 0, 0, 0, 0, 59, 64, // inner, no next header
    0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, // source
    0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, // destination
];

fn underlay(source: IpAddr, destination: IpAddr) -> Underlay {
    Underlay {
        source,
        destination,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
    }
}

fn v6(group: u8, last: u8) -> IpAddr {
    IpAddr::from([0xfd, group, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

#[test]
fn ipv4_in_ipv4_is_what_the_wire_format_says() {
    let outer = underlay([198, 18, 0, 1].into(), [198, 18, 0, 2].into());
    let template = Template::new(&outer, Family::V4).unwrap();
    let packet = Encapsulation {
        path: 7,
        flags: 1,
        ttl: 63,
        si: 2,
        target: [10, 0, 2, 7].into(),
        previous: [10, 0, 1, 5].into(),
        inner_len: 20,
        inner_tos: 0xBA,
        entropy: 0xC123,
    };
    assert_eq!(template.room_len(), 66);
    let mut room = [0xEE; 66];
    template.emit(&mut room, &packet);
    assert_eq!(room, V4_IN_V4[..66]);
}

#[test]
fn ipv6_in_ipv6_is_what_the_wire_format_says() {
    let template = Template::new(&underlay(v6(0, 1), v6(0, 2)), Family::V6).unwrap();
    let packet = Encapsulation {
        path: 1_048_575,
        flags: 2,
        ttl: 1,
        si: 0,
        target: v6(1, 1),
        previous: v6(1, 2),
        inner_len: 40,
        inner_tos: 2,
        entropy: 0xC000,
    };
    let mut room = [0xEE; 110];
    template.emit(&mut room, &packet);
    assert_eq!(room, V6_IN_V6[..110]);
    let got = parse(V6_IN_V6, V6_IN_V6.len()).unwrap();
    assert_eq!((got.path, got.si, got.ttl, got.flags), (1_048_575, 0, 1, 2));
    assert_eq!(
        (got.inner_offset, got.inner_len, got.outer_tos),
        (110, 40, 2)
    );
}

#[test]
fn outer_addresses_of_two_families_make_no_template() {
    assert!(Template::new(&underlay(v6(0, 1), [10, 0, 0, 1].into()), Family::V4).is_none());
}

#[test]
fn the_source_port_is_in_the_dynamic_range() {
    for hash in [0, 1, 0xFFFF, 0x1_0000, u64::MAX, 0xDEAD_BEEF_0000_0000] {
        assert!(source_port(hash) >= 0xC000);
    }
    assert_ne!(
        source_port(1 << 48),
        source_port(2 << 48),
        "all of the hash counts"
    );
}

/// `V4_IN_V4` with bytes changed and its IP checksum made right again.
fn changed(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = V4_IN_V4.to_vec();
    for (at, byte) in changes {
        frame[*at] = *byte;
    }
    mend(&mut frame);
    frame
}

fn mend(frame: &mut [u8]) {
    put_be16(frame, 24, 0);
    let sum = checksum::of(&frame[14..34]);
    put_be16(frame, 24, sum);
}

/// `V4_IN_V4` with other options.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut frame = [&V4_IN_V4[..50], options, &V4_IN_V4[66..]].concat();
    frame[42] = (options.len() / 4) as u8;
    let len = frame.len() as u16;
    put_be16(&mut frame, 16, len - 14);
    put_be16(&mut frame, 38, len - 34);
    mend(&mut frame);
    frame
}

fn reason(frame: &[u8]) -> Result<(), DropReason> {
    parse(frame, frame.len()).map(|_| ())
}

#[test]
fn each_rule_of_the_wire_format_has_its_reason() {
    let table: &[(&[(usize, u8)], DropReason)] = &[
        (&[(12, 0x81)], DropReason::OuterMalformed), // a VLAN tag
        (&[(14, 0x55)], DropReason::OuterMalformed), // IP version 5
        (&[(14, 0x44)], DropReason::OuterMalformed), // IHL 4
        (&[(20, 0x20)], DropReason::OuterFragment),  // MF
        (&[(21, 0x01)], DropReason::OuterFragment),  // offset 1
        (&[(23, 6)], DropReason::OuterMalformed),    // TCP
        (&[(37, 0xAA)], DropReason::OuterMalformed), // another port
        (&[(39, 0x33)], DropReason::GeneveLength),   // UDP shorter than IP
        (&[(39, 0x35)], DropReason::GeneveLength),   // UDP longer than IP
        (&[(41, 0x01)], DropReason::OuterChecksum),  // a checksum that does not fit
        (&[(17, 0x49)], DropReason::Truncated),      // a byte is missing
        (&[(17, 0x1B), (39, 7)], DropReason::GeneveLength), // no room for UDP
        (&[(42, 0x44)], DropReason::GeneveVersion),
        (&[(43, 0xC0)], DropReason::GeneveControl),
        (&[(44, 0x65), (45, 0x58)], DropReason::GeneveProtocol), // Ethernet
        (&[(44, 0x86), (45, 0xDD)], DropReason::GeneveProtocol), // v6, the rest is v4
        (&[(66, 0x65)], DropReason::GeneveProtocol),             // the inner packet is v6
        (&[(42, 0x00)], DropReason::OptionMissing),
        (&[(42, 0x03)], DropReason::GeneveLength), // the option is longer than all options
        (&[(42, 0x05)], DropReason::GeneveLength), // an option cut out of the inner packet
        (&[(42, 0x3F)], DropReason::GeneveLength), // options behind the end
        (&[(51, 0x54)], DropReason::UnknownCriticalOption),
        (&[(52, 0x82)], DropReason::UnknownCriticalOption),
        (&[(52, 0x01)], DropReason::OptionMissing), // not critical: skipped
        (&[(53, 0x02)], DropReason::GeneveLength),  // the rest reads as another option
        (&[(54, 0x11)], DropReason::OptionVersion),
        (&[(54, 0x05)], DropReason::OptionFlags),
        (&[(55, 0)], DropReason::TtlExpired),
    ];
    for (changes, expected) in table {
        assert_eq!(reason(&changed(changes)), Err(*expected), "{changes:?}");
    }
    assert_eq!(reason(V4_IN_V4), Ok(()));
}

#[test]
fn a_wrong_ip_checksum_is_refused() {
    let mut frame = V4_IN_V4.to_vec();
    frame[22] = 63;
    assert_eq!(reason(&frame), Err(DropReason::OuterMalformed));
}

#[test]
fn overwritten_macs_and_padding_and_reserved_bits_do_not_matter() {
    let mut frame = changed(&[
        (0, 0xF1),
        (11, 9),
        (43, 0x7F),
        (49, 0xFF),
        (53, 0xE3),
        (57, 9),
    ]);
    frame.extend_from_slice(&[0; 6]);
    let got = parse(&frame, frame.len()).unwrap();
    assert_eq!((got.path, got.inner_len), (7, 20));
}

#[test]
fn unknown_options_that_are_not_critical_are_skipped_up_to_a_bound() {
    let ours = &V4_IN_V4[50..66];
    let other = [0x01, 0x02, 0x03, 0x01, 9, 9, 9, 9];
    for before in 0..4 {
        let options = [&other.repeat(before), ours, &other.repeat(4)].concat();
        let frame = with_options(&options);
        assert_eq!(reason(&frame), Ok(()), "{before} before");
    }
    let frame = with_options(&[ours, &other.repeat(8)].concat());
    assert_eq!(reason(&frame), Err(DropReason::GeneveLength));
    let frame = with_options(&other);
    assert_eq!(reason(&frame), Err(DropReason::OptionMissing));
    let frame = with_options(&[ours, ours].concat());
    assert_eq!(reason(&frame), Err(DropReason::OuterMalformed));
}

#[test]
fn the_data_of_our_option_must_be_of_the_inner_family() {
    let mut long = vec![0xFF, 0x53, 0x81, 9, 0, 63, 2, 0];
    long.extend_from_slice(&[0; 32]);
    assert_eq!(
        reason(&with_options(&long)),
        Err(DropReason::GeneveProtocol)
    );
    let odd = [
        0xFF, 0x53, 0x81, 4, 0, 63, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(reason(&with_options(&odd)), Err(DropReason::GeneveLength));
    assert_eq!(
        reason(&with_options(&[0xFF, 0x53, 0x81, 0])),
        Err(DropReason::GeneveLength)
    );
}

#[test]
fn an_outer_ipv6_packet_is_udp_right_behind_its_header() {
    for (next, expected) in [
        (44, DropReason::OuterFragment),
        (0, DropReason::OuterMalformed),
    ] {
        let mut frame = V6_IN_V6.to_vec();
        frame[20] = next;
        assert_eq!(reason(&frame), Err(expected));
    }
}

#[test]
fn a_frame_cut_anywhere_in_its_headers_is_truncated() {
    for frame in [V4_IN_V4, V6_IN_V6] {
        let headers = frame.len() - if frame == V4_IN_V4 { 20 } else { 40 };
        for len in 0..=headers {
            assert_eq!(
                reason(&frame[..len]),
                Err(DropReason::Truncated),
                "{len} bytes"
            );
            let got = parse(&frame[..len], frame.len());
            assert_eq!(
                got,
                Err(DropReason::Truncated),
                "{len} of {} bytes",
                frame.len()
            );
        }
        assert!(parse(&frame[..=headers], frame.len()).is_ok());
    }
}

fn address(inner: Family) -> BoxedStrategy<IpAddr> {
    match inner {
        Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
        Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
    }
}

prop_compose! {
    fn families()(inner: bool, outer: bool) -> (Family, Family) {
        let family = |v6| if v6 { Family::V6 } else { Family::V4 };
        (family(inner), family(outer))
    }
}

/// Where it goes, what stands in the headers, and the inner packet.
fn case() -> impl Strategy<Value = (Underlay, Family, Encapsulation, Vec<u8>)> {
    let addresses = families().prop_flat_map(|(inner, outer)| {
        (
            Just(inner),
            address(outer),
            address(outer),
            address(inner),
            address(inner),
        )
    });
    let header = (
        0u32..1 << 24,
        0u8..4,
        1u8..=255,
        any::<u8>(),
        any::<u8>(),
        any::<u64>(),
    );
    let payload = vec(any::<u8>(), 0..300);
    (addresses, header, payload).prop_map(|((inner, from, to, target, previous), h, payload)| {
        let (path, flags, ttl, si, inner_tos, hash) = h;
        let mut packet = Vec::new();
        match inner {
            Family::V4 => PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64),
            Family::V6 => PacketBuilder::ipv6([1; 16], [2; 16], 64),
        }
        .udp(1, 2)
        .write(&mut packet, &payload)
        .unwrap();
        let entropy = source_port(hash);
        let inner_len = packet.len();
        let header = Encapsulation {
            path,
            flags,
            ttl,
            si,
            target,
            previous,
            inner_len,
            inner_tos,
            entropy,
        };
        (underlay(from, to), inner, header, packet)
    })
}

fn frame(underlay: &Underlay, inner: Family, header: &Encapsulation, packet: &[u8]) -> Vec<u8> {
    let template = Template::new(underlay, inner).unwrap();
    let mut frame = vec![0xEE; template.room_len()];
    template.emit(&mut frame, header);
    frame.extend_from_slice(packet);
    frame
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed((underlay, inner, header, packet) in case()) {
        let frame = frame(&underlay, inner, &header, &packet);
        let got = parse(&frame, frame.len()).unwrap();
        prop_assert_eq!(got, Outer {
            source: underlay.source,
            destination: underlay.destination,
            path: header.path,
            flags: header.flags,
            ttl: header.ttl,
            si: header.si,
            target: header.target,
            previous: header.previous,
            inner,
            inner_offset: frame.len() - packet.len(),
            inner_len: packet.len(),
            outer_tos: header.inner_tos,
            checksum_pending: false,
        });
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else {
            panic!("no UDP in what was emitted");
        };
        prop_assert_eq!((udp.source_port(), udp.destination_port()), (header.entropy, 7081));
    }

    #[test]
    fn a_checksum_is_found_right_or_wrong(
        (underlay, inner, header, packet) in case(),
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let mut frame = frame(&underlay, inner, &header, &packet);
        let room_len = frame.len() - packet.len();
        let (one, two) = packet.split_at(cut.index(packet.len()));
        let template = Template::new(&underlay, inner).unwrap();
        template.emit_checksum(&mut frame[..room_len], [one, two].into_iter());
        prop_assert_eq!(reason(&frame), Ok(()));
        // In two descriptors, the second padded.
        let (first, second) = frame.split_at(room_len + 1 + one.len().min(packet.len() - 2));
        let got = parse(first, frame.len()).unwrap();
        prop_assert!(got.checksum_pending);
        let padded = [second, &[7; 3]].concat();
        prop_assert_eq!(verify_checksum(first, [&padded[..]].into_iter()), Ok(()));
        let spoiled = room_len + 1 + flip.index(packet.len() - 1);
        frame[spoiled] ^= 0x10;
        prop_assert_eq!(reason(&frame), Err(DropReason::OuterChecksum));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), total_len in 0usize..300) {
        let _ = parse(&bytes, total_len);
    }

    #[test]
    fn no_damage_makes_it_panic(
        (underlay, inner, header, packet) in case(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let mut frame = frame(&underlay, inner, &header, &packet);
        let headers = frame.len() - packet.len();
        for (at, byte) in damage {
            frame[12 + at.index(headers - 12)] = byte;
        }
        if frame[12..14] == [8, 0] {
            mend(&mut frame);
        }
        let first = &frame[..len.index(frame.len() + 1)];
        if let Ok(got) = parse(first, frame.len()) {
            prop_assert!(got.inner_offset + got.inner_len <= frame.len());
            let _ = verify_checksum(first, [&frame[first.len()..]].into_iter());
        }
    }
}
