//! A pod's packet: parsed, and everything done that steering may do with it before the tunnel.
//!
//! The first two bytes say how many of the rest stand in the first descriptor.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use xsteer_abi::Family;
use xsteer_dataplane::wire::{ecn, fragment, icmp, inner, mss};

fuzz_target!(|input: &[u8]| {
    let Some((cut, packet)) = input.split_first_chunk::<2>() else {
        return;
    };
    let cut = usize::from(u16::from_be_bytes(*cut)).min(packet.len());
    let first = &packet[..cut];
    let Ok(inner) = inner::parse(first, packet.len()) else {
        return;
    };
    assert!(inner.l4_offset <= inner.len && inner.len <= packet.len());
    if let Some(key) = inner::quoted_key(first, &inner) {
        assert_eq!(key.family(), inner.family);
    }
    answer(first, &inner);
    cut_up(first, &inner);
    rewrite(first.to_vec(), &inner);
});

/// An answer is a packet to the sender, and no answer to it exists.
fn answer(first: &[u8], inner: &inner::Inner) {
    let node = match inner.family {
        Family::V4 => IpAddr::from([10, 0, 0, 254]),
        Family::V6 => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 254]),
    };
    let mut out = [0; icmp::MAX_LEN];
    let Some(len) = icmp::packet_too_big(first, inner, node, 1400, &mut out) else {
        return;
    };
    let error = inner::parse(&out[..len], len).expect("an ICMP error of ours is a packet");
    assert!(error.is_icmp_error && error.len == len);
    assert_eq!(error.key.destination, inner.key.source);
    assert_eq!(
        icmp::packet_too_big(&out[..len], &error, node, 1400, &mut [0; 1280]),
        None
    );
}

/// Pieces cover the payload without gap, and their headers are IPv4 headers.
fn cut_up(first: &[u8], inner: &inner::Inner) {
    if inner.family != Family::V4 {
        return;
    }
    let header = &first[..inner.l4_offset];
    let mut at = 0;
    for piece in fragment::plan(inner, header.len(), 576) {
        assert_eq!(piece.offset_in_payload, at);
        at += piece.len;
        let mut out = [0; 60];
        let len = fragment::emit_header(header, piece, &mut out).expect("parse took the header");
        assert!(len >= 20 && len <= header.len() && len + piece.len <= 576);
    }
    assert_eq!(at, inner.len - header.len());
}

/// Rewriting keeps what it does not rewrite.
fn rewrite(mut first: Vec<u8>, inner: &inner::Inner) {
    let len = first.len();
    if inner.tcp_flags.is_some() && mss::clamp(&mut first, inner.l4_offset, 1000) {
        assert!(
            !mss::clamp(&mut first, inner.l4_offset, 1000),
            "clamped twice"
        );
    }
    ecn::set_tos(&mut first, inner.tos ^ 3);
    let again = inner::parse(&first, inner.len).expect("still a packet");
    assert_eq!(
        (first.len(), again.tos, again.key),
        (len, inner.tos ^ 3, inner.key)
    );
}
