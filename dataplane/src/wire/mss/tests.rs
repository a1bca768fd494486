use etherparse::{PacketBuilder, TcpOptionElement};
use proptest::prelude::*;

use super::*;
use crate::wire::checksum::Sum;

const OFFSET: usize = 20;

fn segment(syn: bool, ack: bool, options: &[TcpOptionElement]) -> Vec<u8> {
    let mut builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(1000, 443, 7, 9000);
    if syn {
        builder = builder.syn();
    }
    if ack {
        builder = builder.ack(3);
    }
    let mut packet = Vec::new();
    builder
        .options(options)
        .unwrap()
        .write(&mut packet, b"hello")
        .unwrap();
    packet
}

fn tcp_is_valid(packet: &[u8]) -> bool {
    let tcp = &packet[OFFSET..];
    let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    Sum::new()
        .pseudo_header(source, destination, 6, tcp.len())
        .bytes(tcp)
        .finish()
        == 0
}

#[test]
fn syn_and_syn_ack_are_lowered() {
    for ack in [false, true] {
        let mut packet = segment(true, ack, &[TcpOptionElement::MaximumSegmentSize(1460)]);
        assert!(clamp(&mut packet, OFFSET, 1408));
        assert_eq!(packet[OFFSET + 20..OFFSET + 24], [2, 4, 0x05, 0x80]);
        assert!(tcp_is_valid(&packet));
    }
}

#[test]
fn what_fits_or_is_no_syn_stays_as_it_is() {
    let mss = TcpOptionElement::MaximumSegmentSize(1400);
    let packets = [
        (segment(true, false, std::slice::from_ref(&mss)), 1400),
        (segment(true, false, std::slice::from_ref(&mss)), 9000),
        (segment(false, true, &[mss]), 500),
        (segment(true, false, &[]), 500),
    ];
    for (packet, max) in packets {
        let mut after = packet.clone();
        assert!(!clamp(&mut after, OFFSET, max));
        assert_eq!(after, packet);
    }
}

#[test]
fn malformed_options_are_left_alone() {
    let good = segment(true, false, &[TcpOptionElement::MaximumSegmentSize(1460)]);
    // Length 3 and 0; an end before it; a header that ends within it; one that claims too much.
    let spoiled: [(usize, u8); 5] = [(41, 3), (41, 0), (40, 0), (32, 0x50), (32, 0xF0)];
    for (at, byte) in spoiled {
        let mut packet = good.clone();
        packet[at] = byte;
        let before = packet.clone();
        assert!(!clamp(&mut packet, OFFSET, 500), "byte {at}");
        assert_eq!(packet, before);
    }
    assert!(!clamp(&mut [], OFFSET, 500));
}

proptest! {
    #[test]
    fn the_checksum_stays_valid_wherever_the_option_stands(
        mss: u16, max: u16, nops in 0usize..4, window: bool,
    ) {
        let mut options = vec![TcpOptionElement::Noop; nops];
        if window {
            options.push(TcpOptionElement::WindowScale(7));
        }
        options.push(TcpOptionElement::MaximumSegmentSize(mss));
        let mut packet = segment(true, false, &options);
        let at = OFFSET + 20 + nops + if window { 3 } else { 0 } + 2;
        prop_assert_eq!(clamp(&mut packet, OFFSET, max), mss > max);
        prop_assert_eq!(u16::from_be_bytes([packet[at], packet[at + 1]]), mss.min(max));
        prop_assert!(tcp_is_valid(&packet));
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes: [u8; 64], offset in 0usize..80, len in 0usize..64) {
        clamp(&mut bytes[..len], offset, 536);
    }
}
