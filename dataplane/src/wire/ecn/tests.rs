use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

/// RFC 6040 figure 4: rows are the inner mark, columns the outer one.
#[test]
fn all_sixteen_cells_of_rfc_6040_hold() {
    let outer = [NOT_ECT, ECT_0, ECT_1, CE];
    let table: [(u8, [Option<u8>; 4]); 4] = [
        (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
        (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
        (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ];
    for (inner, row) in table {
        for (outer, expected) in outer.into_iter().zip(row) {
            // The inner DSCP stays, whatever the outer one says.
            let got =
                decapsulate(0x48 | outer, 0xB8 | inner).map(|new| new.unwrap_or(0xB8 | inner));
            let expected = expected.map(|ecn| 0xB8 | ecn).ok_or(DropReason::EcnInvalid);
            assert_eq!(got, expected, "inner {inner:02b} outer {outer:02b}");
        }
    }
}

#[test]
fn what_comes_out_as_it_went_in_needs_no_write() {
    for tos in 0..=u8::MAX {
        assert_eq!(decapsulate(encapsulate(tos), tos & !ECN | CE), Ok(None));
        assert_eq!(encapsulate(tos), tos);
        if tos & ECN != CE {
            assert_eq!(decapsulate(encapsulate(tos), tos), Ok(None));
        }
    }
}

#[test]
fn the_traffic_class_spans_two_bytes() {
    let mut packet = [0x6A, 0xBC, 0xDE, 0xF0];
    set_tos(&mut packet, 0x12);
    assert_eq!(packet, [0x61, 0x2C, 0xDE, 0xF0]);
}

#[test]
fn what_is_no_packet_stays_as_it_is() {
    for bytes in [&mut [0x45u8; 11][..], &mut [0x15; 20], &mut [], &mut [0x60]] {
        let before = bytes.to_vec();
        set_tos(bytes, 0x03);
        assert_eq!(bytes, &before[..]);
    }
}

proptest! {
    #[test]
    fn the_header_checksum_holds_after_the_mark(
        source: [u8; 4], destination: [u8; 4], ttl: u8, old: u8, tos: u8,
    ) {
        let mut packet = Vec::new();
        PacketBuilder::ipv4(source, destination, ttl).udp(1, 2).write(&mut packet, &[]).unwrap();
        set_tos(&mut packet, old);
        set_tos(&mut packet, tos);
        prop_assert_eq!(packet[1], tos);
        prop_assert_eq!(checksum::of(&packet[..20]), 0);
    }
}
