use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// RFC 1071 §3: the example's bytes and their sum, ddf2.
#[test]
fn the_example_of_rfc_1071_sums_up() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(of(&bytes), !0xddf2);
}

/// RFC 1624 §4: an earlier formula gave 0xFFFF here.
#[test]
fn the_example_of_rfc_1624_gives_zero() {
    assert_eq!(update(0xDD2F, 0x5555, 0x3285), 0x0000);
}

#[test]
fn an_odd_last_byte_counts_as_the_upper_half_of_a_word() {
    assert_eq!(of(&[0x12]), !0x1200);
    assert_eq!(of(&[0, 0, 0, 0, 0x12, 0x34, 0x56]), !(0x1234 + 0x5600));
}

#[test]
fn a_pseudo_header_sums_up_as_its_bytes() {
    let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let bytes = [10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0x01, 0x02];
    assert_eq!(
        Sum::new().pseudo_header(a, b, 17, 0x102).finish(),
        of(&bytes)
    );
}

fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

proptest! {
    #[test]
    fn a_sum_does_not_depend_on_how_the_bytes_are_cut(
        bytes in vec(any::<u8>(), 0..200),
        cuts in vec(0usize..200, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let (mut sum, mut at) = (Sum::new(), 0);
        for cut in cuts {
            sum = sum.bytes(&bytes[at..cut]);
            at = cut;
        }
        prop_assert_eq!(sum.finish(), naive(&bytes));
    }

    #[test]
    fn an_update_equals_a_new_sum(
        mut bytes in vec(any::<u8>(), 2..80),
        word in any::<prop::sample::Index>(),
        new in any::<u16>(),
    ) {
        bytes.push(1); // All zeros have no ones' complement sum of 0.
        let at = word.index(bytes.len() / 2) * 2;
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let before = of(&bytes);
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        // Only a sum that is all zeros may differ, and then both stand for the same number.
        prop_assert_eq!(update(before, old, new), of(&bytes));
    }
}
