use etherparse::PacketBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::inner::{self, Fragment};

/// An IPv4 packet with `options` and `payload`; fragment word and checksum as given and right.
fn packet(options: &[u8], word: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(7, 8)
        .write(&mut packet, &[])
        .unwrap();
    packet.truncate(20);
    packet[9] = 253; // An experimental protocol: payload without rules.
    packet.extend_from_slice(options);
    packet[0] = 0x40 | (packet.len() / 4) as u8;
    let len = (packet.len() + payload.len()) as u16;
    put_be16(&mut packet, 2, len);
    put_be16(&mut packet, 4, 0x1234);
    put_be16(&mut packet, 6, word);
    put_be16(&mut packet, 10, 0);
    let sum = checksum::of(&packet);
    put_be16(&mut packet, 10, sum);
    packet.extend_from_slice(payload);
    packet
}

fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let parsed = inner::parse(packet, packet.len()).unwrap();
    let header_len = parsed.l4_offset;
    plan(&parsed, header_len, mtu)
        .map(|piece| {
            let mut out = [0; 60];
            let len = emit_header(&packet[..header_len], piece, &mut out).unwrap();
            let data = &packet[header_len + piece.offset_in_payload..][..piece.len];
            [&out[..len], data].concat()
        })
        .collect()
}

/// Puts the data of fragments where their headers say; the data and whether the last was there.
fn reassemble(fragments: &[Vec<u8>], base: usize) -> (Vec<u8>, bool) {
    let (mut data, mut last) = (Vec::new(), false);
    for fragment in fragments {
        let header_len = usize::from(fragment[0] & 0xF) * 4;
        let word = be16(fragment, 6).unwrap();
        let at = usize::from(word & OFFSET) * 8 - base;
        let end = at + fragment.len() - header_len;
        data.resize(data.len().max(end), 0);
        data[at..end].copy_from_slice(&fragment[header_len..]);
        last |= word & MORE_FRAGMENTS == 0;
    }
    (data, last)
}

#[test]
fn a_packet_is_cut_at_multiples_of_eight() {
    let payload: Vec<u8> = (0..100).collect();
    let fragments = cut(&packet(&[], 0, &payload), 68);
    let shape: Vec<(usize, u16)> = fragments
        .iter()
        .map(|f| (f.len(), be16(f, 6).unwrap()))
        .collect();
    assert_eq!(shape, [(68, 0x2000), (68, 0x2006), (24, 0x000C)]);
}

#[test]
fn a_fragment_keeps_its_place_and_its_more_bit() {
    let fragments = cut(&packet(&[], 0x2000 | 100, &[1; 96]), 68);
    let words: Vec<u16> = fragments.iter().map(|f| be16(f, 6).unwrap()).collect();
    assert_eq!(words, [0x2000 | 100, 0x2000 | 106]);
}

/// RFC 791 §3.1: a copied option (router alert, 0x94) and one that is not (record route, 0x07).
#[test]
fn only_copied_options_go_into_later_fragments() {
    let options = [0x07, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0];
    let fragments = cut(&packet(&options, 0, &[5; 200]), 132);
    assert_eq!(fragments[0][20..32], options);
    assert_eq!(fragments[1][0], 0x46);
    assert_eq!(fragments[1][20..24], [0x94, 4, 0, 0]);
}

#[test]
fn an_mtu_without_room_for_data_gives_no_piece() {
    let packet = packet(&[], 0, &[0; 100]);
    for mtu in [0, 19, 20, 27] {
        assert!(cut(&packet, mtu).is_empty());
    }
}

#[test]
fn a_header_that_can_not_be_written_is_refused() {
    let packet = packet(&[], 0x1FFF, &[]);
    let piece = Piece {
        offset_in_payload: 8,
        len: 8,
        more: false,
    };
    assert_eq!(emit_header(&packet, piece, &mut [0; 60]), None);
    let piece = Piece {
        offset_in_payload: 0,
        ..piece
    };
    assert_eq!(emit_header(&packet, piece, &mut [0; 19]), None);
    assert_eq!(emit_header(&packet[..19], piece, &mut [0; 60]), None);
    assert_eq!(emit_header(&packet, piece, &mut [0; 20]), Some(20));
}

proptest! {
    #[test]
    fn fragments_reassemble_to_the_original(
        payload in vec(any::<u8>(), 1..4000),
        words in 0usize..4,
        more: bool,
        place in 0u16..1000,
        mtu in 68usize..1600,
        mtu_again in 68usize..1600,
    ) {
        let options = [0x94, 4, 0, 0].repeat(words);
        let word = if more { MORE_FRAGMENTS } else { 0 } | place;
        let original = packet(&options, word, &payload);
        let once = cut(&original, mtu);
        let twice: Vec<Vec<u8>> = once.iter().flat_map(|f| cut(f, mtu_again)).collect();
        for (fragments, mtu) in [(&once, mtu), (&twice, mtu_again)] {
            for fragment in fragments {
                let parsed = inner::parse(fragment, fragment.len()).unwrap();
                prop_assert!(fragment.len() <= mtu);
                prop_assert_eq!(checksum::of(&fragment[..parsed.l4_offset]), 0);
                if fragments.len() > 1 {
                    prop_assert_ne!(parsed.fragment, Fragment::None);
                }
            }
            let (data, last) = reassemble(fragments, usize::from(place) * 8);
            prop_assert_eq!(&data, &payload);
            prop_assert_eq!(last, !more);
        }
    }

    #[test]
    fn no_header_makes_it_panic(
        header in vec(any::<u8>(), 0..64), offset in 0usize..70000, len in 0usize..70000,
    ) {
        let piece = Piece { offset_in_payload: offset, len, more: true };
        let _ = emit_header(&header, piece, &mut [0; 60]);
    }
}
