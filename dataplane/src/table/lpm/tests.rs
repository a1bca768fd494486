use proptest::prelude::*;

use super::*;

/// Prefixes that nest, touch and repeat: few distinct bits.
fn prefixes_v4() -> impl Strategy<Value = Vec<(u32, u8, u32)>> {
    let one = (any::<u32>(), 0u8..=32).prop_map(|(bits, len)| {
        let spread = (bits & 0x7) << 29 | (bits >> 3 & 0x3) << 15 | bits >> 5 & 0x3;
        (
            spread & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0),
            len,
        )
    });
    prop::collection::btree_set(one, 0..60).prop_map(number)
}

fn prefixes_v6() -> impl Strategy<Value = Vec<(u128, u8, u32)>> {
    let one = (any::<u128>(), 0u8..=128).prop_map(|(bits, len)| {
        let spread = (bits & 0x7) << 125 | (bits >> 3 & 0x3) << 63 | bits >> 5 & 0x3;
        (
            spread & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0),
            len,
        )
    });
    prop::collection::btree_set(one, 0..60).prop_map(number)
}

fn number<A>(set: std::collections::BTreeSet<(A, u8)>) -> Vec<(A, u8, u32)> {
    (0..).zip(set).map(|(i, (a, len))| (a, len, i)).collect()
}

/// The oracle: looks at all prefixes.
fn scan<A: Bits>(prefixes: &[(A, u8, u32)], address: A) -> u32 {
    let covers =
        |p: &&(A, u8, u32)| p.0 <= address && p.0.after(p.1).is_none_or(|end| address < end);
    prefixes
        .iter()
        .filter(covers)
        .max_by_key(|p| p.1)
        .map_or(NONE, |p| p.2)
}

proptest! {
    #[test]
    fn finds_what_a_scan_finds_in_v4(
        prefixes in prefixes_v4(),
        random in prop::collection::vec(any::<u32>(), 20),
    ) {
        let lpm = Lpm::build(&prefixes);
        let edges = prefixes.iter().flat_map(|&(a, len, _)| {
            let end = a.after(len).unwrap_or(0);
            [a, a.wrapping_sub(1), end, end.wrapping_sub(1)]
        });
        for address in edges.chain(random) {
            prop_assert_eq!(lpm.find(address), scan(&prefixes, address), "{:x}", address);
        }
    }

    #[test]
    fn finds_what_a_scan_finds_in_v6(
        prefixes in prefixes_v6(),
        random in prop::collection::vec(any::<u128>(), 20),
    ) {
        let lpm = Lpm::build(&prefixes);
        let edges = prefixes.iter().flat_map(|&(a, len, _)| {
            let end = a.after(len).unwrap_or(0);
            [a, a.wrapping_sub(1), end, end.wrapping_sub(1)]
        });
        for address in edges.chain(random) {
            prop_assert_eq!(lpm.find(address), scan(&prefixes, address), "{:x}", address);
        }
    }
}

#[test]
fn nothing_matches_in_an_empty_table() {
    let lpm = Lpm::<u32>::build(&[]);
    assert_eq!([lpm.find(0), lpm.find(u32::MAX)], [NONE, NONE]);
}

#[test]
fn a_default_route_covers_all() {
    let lpm = Lpm::<u128>::build(&[(0, 0, 7)]);
    assert_eq!([lpm.find(0), lpm.find(u128::MAX)], [7, 7]);
}

#[test]
fn many_prefixes_stay_within_the_stated_size() {
    // No two touch: the most intervals there can be.
    let v4: Vec<_> = (0..1000).map(|i| (i << 16, 24, i)).collect();
    assert!(Lpm::build(&v4).heap_bytes() <= 18 * 1000 + 16);
    let v6: Vec<_> = (0..1000).map(|i| (u128::from(i) << 80, 64, i)).collect();
    assert!(Lpm::build(&v6).heap_bytes() <= 42 * 1000 + 32);
}
