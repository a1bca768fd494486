//! A frame from the wire: parsed, its headers written anew and parsed again, and its inner packet
//! taken out as a receiver does.
//!
//! The first two bytes say how many of the rest stand in the first descriptor. The IP checksum is
//! made right, or hardly any input would get past it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xsteer_dataplane::wire::{checksum, ecn, geneve, inner};

fuzz_target!(|input: &[u8]| {
    let Some((cut, frame)) = input.split_first_chunk::<2>() else {
        return;
    };
    let cut = usize::from(u16::from_be_bytes(*cut)).min(frame.len());
    let mut frame = frame.to_vec();
    mend(&mut frame);
    let (first, rest) = frame.split_at(cut);
    let Ok(outer) = geneve::parse(first, frame.len()) else {
        return;
    };
    assert!(outer.inner_offset < first.len());
    assert!(outer.inner_offset + outer.inner_len <= frame.len());
    if outer.checksum_pending {
        let _ = geneve::verify_checksum(first, [rest].into_iter());
    }
    emit_again(&outer, &first[outer.inner_offset..]);
    let mut packet = first[outer.inner_offset..].to_vec();
    let Ok(inner) = inner::parse(&packet, outer.inner_len) else {
        return;
    };
    assert_eq!(inner.family, outer.inner);
    if let Ok(Some(tos)) = ecn::decapsulate(outer.outer_tos, inner.tos) {
        ecn::set_tos(&mut packet, tos);
        assert_eq!(
            inner::parse(&packet, outer.inner_len),
            Ok(inner::Inner { tos, ..inner })
        );
    }
});

fn mend(frame: &mut [u8]) {
    let Some(&[.., first]) = frame.first_chunk::<15>() else {
        return;
    };
    let end = 14 + usize::from(first & 0xF) * 4;
    if frame[12..14] != [8, 0] || end < 34 || frame.len() < end {
        return;
    }
    frame[24..26].fill(0);
    let sum = checksum::of(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// What was parsed, emitted, is parsed as the same.
fn emit_again(outer: &geneve::Outer, packet: &[u8]) {
    let underlay = geneve::Underlay {
        source: outer.source,
        destination: outer.destination,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
    };
    let template = geneve::Template::new(&underlay, outer.inner).expect("both of one packet");
    let mut frame = vec![0xEE; template.room_len()];
    template.emit(
        &mut frame,
        &geneve::Encapsulation {
            path: outer.path,
            flags: outer.flags,
            ttl: outer.ttl,
            si: outer.si,
            target: outer.target,
            previous: outer.previous,
            inner_len: outer.inner_len,
            inner_tos: outer.outer_tos,
            entropy: geneve::source_port(u64::from(outer.path)),
        },
    );
    let inner_offset = frame.len();
    frame.extend_from_slice(packet);
    let again = geneve::parse(&frame, inner_offset + outer.inner_len);
    let expected = geneve::Outer {
        inner_offset,
        checksum_pending: false,
        ..*outer
    };
    assert_eq!(again, Ok(expected));
}
